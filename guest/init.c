/* SPDX-License-Identifier: Apache-2.0 */
/* Making a machine out of a kernel and an initramfs: see init.h. */
#include "guest/init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "guest/cgroup.h"
#include "guest/modpack.h"
#include "guest/modules.h"
#include "guest/nodes.h"
#include "guest/tasks.h"

static const struct {
	const char *source, *target, *type;
	unsigned long flags;
	const char *options;
} mounts[] = {
	{"proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		"gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"cgroup2", GUEST_CGROUP_DIR, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
};

static int mount_all(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		if (mkdir(mounts[i].target, 0755) < 0 && errno != EEXIST)
			return err_sys(err, errno, "mkdir %s", mounts[i].target);
		/* EBUSY: the kernel's own CONFIG_DEVTMPFS_MOUNT was first. */
		if (mount(mounts[i].source, mounts[i].target, mounts[i].type,
			    mounts[i].flags, mounts[i].options) < 0 &&
			errno != EBUSY)
			return err_sys(err, errno, "mount %s", mounts[i].target);
	}
	return 0;
}

/*
 * The initramfs is the root of the mount tree, which pivot_root(2) can't replace: it
 * wants a parent mount. The same files bound over themselves have one, so that containers
 * can pivot instead of having the guest's root hidden below theirs.
 */
static int make_pivotable(struct err *err)
{
	if (mount("/", "/", NULL, MS_BIND, NULL) < 0)
		return err_sys(err, errno, "bind the root on itself");
	/* The working directory is still the old root's: ".." of it leads onto the mount
	 * on top. */
	if (chdir("/..") < 0 || chroot(".") < 0)
		return err_sys(err, errno, "enter the bound root");
	return 0;
}

/* An initramfs without a /dev/console node leaves PID 1 without standard descriptors: the
 * first files opened later would be taken for them. */
static int open_console(struct err *err)
{
	int fd;

	do {
		fd = open("/dev/console", O_RDWR | O_NOCTTY);
		if (fd < 0)
			return err_sys(err, errno, "open /dev/console");
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

static int make_dev_links(struct err *err)
{
	static const char *const links[][2] = {
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			return err_sys(err, errno, "link %s", links[i][1]);
	return 0;
}

/* Hands every controller that a group has to those below it. One by one: cgroup2 takes
 * all of a write or nothing. */
static int enable_controllers(const char *group, struct err *err)
{
	_cleanup_free_ char *controllers = xasprintf("%s/cgroup.controllers", group);
	_cleanup_free_ char *control = xasprintf("%s/cgroup.subtree_control", group);
	_cleanup_free_ char *list = NULL;
	char *save = NULL, word[64];
	size_t len;
	int r;

	r = file_read(AT_FDCWD, controllers, 4096, &list, &len, err);
	if (r < 0)
		return r;
	for (char *c = strtok_r(list, " \n", &save); c;
		c = strtok_r(NULL, " \n", &save)) {
		snprintf(word, sizeof(word), "+%s", c);
		r = file_write_text(AT_FDCWD, control, word, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_loopback_up(struct err *err)
{
	int r = loopback_raise();

	return r < 0 ? err_sys(err, r, "set lo up") : 0;
}

int init_guest(struct err *err)
{
	int r;

	umask(022);
	if (mkdir("/root", 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "mkdir /root");
	r = make_pivotable(err);
	if (r == 0)
		r = mount_all(err);
	if (r == 0)
		r = open_console(err);
	if (r == 0)
		r = make_dev_links(err);
	if (r == 0)
		r = modules_load_listed(err);
	if (r == 0)
		r = modpack_init(err);
	if (r == 0)
		r = nodes_init(err);
	if (r == 0)
		r = enable_controllers(GUEST_CGROUP_DIR, err);
	if (r == 0)
		r = set_loopback_up(err);
	if (r == 0)
		r = mkdir_parents(GUEST_RUN_DIR "/bundle", 0700, err);
	if (r == 0)
		r = mkdir_parents(GUEST_SHARED_ROOT "/shared", 0755, err);
	if (r == 0)
		r = tasks_follow_memory(err);
	if (r == 0)
		r = tasks_unlimit_users(err);
	if (r == 0)
		r = enable_controllers(GUEST_CGROUP_DIR CGROUP_PARENT, err);
	return r;
}
