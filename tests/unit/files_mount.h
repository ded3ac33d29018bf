/* SPDX-License-Identifier: Apache-2.0 */
/* A folder seen through a tree, by the host's own FUSE:
 * real system calls over our server. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/test.h"

#include "base/io.h"
#include "base/thread.h"
#include "files/blanks.h"
#include "files/fuse.h"
#include "files/tree.h"
#include "files/watch.h"
#include "files/wire.h"

/* As many requests may wait for a lock at the same time, and one moves on. */
#define MOUNT_PUMPS 6

/*
 * The server is a process of its own: one that is served by its own threads could not end
 * while it has files open. A test's cases run in three places: in a plain folder, where
 * they show that they ask for what the host does, and in both kinds of a tree.
 */
struct files_mount {
	char *folder;   /* what is served */
	char *root;     /* or a file in it; NULL: the folder */
	char *at;       /* where the test works: the folder, or the mount */
	pid_t server;   /* 0: none, `at` is the plain folder */
	int waits_fd;   /* counts requests that wait for a lock */
	int changed_fd; /* counts what the guest is told of others' changes; 0: none */
	int taken_fd;   /* counts its requests for one of these */
};

/* What a test asks for. NULL of it: the plain folder. */
struct mount_kind {
	enum tree_cache cache;
	bool jailed;  /* the server is not root, and has file capabilities only */
	bool watched; /* it hears of others' changes */
};

static struct tree *mount_tree;
static int mount_dev_fd = -1, mount_waits_fd = -1, mount_changed_fd = -1,
	   mount_taken_fd = -1;

static uint8_t *mount_grow(void *user, size_t size)
{
	uint8_t **large = user;

	*large = xreallocarray(*large, size, 1);
	return *large;
}

static void mount_waits(void *user)
{
	(void)user;
	eventfd_write(mount_waits_fd, 1);
}

static void mount_changed(void *user)
{
	(void)user;
	eventfd_write(mount_changed_fd, 1);
}

static bool takes_change(const uint8_t *message)
{
	const struct fuse_in_header *header = (const void *)message;
	size_t fixed = sizeof(*header) + sizeof(struct fuse_getxattr_in);

	return header->opcode == FUSE_GETXATTR &&
	       strcmp((const char *)message + fixed, FILES_REPLAY_NEXT) == 0;
}

static void *mount_pump(void *arg)
{
	size_t size = FILES_SLOT_BYTES;
	uint8_t *message = xmalloc(size), *small = xmalloc(4096), *large = NULL;

	(void)arg;
	for (;;) {
		struct tree_answer answer = {.data = small,
			.size = 4096,
			.grow = mount_grow,
			.waits = mount_waits,
			.user = &large};
		ssize_t n = read(mount_dev_fd, message, size);
		struct tree_request request = {.message = message, .len = n};

		/* ENOENT: the request was interrupted before it came here. */
		if (n < 0 && (errno == ENOENT || errno == EINTR))
			continue;
		if (n < 0)
			break;
		if (takes_change(message))
			eventfd_write(mount_taken_fd, 1);
		if (tree_serve(mount_tree, &request, &answer) < 0) {
			fprintf(stderr, "# -EPROTO: opcode %u\n",
				*(uint32_t *)(message + 4));
			_exit(70);
		}
		if (answer.len > 0)
			(void)!write(mount_dev_fd, answer.data, answer.len);
	}
	free(message);
	free(small);
	free(large);
	return NULL;
}

#define MOUNT_UID 12345

/* As the product's server is: another uid, and what it needs of root's rights. */
static int mount_jail(void)
{
	static const int kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
		CAP_FOWNER, CAP_FSETID, CAP_SETGID, CAP_SETUID, CAP_SETFCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		data[CAP_TO_INDEX(kept[i])].permitted |= CAP_TO_MASK(kept[i]);
	data[0].effective = data[0].permitted;
	data[1].effective = data[1].permitted;
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 ||
		setresgid(MOUNT_UID, MOUNT_UID, MOUNT_UID) < 0 ||
		setresuid(MOUNT_UID, MOUNT_UID, MOUNT_UID) < 0)
		return -errno;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* The server's process: until the mount is gone. */
static int mount_serve(const char *folder, const struct mount_kind *kind)
{
	struct tree_options options = {
		.cache = kind->cache, .inodes_max = 8192, .handles_max = 1024};
	struct blanks blanks;
	int root = open(folder, O_PATH | O_CLOEXEC);
	pthread_t pumps[MOUNT_PUMPS];
	struct err err = ERR_INIT;

	if (tree_prepare(&err) < 0 || (kind->watched && blanks_open(&blanks, &err) < 0))
		return 74;
	if (kind->jailed && mount_jail() < 0)
		return 73;
	if (kind->watched) {
		options.watch = watch_new();
		options.blanks = &blanks;
		options.changed = mount_changed;
	}
	if (tree_new(root, &options, &mount_tree, &err) < 0)
		return 71;
	close(root);
	for (int i = 0; i < MOUNT_PUMPS; i++)
		if (thread_start(mount_pump, NULL, 256 << 10, false, &pumps[i]) < 0)
			return 72;
	for (int i = 0; i < MOUNT_PUMPS; i++)
		pthread_join(pumps[i], NULL);
	tree_free(mount_tree);
	return 0;
}

/* Why there are no mounts here; NULL: there are. In a mount namespace of its own then. */
static const char *mount_missing(void)
{
	int fd;

	if (geteuid() != 0)
		return "not root";
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "/dev/fuse cannot be opened";
	close(fd);
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "no mount namespace can be made";
	return NULL;
}

static struct files_mount *mount_plain(void)
{
	struct files_mount *m = xnew0(struct files_mount);

	m->folder = test_folder_new();
	m->at = xstrdup(m->folder);
	chmod(m->folder, 0755);
	return m;
}

static void mount_over(struct files_mount *m, const struct mount_kind *kind)
{
	char options[128];

	free(m->at);
	m->at = test_folder_new();
	mount_dev_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	assert_true(mount_dev_fd >= 0);
	if (m->root) {
		rmdir(m->at);
		assert_int_equal(mknod(m->at, S_IFREG | 0600, 0), 0);
	}
	snprintf(options, sizeof(options),
		"fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other",
		mount_dev_fd, m->root ? S_IFREG : S_IFDIR);
	assert_int_equal(
		mount("stencil", m->at, "fuse", MS_NOSUID | MS_NODEV, options), 0);
	m->waits_fd = mount_waits_fd = eventfd(0, EFD_CLOEXEC);
	m->taken_fd = mount_taken_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kind->watched)
		m->changed_fd = mount_changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->server = fork();
	assert_true(m->server >= 0);
	if (m->server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(mount_serve(m->root ? m->root : m->folder, kind));
	}
	close(mount_dev_fd);
}

static struct files_mount *mount_new(const struct mount_kind *kind)
{
	struct files_mount *m = mount_plain();

	if (kind)
		mount_over(m, kind);
	return m;
}

/* By force, so that a case that failed with a file open ends, too. */
static void mount_free(struct files_mount *m)
{
	int status = 0;

	if (m->server) {
		assert_int_equal(umount2(m->at, MNT_FORCE | MNT_DETACH), 0);
		assert_int_equal(waitpid(m->server, &status, 0), m->server);
		assert_int_equal(status, 0);
		close(m->waits_fd);
		close(m->taken_fd);
		if (m->changed_fd > 0)
			close(m->changed_fd);
		remove(m->at);
	}
	free(m->at);
	test_folder_free(m->folder);
	free(m);
}

static char *mount_path(const struct files_mount *m, const char *name)
{
	return xasprintf("%s/%s", m->at, name);
}

#define PATH_OF(m, name) _cleanup_free_ char *name = mount_path(m, #name)
