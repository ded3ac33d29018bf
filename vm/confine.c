/* SPDX-License-Identifier: Apache-2.0 */
/* The walls around QEMU: see confine.h. */
#include "vm/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/filter.h"
#include "base/util.h"
#include "vm/argv.h"
#include "vm/cgroup.h"

/* /dev/kvm: misc device 232 (Documentation/admin-guide/devices.txt). */
#define KVM_MAJOR 10
#define KVM_MINOR 232

static int check_step(int result, const char *step, const char **ret_step)
{
	if (result >= 0)
		return 0;
	*ret_step = step;
	return -errno;
}

/* Creates the folders above path and, unless it is to be a file, itself.
 * Relative to the cwd. */
static int make_path(const char *path, bool is_file)
{
	char part[512];
	size_t len = strlen(path);
	int fd;

	if (len >= sizeof(part))
		return -1;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && (i != len || is_file))
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -1;
	}
	if (!is_file)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
	if (fd < 0)
		return -1;
	return close(fd);
}

static int bind_readonly(const struct confine_bind *bind)
{
	if (make_path(bind->target, bind->is_file) < 0)
		return -1;
	if (mount(bind->source, bind->target, NULL, MS_BIND, NULL) < 0)
		return -1;
	return mount(NULL, bind->target, NULL,
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
}

static int make_devices(const struct spawn *s)
{
	if (!s->kvm)
		return 0;
	if (mkdir("dev", 0755) < 0 ||
		mknod("dev/kvm", S_IFCHR | 0600, makedev(KVM_MAJOR, KVM_MINOR)) < 0)
		return -1;
	return chown("dev/kvm", s->uid, s->uid);
}

static int enter_root(const struct confine *c, const char **ret_step)
{
	const char *jail = c->spawn->jail;
	int r;

	r = check_step(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS),
		"unshare the namespaces", ret_step);
	if (r == 0)
		r = check_step(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL),
			"make / private", ret_step);
	if (r == 0)
		r = check_step(mount("stencil", jail, "tmpfs", MS_NOSUID | MS_NOEXEC,
				       "mode=0755,size=1m,nr_inodes=4096"),
			"mount the root", ret_step);
	if (r == 0)
		r = check_step(chdir(jail), "enter the root", ret_step);
	for (unsigned int i = 0; r == 0 && i < c->n_binds; i++)
		r = check_step(bind_readonly(&c->binds[i]), c->binds[i].source, ret_step);
	for (unsigned int i = 0; r == 0 && i < c->n_links; i++)
		r = check_step(symlink(c->links[i].target, c->links[i].path),
			c->links[i].path, ret_step);
	if (r == 0)
		r = check_step(make_devices(c->spawn), "make /dev/kvm", ret_step);
	if (r == 0)
		r = check_step(
			mount(NULL, jail, NULL,
				MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC,
				NULL),
			"make the root read-only", ret_step);
	if (r == 0)
		r = check_step(
			(int)syscall(SYS_pivot_root, ".", "."), "pivot_root", ret_step);
	if (r == 0)
		r = check_step(umount2(".", MNT_DETACH), "leave the old root", ret_step);
	if (r == 0)
		r = check_step(chdir("/"), "chdir /", ret_step);
	return r;
}

static int close_from_to(unsigned int first, unsigned int last)
{
	return first <= last ? (int)syscall(SYS_close_range, first, last, 0) : 0;
}

/* All from `first` on but those that are needed until exec, which closes them. At once:
 * what other threads had open (ends of streams, locks) must not live on in here. */
static int close_others(const struct confine *c, unsigned int first)
{
	unsigned int low = (unsigned int)MIN(c->ctl_fd, c->qemu_fd);
	unsigned int high = (unsigned int)MAX(c->ctl_fd, c->qemu_fd);

	if (close_from_to(first, low - 1) < 0 || close_from_to(low + 1, high - 1) < 0)
		return -1;
	return close_from_to(high + 1, ~0u);
}

/* 0 nothing to read, 1 and 2 the log, 3 QMP, 4 agent, 5 files;
 * the rest is closed by exec. */
static int arrange_fds(const struct confine *c)
{
	const struct spawn *s = c->spawn;
	int from[] = {
		[STDIN_FILENO] = c->stdin_fd,
		[STDOUT_FILENO] = s->stderr_fd,
		[STDERR_FILENO] = s->stderr_fd,
		[VM_FD_QMP] = s->qmp_fd,
		[VM_FD_AGENT] = s->agent_fd,
		[VM_FD_FILES] = s->files_fd,
	};
	const size_t n = ARRAY_SIZE(from);
	int high[ARRAY_SIZE(from)];

	/* Out of the way first: a source may stand where a target goes. */
	for (size_t i = 0; i < n; i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, CONFINE_FD_HIGH);
		if (high[i] < 0)
			return -1;
	}
	for (size_t i = 0; i < n; i++)
		if (dup2(high[i], (int)i) < 0)
			return -1;
	return close_others(c, (unsigned int)n);
}

static int set_limits(void)
{
	struct rlimit none = {0};

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -1;
	return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

static int drop_bounding(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -1;
	return 0;
}

static int drop_privileges(const struct spawn *s, const char **ret_step)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	int r;

	r = check_step(drop_bounding(), "drop the bounding set", ret_step);
	/* The raw calls: glibc's would signal threads that
	 * a forked child does not have. */
	if (r == 0)
		r = check_step(
			(int)syscall(SYS_setgroups, 0, NULL), "setgroups", ret_step);
	if (r == 0)
		r = check_step((int)syscall(SYS_setresgid, s->uid, s->uid, s->uid),
			"setresgid", ret_step);
	if (r == 0)
		r = check_step((int)syscall(SYS_setresuid, s->uid, s->uid, s->uid),
			"setresuid", ret_step);
	if (r == 0)
		r = check_step(
			(int)syscall(SYS_capset, &header, none), "capset", ret_step);
	if (r == 0)
		r = check_step(
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs", ret_step);
	return r;
}

static int join_cgroups(const struct spawn *s)
{
	for (int i = 0; i < CGROUP_MAX; i++)
		if (s->cgroup_fds[i] >= 0 && write(s->cgroup_fds[i], "0", 1) < 0)
			return -1;
	return 0;
}

int confine_enter(const struct confine *c, const char **ret_step)
{
	int r;

	r = check_step(join_cgroups(c->spawn), "join the cgroup", ret_step);
	if (r == 0)
		r = check_step(setsid(), "setsid", ret_step);
	if (r == 0)
		r = enter_root(c, ret_step);
	if (r == 0)
		r = check_step(arrange_fds(c), "arrange descriptors", ret_step);
	if (r == 0)
		r = check_step(set_limits(), "set limits", ret_step);
	if (r == 0)
		r = drop_privileges(c->spawn, ret_step);
	return r;
}

int confine_filter(
	const struct sock_fprog *filter, int *ret_listener, const char **ret_step)
{
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | FILTER_FLAG_LOG;
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, filter);

	if (fd < 0)
		return check_step(-1, "install the system call filter", ret_step);
	*ret_listener = (int)fd;
	return 0;
}
