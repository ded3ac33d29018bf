/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others have changed, done once more: see replay.h, and files/wire.h for what agent
 * and server say to each other.
 *
 * The mount may be read-only for everybody else. So the agent works on a copy of the
 * mount, of the same file system, that can be written to and that nobody else sees. It is
 * there only as long as there is something to do, or it would keep the file system alive.
 *
 * Folders are opened by FUSE's file handles, which the kernel resolves in its own cache:
 * who watches a folder keeps it there.
 */
#include "guest/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/util.h"

#define ROOT_NODE 1u
/* The mount's. */
struct copy {
	int root_fd; /* O_PATH */
	char root_path[32];
};

/*
 * To find out who watches means to look at all processes. A folder in which somebody else
 * writes all the time may cost the guest this part of a CPU for looking: one of so many
 * where nobody watches, and a larger one where somebody does, who then waits less. What
 * comes meanwhile waits, and is not lost to who begins to watch.
 */
#define LOOKING_PART_UNWATCHED 20
#define LOOKING_PART_WATCHED   4

/* A change as it was read. */
struct read_change {
	struct files_change c;
	char name[FILES_NAME_MAX + 1], to_name[FILES_NAME_MAX + 1];
};

int replay_enter_thread(struct err *err)
{
	if (unshare(CLONE_FS) < 0)
		return err_sys(err, errno, "a working folder of its own");
	/* Of this thread alone: libc's setfsgid() is the system call. */
	setfsgid(FILES_REPLAY_GID);
	return 0;
}

/* ---- what somebody watches ---- */

/* Whoever watches the folder sees each step; whoever watches what the name leads to, or
 * has led to, those that are its own. */
uint32_t replay_steps(const struct files_change *change, const struct watchers *ws)
{
	static const struct {
		uint32_t step, folder, node, lost;
	} rows[] = {
		{FILES_STEP_UNLINK, IN_DELETE, 0, IN_DELETE_SELF | IN_ATTRIB},
		{FILES_STEP_MAKE, IN_CREATE, 0, 0},
		{FILES_STEP_ATTRIB, IN_ATTRIB, IN_ATTRIB, IN_ATTRIB},
		{FILES_STEP_MODIFY, IN_MODIFY, IN_MODIFY, IN_MODIFY},
		{FILES_STEP_CLOSE, IN_CLOSE_WRITE, IN_CLOSE_WRITE, IN_CLOSE_WRITE},
		{FILES_STEP_REMOVE, IN_DELETE, IN_DELETE_SELF | IN_ATTRIB,
			IN_DELETE_SELF | IN_ATTRIB},
		{FILES_STEP_MOVE, IN_MOVED_FROM, IN_MOVE_SELF,
			IN_DELETE_SELF | IN_ATTRIB},
	};
	uint32_t folder = watchers_mask(ws, change->folder);
	uint32_t node = watchers_mask(ws, change->node);
	uint32_t lost = watchers_mask(ws, change->lost), steps = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (change->steps & rows[i].step &&
			(rows[i].folder & folder || rows[i].node & node ||
				rows[i].lost & lost))
			steps |= rows[i].step;
	if (change->steps & FILES_STEP_MOVE &&
		watchers_mask(ws, change->to_folder) & IN_MOVED_TO)
		steps |= FILES_STEP_MOVE;
	/* The name has to be there, and the one before it gone. */
	if (steps > FILES_STEP_MAKE)
		steps |= change->steps & FILES_STEP_MAKE;
	if (steps & FILES_STEP_MAKE)
		steps |= change->steps & FILES_STEP_UNLINK;
	return steps;
}

/* ---- folders and steps ---- */

static int open_by_node(uint64_t node)
{
	union {
		struct file_handle handle;
		struct {
			unsigned int bytes;
			int type;
			uint32_t words[WATCHERS_HANDLE_WORDS];
		} fuse;
	} u = {.fuse = {.bytes = sizeof(u.fuse.words),
		       .type = WATCHERS_HANDLE_TYPE,
		       .words = {(uint32_t)(node >> 32), (uint32_t)node, 0}}};

	/* By the working folder, which is of the mount: the call takes no O_PATH. */
	return open_by_handle_at(AT_FDCWD, &u.handle, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_folder(const struct copy *copy, uint64_t node)
{
	if (node == ROOT_NODE)
		return fcntl(copy->root_fd, F_DUPFD_CLOEXEC, 0);
	if (node == 0)
		return openat(copy->root_fd, FILES_REPLAY_ELSEWHERE,
			O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return open_by_node(node);
}

static int make_name(int fd, const char *name, mode_t type)
{
	if (S_ISDIR(type))
		return mkdirat(fd, name, 0700);
	if (S_ISLNK(type))
		return symlinkat(".", fd, name);
	return mknodat(fd, name, type | 0600, 0);
}

static int remove_name(int fd, const char *name, mode_t type)
{
	return unlinkat(fd, name, S_ISDIR(type) ? AT_REMOVEDIR : 0);
}

/* The kernel tells of IN_ATTRIB where both times are set, and of IN_MODIFY where only the
 * one of the last change is. The server sets neither. */
static int touch_name(int fd, const char *name, bool modified)
{
	struct timespec times[2] = {{.tv_nsec = modified ? UTIME_OMIT : 0}, {0}};
	bool itself = strcmp(name, ".") == 0;

	return utimensat(fd, itself ? "" : name, times,
		itself ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW);
}

/* A root that is a file is opened by its descriptor's path. */
static int close_name(
	const struct copy *copy, int folder_fd, const char *name, mode_t type)
{
	bool itself = strcmp(name, ".") == 0;
	int fd;

	if (!S_ISREG(type))
		return 0;
	fd = openat(folder_fd, itself ? copy->root_path : name,
		O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (itself ? 0 : O_NOFOLLOW));
	close_fd(fd);
	return fd < 0 ? -1 : 0;
}

static void move_name(const struct copy *copy, int fd, const struct read_change *change)
{
	_cleanup_close_ int to_fd = open_folder(copy, change->c.to_folder);
	struct stat st;

	if (to_fd < 0)
		return;
	/* A folder that the guest has found under its new name goes back to the old one;
	 * the kernel can't do that while it moves. */
	if (fstatat(fd, change->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		renameat(fd, change->name, to_fd, change->to_name);
}

/* A step that fails, as the guest itself has come in between, is one that nobody is told
 * of, and so are those that stand on it. */
static void do_steps(
	const struct copy *copy, const struct read_change *change, uint32_t steps)
{
	_cleanup_close_ int fd = open_folder(copy, change->c.folder);
	mode_t type = change->c.type;
	const char *name = change->name;

	if (fd < 0)
		return;
	if (steps & FILES_STEP_MOVE)
		move_name(copy, fd, change);
	if (steps & FILES_STEP_UNLINK && remove_name(fd, name, type) < 0)
		return;
	if (steps & FILES_STEP_MAKE && make_name(fd, name, type) < 0)
		return;
	if (steps & FILES_STEP_ATTRIB && touch_name(fd, name, false) < 0)
		return;
	if (steps & FILES_STEP_MODIFY && touch_name(fd, name, true) < 0)
		return;
	/* ETXTBSY: the guest executes it. */
	if (steps & FILES_STEP_CLOSE && close_name(copy, fd, name, type) < 0 &&
		errno != ETXTBSY)
		return;
	if (steps & FILES_STEP_REMOVE)
		remove_name(fd, name, type);
}

/* ---- rounds ---- */

static bool take_name(char *to, const uint8_t **at, size_t *left, size_t len)
{
	if (len > FILES_NAME_MAX || len > *left || memchr(*at, '/', len))
		return false;
	memcpy(to, *at, len);
	to[len] = '\0';
	*at += len;
	*left -= len;
	return true;
}

/* 1: there is one; 0: the round is over. */
static int read_next(const struct copy *copy, struct read_change *ret, struct err *err)
{
	uint8_t data[sizeof(ret->c) + 2 * FILES_NAME_MAX];
	ssize_t n = getxattr(copy->root_path, FILES_REPLAY_NEXT, data, sizeof(data));
	const uint8_t *at = data + sizeof(ret->c);
	size_t left;

	if (n < 0)
		return err_sys(err, errno, "cannot read a change");
	if (n == 0)
		return 0;
	if ((size_t)n < sizeof(ret->c))
		return err_set(err, -EPROTO, "a change of %zd bytes", n);
	memcpy(&ret->c, data, sizeof(ret->c));
	left = (size_t)n - sizeof(ret->c);
	if (!take_name(ret->name, &at, &left, ret->c.name_len) ||
		!take_name(ret->to_name, &at, &left, ret->c.to_len) || left > 0 ||
		!ret->name[0])
		return err_set(err, -EPROTO, "a change whose names can't be");
	return 1;
}

static int64_t rest_after(uint64_t looking_us, const struct watchers *ws)
{
	unsigned int part =
		watchers_none(ws) ? LOOKING_PART_UNWATCHED : LOOKING_PART_WATCHED;

	return (int64_t)(looking_us * (part - 1) / 1000 + 1);
}

static int do_changes(const struct copy *copy, const struct watchers *ws, struct err *err)
{
	struct read_change change;
	char nothing;
	int n;

	if (watchers_none(ws))
		return getxattr(copy->root_path, FILES_REPLAY_SKIP, &nothing, 1) < 0
			       ? err_sys(err, errno, "cannot skip changes")
			       : 0;
	while ((n = read_next(copy, &change, err)) > 0) {
		uint32_t steps = replay_steps(&change.c, ws);

		if (steps)
			do_steps(copy, &change, steps);
	}
	return n;
}

/* Who watches is asked when the changes have come: nobody who watched before them is
 * missing. */
static int do_round(
	const struct copy *copy, dev_t dev, struct replay_outcome *ret, struct err *err)
{
	_cleanup_close_ int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t start = now_us();
	struct watchers ws;
	uint32_t n;
	int done;

	if (proc_fd < 0)
		return err_sys(err, errno, "/proc");
	if (getxattr(copy->root_path, FILES_REPLAY_BEGIN, &n, sizeof(n)) < 0)
		return err_sys(err, errno, "cannot ask for changes");
	if (n == 0)
		return 0;
	done = watchers_read(proc_fd, dev, &ws, err);
	ret->again = true;
	ret->rest_ms = rest_after(now_us() - start, &ws);
	if (done == 0)
		done = do_changes(copy, &ws, err);
	watchers_done(&ws);
	return done;
}

/* ---- the mount ---- */

static int open_copy(const char *at, dev_t dev, struct copy *ret, struct err *err)
{
	struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
	struct statx stx;
	int fd = open_tree(
		AT_FDCWD, at, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	if (fd < 0)
		return err_sys(err, errno, "cannot copy the mount");
	ret->root_fd = fd;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) < 0)
		return err_sys(err, errno, "cannot look at the mount");
	if (makedev(stx.stx_dev_major, stx.stx_dev_minor) != dev)
		return err_set(err, -ESTALE, "another one is mounted there");
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &writable, sizeof(writable)) < 0)
		return err_sys(err, errno, "cannot make it writable");
	if (S_ISDIR(stx.stx_mode) && fchdir(fd) < 0)
		return err_sys(err, errno, "cannot enter it");
	snprintf(ret->root_path, sizeof(ret->root_path), "/proc/thread-self/fd/%d", fd);
	return 0;
}

int replay_mount(const char *at, dev_t dev, struct replay_outcome *ret, struct err *err)
{
	struct copy copy = {.root_fd = -1};
	int done;

	*ret = (struct replay_outcome){0};
	done = open_copy(at, dev, &copy, err);
	if (done == 0)
		done = do_round(&copy, dev, ret, err);
	if (chdir("/") < 0 && done == 0)
		done = err_sys(err, errno, "chdir /");
	close_fd(copy.root_fd);
	return done;
}
