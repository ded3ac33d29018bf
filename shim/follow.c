/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following the host's mounts: see follow.h.
 *
 * How it works. Mounts are propagated by the kernel, but not into a detached tree
 * (Linux 6.15), and whoever has a file open in a propagated copy, as the file server
 * has each one that the guest's kernel remembers, keeps the host from unmounting the
 * original (EBUSY). So a thread with a mount namespace of its own, in which there is
 * nothing else, has two copies of the tree:
 *
 *   /from   a slave of the host's: mounts come and go in it, and nobody looks into it
 *   /to     private: what the file server serves
 *
 * What comes in the first is cloned into the second, what goes is detached from it.
 * The kernel tells of each change by /proc/self/mountinfo. The namespace ends with the
 * thread.
 */
#include "shim/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"

/* Of the namespace, in which there is one tree. */
#define MOUNTINFO_MAX (16u << 20)
#define STACK_BYTES   (128u << 10)
/* How often the copies are made anew because the host mounts meanwhile. */
#define COPY_TRIES 16

/* One below /from. */
struct seen {
	uint64_t id;
	char *path; /* below the root, without a slash before it; "" is the root */
	int fd;     /* of its clone in /to; -1: it has none */
};

struct seen_list {
	struct seen *item;
	size_t n;
};

struct follower {
	const struct rootfs_tree *tree; /* while it starts */
	enum rootfs_readonly readonly;
	char *source; /* for the log */
	pthread_t thread;
	int stop_fd, proc_fd, info_fd, from_fd, to_fd;
	struct seen_list known;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool started, follows;
	void (*gone)(void *user);
	void *user;
	int r;
	struct err err;
};

/* ---- what is mounted ---- */

static void seen_free(struct seen_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->item[i].path);
		close_fd(list->item[i].fd);
	}
	free(list->item);
	*list = (struct seen_list){0};
}

/* The kernel writes blanks and backslashes as \040. */
static void unescape_text(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		unsigned int c;

		if (sscanf(at, "\\%3o", &c) == 1) {
			*to = (char)c;
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

/* One line: "id parent dev root mountpoint options [tag...] - …". False: not below
 * /from. */
static bool parse_line(char *line, struct seen *ret, bool *ret_slave)
{
	static const char from[] = "/from";
	char *words = line, *word, *point = NULL;
	uint64_t id = 0;

	*ret_slave = false;
	for (int i = 0; (word = strsep(&words, " ")) && strcmp(word, "-") != 0; i++) {
		if (i == 0)
			id = strtoull(word, NULL, 10);
		else if (i == 4)
			point = word;
		else if (i > 5 && strncmp(word, "master:", 7) == 0)
			*ret_slave = true;
	}
	if (!point || strncmp(point, from, sizeof(from) - 1) != 0)
		return false;
	point += sizeof(from) - 1;
	if (*point && *point != '/')
		return false;
	unescape_text(point);
	*ret = (struct seen){
		.id = id, .path = xstrdup(*point ? point + 1 : ""), .fd = -1};
	return true;
}

/* In the order of the kernel: what is mounted on something comes behind it. */
static int read_mounts(
	const struct follower *f, struct seen_list *ret, bool *ret_slave, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	char *lines, *line;
	size_t len;
	int r;

	r = file_read(f->proc_fd, "../mountinfo", MOUNTINFO_MAX, &text, &len, err);
	if (r < 0)
		return r;
	*ret = (struct seen_list){0};
	*ret_slave = false;
	lines = text;
	while ((line = strsep(&lines, "\n"))) {
		struct seen seen;
		bool slave;

		if (!parse_line(line, &seen, &slave))
			continue;
		*ret_slave |= slave;
		ret->item = xreallocarray(ret->item, ret->n + 1, sizeof(*ret->item));
		ret->item[ret->n++] = seen;
	}
	return 0;
}

static struct seen *find_seen(const struct seen_list *list, uint64_t id)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->item[i].id == id)
			return &list->item[i];
	return NULL;
}

/* ---- the namespace ---- */

/* Empty, but for two mount points; nobody else's mounts are held by it. */
static int enter_namespace(struct follower *f, struct err *err)
{
	f->proc_fd = open("/proc/thread-self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (f->proc_fd < 0)
		return err_sys(err, errno, "/proc/thread-self/fd");
	if (unshare(CLONE_FS | CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot leave the mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make the mount namespace private");
	if (mount("follow", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    "mode=0700,size=64k") < 0)
		return err_sys(err, errno, "cannot mount an empty root");
	if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot enter the empty root");
	return 0;
}

static int make_point(const char *path, mode_t type, struct err *err)
{
	int r = S_ISDIR(type) ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0);

	return r < 0 ? err_sys(err, errno, "cannot make %s", path) : 0;
}

static int attach_tree(int fd, const char *path, struct err *err)
{
	if (move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot mount the tree on %s", path);
	return 0;
}

/* By the name of the descriptor: whatever else is mounted, and wherever it was moved
 * to. */
static int detach_tree(const struct follower *f, int fd)
{
	char name[12];
	int r = 0;

	snprintf(name, sizeof(name), "%d", fd);
	if (fchdir(f->proc_fd) < 0 || umount2(name, MNT_DETACH) < 0)
		r = -errno;
	if (chdir("/") < 0)
		r = -errno;
	return r;
}

static int open_below(int fd, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	int r = (int)syscall(SYS_openat2, fd, *path ? path : ".", &how, sizeof(how));

	return r < 0 ? -errno : r;
}

/* ---- the start ---- */

static int make_from(struct follower *f, mode_t *ret_type, struct err *err)
{
	struct mount_attr slave = {.propagation = MS_SLAVE};
	struct stat st;

	if (mount_setattr(f->from_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &slave,
		    sizeof(slave)) < 0)
		return err_sys(err, errno, "cannot make it follow the host's mounts");
	if (fstat(f->from_fd, &st) < 0)
		return err_sys(err, errno, "cannot look at it");
	*ret_type = st.st_mode;
	return make_point("/from", st.st_mode, err) < 0
		       ? err->code
		       : attach_tree(f->from_fd, "/from", err);
}

/* A clone of /from, with what is mounted in it now. */
static int copy_tree(struct follower *f, struct err *err)
{
	int r;

	f->to_fd = open_tree(AT_FDCWD, "/from",
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			(f->tree->recursive ? AT_RECURSIVE : 0));
	if (f->to_fd < 0)
		return err_sys(err, errno, "cannot copy it");
	r = rootfs_restrict(f->to_fd, f->readonly);
	if (r < 0)
		return err_sys(err, r, "cannot restrict it");
	return attach_tree(f->to_fd, "/to", err);
}

static bool same_mounts(const struct seen_list *a, const struct seen_list *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (!find_seen(b, a->item[i].id))
			return false;
	return a->n == b->n;
}

/* The host did not mount meanwhile: what is in /from now is in /to, too. */
static int copy_once(struct follower *f, bool *ret_done, bool *ret_slave, struct err *err)
{
	struct seen_list after = {0};
	int r = read_mounts(f, &f->known, ret_slave, err);

	if (r < 0 || !*ret_slave)
		return r;
	r = copy_tree(f, err);
	if (r == 0)
		r = read_mounts(f, &after, ret_slave, err);
	*ret_done = r == 0 && same_mounts(&f->known, &after);
	seen_free(&after);
	return r;
}

/* Where each is that was there from the beginning. */
static void open_known(struct follower *f)
{
	for (size_t i = 0; i < f->known.n; i++) {
		struct seen *seen = &f->known.item[i];

		if (*seen->path)
			seen->fd = open_below(f->to_fd, seen->path);
	}
}

static int make_copies(struct follower *f, bool *ret_slave, struct err *err)
{
	bool done = false;
	mode_t type = 0;
	int r = make_from(f, &type, err);

	if (r == 0)
		r = make_point("/to", type, err);
	for (int i = 0; r == 0 && !done; i++) {
		if (i == COPY_TRIES)
			return err_set(err, -EBUSY,
				"what is mounted in it changes all the time");
		seen_free(&f->known);
		if (f->to_fd >= 0)
			detach_tree(f, f->to_fd);
		close_fd(steal_fd(&f->to_fd));
		r = copy_once(f, &done, ret_slave, err);
		if (r == 0 && !*ret_slave)
			return 0;
	}
	if (r == 0)
		open_known(f);
	return r;
}

static int start_following(struct follower *f, bool *ret_slave, struct err *err)
{
	int r = enter_namespace(f, err);

	*ret_slave = false;
	if (r < 0)
		return r;
	f->info_fd = openat(f->proc_fd, "../mountinfo", O_RDONLY | O_CLOEXEC);
	if (f->info_fd < 0)
		return err_sys(err, errno, "mountinfo");
	return make_copies(f, ret_slave, err);
}

/* ---- following ---- */

/* The clone of one that has come, in /to; -1: it has gone again, or something covers
 * it. */
static int clone_seen(const struct follower *f, const struct seen *seen)
{
	_cleanup_close_ int from = open_below(f->from_fd, seen->path), to = -1, fd = -1;
	struct statx st;
	int r;

	if (from < 0 || statx(from, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 ||
		st.stx_mnt_id != seen->id)
		return -1;
	fd = open_tree(from, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	to = fd < 0 ? -errno : open_below(f->to_fd, seen->path);
	/* Or the host, who may see it in the guest from here on, finds its mount busy. */
	close_fd(steal_fd(&from));
	r = MIN(to, 0);
	if (r == 0)
		r = rootfs_restrict(fd, f->readonly == ROOTFS_READONLY_ALL
						? f->readonly
						: ROOTFS_WRITABLE);
	if (r == 0 && move_mount(fd, "", to, "",
			      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = -errno;
	if (r < 0)
		log_warn("a mount of the host's at %s of %s is not seen in the guest: %s",
			err_quote(seen->path, 128), err_quote(f->source, 128),
			strerror(-r));
	return r < 0 ? -1 : steal_fd(&fd);
}

static void drop_seen(const struct follower *f, const struct seen *seen)
{
	int r = seen->fd < 0 ? 0 : detach_tree(f, seen->fd);

	/* EINVAL: it went with what it was mounted on. */
	if (r < 0 && r != -EINVAL)
		log_warn("what the host has unmounted at %s of %s stays in the guest: %s",
			err_quote(seen->path, 128), err_quote(f->source, 128),
			strerror(-r));
}

static void tell_gone(struct follower *f)
{
	void (*gone)(void *user);
	void *user;

	pthread_mutex_lock(&f->lock);
	gone = f->gone;
	user = f->user;
	pthread_mutex_unlock(&f->lock);
	if (gone)
		gone(user);
}

static void add_new(struct follower *f, struct seen_list *now)
{
	for (size_t i = 0; i < now->n; i++) {
		struct seen *was = find_seen(&f->known, now->item[i].id);

		if (was)
			now->item[i].fd = steal_fd(&was->fd);
		if (now->item[i].fd < 0 && *now->item[i].path)
			now->item[i].fd = clone_seen(f, &now->item[i]);
	}
}

/* What is on top goes first. */
static void follow_changes(struct follower *f)
{
	struct seen_list now;
	bool slave, gone = false;
	struct err err;

	if (read_mounts(f, &now, &slave, &err) < 0) {
		log_warn("changes of mounts in %s are not seen in the guest: %s",
			err_quote(f->source, 128), err.text);
		return;
	}
	for (size_t i = f->known.n; i-- > 0;)
		if (!find_seen(&now, f->known.item[i].id)) {
			drop_seen(f, &f->known.item[i]);
			gone = true;
		}
	add_new(f, &now);
	seen_free(&f->known);
	f->known = now;
	if (gone)
		tell_gone(f);
}

static void follow_until_stopped(struct follower *f)
{
	struct pollfd fds[] = {
		{.fd = f->info_fd, .events = POLLPRI},
		{.fd = f->stop_fd, .events = POLLIN},
	};

	while (!fds[1].revents) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents)
			follow_changes(f);
	}
}

static void tell_started(struct follower *f, int r, bool follows)
{
	pthread_mutex_lock(&f->lock);
	f->r = r;
	f->follows = follows;
	f->started = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void *run_follower(void *arg)
{
	struct follower *f = arg;
	bool slave;
	int r = start_following(f, &slave, &f->err);

	tell_started(f, r, slave);
	if (r == 0 && slave)
		follow_until_stopped(f);
	return NULL;
}

/* ---- from outside ---- */

static void free_follower(struct follower *f)
{
	seen_free(&f->known);
	close_fd(f->stop_fd);
	close_fd(f->proc_fd);
	close_fd(f->info_fd);
	close_fd(f->from_fd);
	close_fd(f->to_fd);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f->source);
	free(f);
}

void follow_tell(struct follower *f, void (*gone)(void *user), void *user)
{
	pthread_mutex_lock(&f->lock);
	f->gone = gone;
	f->user = user;
	pthread_mutex_unlock(&f->lock);
}

void follow_end(struct follower *f)
{
	if (!f)
		return;
	thread_wake(f->stop_fd);
	pthread_join(f->thread, NULL);
	free_follower(f);
}

static int start_thread(struct follower *f, struct err *err)
{
	int r = thread_start(run_follower, f, STACK_BYTES, false, &f->thread);

	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	pthread_mutex_lock(&f->lock);
	while (!f->started)
		pthread_cond_wait(&f->changed, &f->lock);
	r = f->r;
	pthread_mutex_unlock(&f->lock);
	if (r == 0 && f->follows)
		return 0;
	pthread_join(f->thread, NULL);
	return r < 0 ? err_copy(err, &f->err) : 0;
}

static struct follower *new_follower(const struct rootfs_tree *tree, int from_fd)
{
	struct follower *f = xnew0(struct follower);

	f->tree = tree;
	f->readonly = tree->readonly;
	f->source = xstrdup(tree->path);
	f->proc_fd = f->info_fd = f->to_fd = -1;
	f->from_fd = from_fd;
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&f->lock, NULL);
	cond_init(&f->changed);
	return f;
}

int follow_start(const struct rootfs_tree *tree, int *ret_mount_fd, struct follower **ret,
	struct err *err)
{
	struct follower *f;
	int fd, r = 0;

	*ret = NULL;
	fd = open_tree(AT_FDCWD, tree->path,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			(tree->recursive ? AT_RECURSIVE : 0));
	if (fd < 0)
		return err_sys(err, errno, "cannot take %s", err_quote(tree->path, 256));
	f = new_follower(tree, fd);
	if (f->stop_fd < 0)
		r = err_sys(err, errno, "eventfd");
	if (r == 0)
		r = start_thread(f, err);
	if (r == 0 && f->follows) {
		*ret_mount_fd = fcntl(f->to_fd, F_DUPFD_CLOEXEC, 0);
		*ret = f;
		if (*ret_mount_fd >= 0)
			return 0;
		*ret = NULL;
		r = err_sys(err, errno, "dup");
		follow_end(f);
		return r;
	}
	free_follower(f);
	return r < 0 ? err_wrap(err, "cannot follow the host's mounts in %s",
			       err_quote(tree->path, 256))
		     : rootfs_clone(tree, ret_mount_fd, err);
}
