/* SPDX-License-Identifier: Apache-2.0 */
/* Hears what others change: see watch.h. */
#include "files/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "files/call.h"
#include "files/caller.h"

#define STACK_BYTES (64u << 10)
#define READ_BYTES  (32u << 10)
#define BUCKETS     1024u
/*
 * After a batch that was the guest's own alone the thread lets more come together, and
 * the kernel merges what is about one name. Otherwise a guest that writes would wake it
 * for each write.
 */
#define OWN_PAUSE_MS 20
/* Between lines of the log that changes were lost: who makes too many may go on. */
#define LOST_QUIET_MS 60000

#define OF_FILE   (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE)
#define OF_FOLDER (OF_FILE | FAN_CREATE | FAN_DELETE | FAN_EVENT_ON_CHILD | FAN_ONDIR)

#ifndef FAN_EVENT_INFO_TYPE_OLD_DFID_NAME
#define FAN_EVENT_INFO_TYPE_OLD_DFID_NAME 10
#define FAN_EVENT_INFO_TYPE_NEW_DFID_NAME 12
#endif
#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200 /* Linux 6.5 */
#endif

/* What events know a folder by. */
struct key {
	__kernel_fsid_t fsid;
	uint32_t type, len;
	uint8_t handle[MAX_HANDLE_SZ];
};

/* The kernel has one mark of an inode, however many trees have that. */
struct mark {
	struct mark *next; /* in its bucket */
	struct key key;
	struct watched *users;
};

struct watched {
	struct watched *next; /* of its mark */
	struct mark *mark;
	struct tree *tree;
	uint64_t node;
};

struct watch {
	pthread_mutex_t lock; /* of what follows, and of each inode's part */
	int fd;               /* -1 before there is anything to watch */
	bool failed;          /* there will be none */
	uint64_t moves;       /* of WATCH_MOVES those that the kernel knows */
	struct mark **buckets;
	bool lost; /* of the events that are taken, as too many wait */
	bool told_full;
};

/* ---- keys ---- */

static struct mark **bucket_of(struct watch *w, const struct key *key)
{
	return &w->buckets[hash_bytes(key->type, key->handle, key->len) % BUCKETS];
}

static bool key_equal(const struct key *a, const struct key *b)
{
	return a->type == b->type && a->len == b->len &&
	       memcmp(&a->fsid, &b->fsid, sizeof(a->fsid)) == 0 &&
	       memcmp(a->handle, b->handle, a->len) == 0;
}

static struct mark *find_mark(struct watch *w, const struct key *key)
{
	struct mark *mark = *bucket_of(w, key);

	while (mark && !key_equal(&mark->key, key))
		mark = mark->next;
	return mark;
}

static int key_set(struct key *key, const struct file_handle *handle)
{
	if (handle->handle_bytes > sizeof(key->handle))
		return -EOVERFLOW;
	key->type = (uint32_t)handle->handle_type;
	key->len = handle->handle_bytes;
	memcpy(key->handle, handle->f_handle, handle->handle_bytes);
	return 0;
}

static int key_of_fd(int fd, struct key *ret)
{
	union {
		struct file_handle handle;
		uint8_t bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = {.handle.handle_bytes = MAX_HANDLE_SZ};
	struct statfs fs;
	int mount;

	*ret = (struct key){0};
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	memcpy(&ret->fsid, &fs.f_fsid, sizeof(ret->fsid));
	if (name_to_handle_at(fd, "", &u.handle, &mount, AT_EMPTY_PATH) < 0 &&
		(errno != EOPNOTSUPP || name_to_handle_at(fd, "", &u.handle, &mount,
						AT_EMPTY_PATH | AT_HANDLE_FID) < 0))
		return -errno;
	return key_set(ret, &u.handle);
}

/* ---- marks ---- */

static int set_mark(struct watch *w, unsigned int flags, const struct inode *inode)
{
	uint64_t mask = S_ISDIR(inode->type) ? OF_FOLDER | w->moves : OF_FILE;

	return fanotify_mark(w->fd, flags, mask, AT_FDCWD, fd_path(inode->fd).text) < 0
		       ? -errno
		       : 0;
}

/* A kernel that does not know of FAN_RENAME tells of both names one by one. */
static int make_mark(struct watch *w, const struct inode *inode)
{
	int r = set_mark(w, FAN_MARK_ADD, inode);

	if (r == -EINVAL && w->moves == FAN_RENAME) {
		w->moves = FAN_MOVED_FROM | FAN_MOVED_TO;
		r = set_mark(w, FAN_MARK_ADD, inode);
		if (r < 0)
			w->moves = FAN_RENAME;
	}
	return r;
}

/* Also of one that has a mark already: then it is the same. */
static int use_mark(struct watch *w, const struct inode *inode, struct mark **ret)
{
	struct mark *mark, **bucket;
	struct key key;
	int r = key_of_fd(inode->fd, &key);

	if (r == 0)
		r = make_mark(w, inode);
	if (r < 0)
		return r;
	mark = find_mark(w, &key);
	if (!mark) {
		mark = xnew0(struct mark);
		mark->key = key;
		bucket = bucket_of(w, &key);
		mark->next = *bucket;
		*bucket = mark;
	}
	*ret = mark;
	return 0;
}

static void tell_unwatched(
	struct watch *w, const struct tree *tree, const struct inode *inode, int error)
{
	if (error == -ENOSPC && !w->told_full) {
		w->told_full = true;
		log_warn("changes by others are not told to all of the guest's watchers: "
			 "raise fs.fanotify.max_user_marks");
	} else if (error != -ENOSPC && inode == tree->inodes.root) {
		log_info("changes by others in a volume are not told to the guest's "
			 "watchers: its file system can't be watched: %s",
			strerror(-error));
	}
}

static void *watch_main(void *arg);

/* A pod without volumes has neither group nor thread. */
static int open_group(struct watch *w)
{
	int r;

	if (w->fd >= 0 || w->failed)
		return w->failed ? -ENOSYS : 0;
	w->buckets = xzalloc(BUCKETS * sizeof(w->buckets[0]));
	w->fd = fanotify_init(WATCH_GROUP, 0);
	r = w->fd < 0 ? -errno : thread_start(watch_main, w, STACK_BYTES, true, NULL);
	if (r < 0) {
		log_warn("changes by others are not told to the guest's watchers: %s",
			strerror(-r));
		close_fd(steal_fd(&w->fd));
		w->failed = true;
	}
	return r;
}

static void mark_inode(struct watch *w, struct tree *tree, struct inode *inode)
{
	struct mark *mark;
	int r;

	r = use_mark(w, inode, &mark);
	if (r < 0) {
		tell_unwatched(w, tree, inode, r);
		return;
	}
	inode->watched = xnew0(struct watched);
	*inode->watched = (struct watched){
		.next = mark->users, .mark = mark, .tree = tree, .node = inode->nodeid};
	mark->users = inode->watched;
}

void watch_add(struct tree *tree, struct inode *inode)
{
	struct watch *w = tree->options.watch;

	if (!w || inode->watch_tried ||
		(inode->type != S_IFDIR && inode != tree->inodes.root))
		return;
	pthread_mutex_lock(&w->lock);
	if (!inode->watch_tried && open_group(w) == 0)
		mark_inode(w, tree, inode);
	/* Not before: who finds it so answers the guest, which may watch from then on. */
	inode->watch_tried = true;
	pthread_mutex_unlock(&w->lock);
}

static void drop_mark(struct watch *w, struct mark *mark, const struct inode *inode)
{
	struct mark **at = bucket_of(w, &mark->key);
	int r = caller_thread();

	while (*at != mark)
		at = &(*at)->next;
	*at = mark->next;
	free(mark);
	if (r == 0)
		r = set_mark(w, FAN_MARK_REMOVE, inode);
	/* ENOENT: the folder was removed, and the mark with it. */
	if (r < 0 && r != -ENOENT)
		log_warn("a folder stays watched: %s", strerror(-r));
}

void watch_remove(struct tree *tree, struct inode *inode)
{
	struct watch *w = tree->options.watch;
	struct watched *watched = inode->watched, **at;

	if (!watched)
		return;
	pthread_mutex_lock(&w->lock);
	at = &watched->mark->users;
	while (*at != watched)
		at = &(*at)->next;
	*at = watched->next;
	if (!watched->mark->users)
		drop_mark(w, watched->mark, inode);
	inode->watched = NULL;
	inode->watch_tried = false;
	pthread_mutex_unlock(&w->lock);
	free(watched);
}

/* ---- events ---- */

/* Where it was: a folder's mark, and the name in it. */
struct where {
	struct mark *mark; /* NULL: nothing of the guest's */
	const char *name;
};

struct event {
	uint64_t mask;
	struct where at, from, to; /* from, to: of FAN_RENAME */
	struct mark *self;
};

/* The record of a handle, and where a name follows it, that. */
static struct where read_record(struct watch *w, const void *record)
{
	const struct fanotify_event_info_fid *info = record;
	struct file_handle *handle = (struct file_handle *)(uintptr_t)info->handle;
	struct where ret = {.name = ""};
	struct key key = {0};

	memcpy(&key.fsid, &info->fsid, sizeof(key.fsid));
	if (key_set(&key, handle) == 0)
		ret.mark = find_mark(w, &key);
	if (info->hdr.info_type != FAN_EVENT_INFO_TYPE_FID)
		ret.name = (const char *)handle->f_handle + handle->handle_bytes;
	return ret;
}

static struct event read_event(
	struct watch *w, const struct fanotify_event_metadata *meta)
{
	const uint8_t *at = (const uint8_t *)(meta + 1);
	const uint8_t *end = (const uint8_t *)meta + meta->event_len;
	struct event event = {.mask = meta->mask};

	while (at < end) {
		const struct fanotify_event_info_header *header = (const void *)at;

		switch (header->info_type) {
		case FAN_EVENT_INFO_TYPE_FID:
			event.self = read_record(w, at).mark;
			break;
		case FAN_EVENT_INFO_TYPE_DFID_NAME:
			event.at = read_record(w, at);
			break;
		case FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
			event.from = read_record(w, at);
			break;
		case FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
			event.to = read_record(w, at);
			break;
		}
		at += header->len;
	}
	return event;
}

static void give_change(struct watch *w, struct tree *tree, struct change *change)
{
	bool lost, tell = changes_add(&tree->heard, change, &lost);

	w->lost |= lost;
	if (tell && tree->options.changed)
		tree->options.changed(tree->options.user);
}

/* To each tree that has the folder. */
static void give_event(struct watch *w, uint64_t mask, const struct where *at)
{
	for (struct watched *u = at->mark ? at->mark->users : NULL; u; u = u->next) {
		struct change *change = change_new(mask, at->name, NULL);

		change->folder = u->node;
		give_change(w, u->tree, change);
	}
}

static uint64_t node_in(const struct mark *mark, const struct tree *tree)
{
	for (struct watched *u = mark ? mark->users : NULL; u; u = u->next)
		if (u->tree == tree)
			return u->node;
	return 0;
}

static void give_move_to(
	struct watch *w, const struct event *e, struct tree *tree, uint64_t node)
{
	struct change *change =
		change_new(e->mask, e->from.name ? e->from.name : e->to.name,
			e->to.name ? e->to.name : e->from.name);

	change->folder = node ? node : node_in(e->from.mark, tree);
	change->to_folder = node_in(e->to.mark, tree);
	give_change(w, tree, change);
}

/* A tree may have the folder of one name only. */
static void give_move(struct watch *w, const struct event *e)
{
	for (struct watched *u = e->from.mark ? e->from.mark->users : NULL; u;
		u = u->next)
		give_move_to(w, e, u->tree, u->node);
	for (struct watched *u = e->to.mark ? e->to.mark->users : NULL; u; u = u->next)
		if (!node_in(e->from.mark, u->tree))
			give_move_to(w, e, u->tree, 0);
}

/* Without FAN_RENAME the kernel merges moves with what else was done under the name:
 * after it came, and before it went. */
static void give_parts(struct watch *w, uint64_t mask, const struct where *at)
{
	uint64_t folder = mask & FAN_ONDIR, rest = mask & ~(folder | WATCH_MOVES);

	if (mask & FAN_MOVED_TO)
		give_event(w, FAN_MOVED_TO | folder, at);
	if (rest)
		give_event(w, rest | folder, at);
	if (mask & FAN_MOVED_FROM)
		give_event(w, FAN_MOVED_FROM | folder, at);
}

static void take_event(struct watch *w, const struct fanotify_event_metadata *meta)
{
	struct event e = read_event(w, meta);

	if (e.mask & FAN_RENAME)
		give_move(w, &e);
	else if (e.at.mark)
		give_parts(w, e.mask, &e.at);
	else if (e.self) /* a root that is a file */
		give_event(w, e.mask, &(struct where){e.self, "."});
}

/* Of the watching thread. */
static void tell_lost(void)
{
	static int64_t quiet_until;

	if (now_ms() < quiet_until)
		return;
	quiet_until = deadline_after_ms(LOST_QUIET_MS);
	log_warn("changes by others are not told to the guest's watchers: too many at "
		 "once");
}

/* True: some were not the guest's own. */
static bool take_events(struct watch *w, const void *data, ssize_t len)
{
	const struct fanotify_event_metadata *meta = data;
	pid_t own = getpid();
	bool others = false, lost;

	pthread_mutex_lock(&w->lock);
	w->lost = false;
	for (; FAN_EVENT_OK(meta, len); meta = FAN_EVENT_NEXT(meta, len)) {
		if (meta->mask & FAN_Q_OVERFLOW) {
			w->lost = true;
		} else if (meta->pid != own) {
			take_event(w, meta);
			others = true;
		}
	}
	lost = w->lost;
	pthread_mutex_unlock(&w->lock);
	if (lost)
		tell_lost();
	return others;
}

static int wait_events(const struct watch *w, bool pause)
{
	if (pause && poll(NULL, 0, OWN_PAUSE_MS) < 0 && errno != EINTR)
		return -errno;
	return wait_fd(w->fd, POLLIN, DEADLINE_NONE);
}

static void *watch_main(void *arg)
{
	_Alignas(struct fanotify_event_metadata) static uint8_t data[READ_BYTES];
	struct watch *w = arg;
	bool others = true;
	int r = 0;

	while (r == 0) {
		ssize_t n = read(w->fd, data, sizeof(data));

		if (n > 0) {
			others |= take_events(w, data, n);
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			r = -errno;
		} else {
			r = wait_events(w, !others);
			others = false;
		}
	}
	log_warn("changes by others are not told to the guest's watchers any more: %s",
		strerror(-r));
	return NULL;
}

struct watch *watch_new(void)
{
	struct watch *w = xnew0(struct watch);

	pthread_mutex_init(&w->lock, NULL);
	w->fd = -1;
	w->moves = FAN_RENAME;
	return w;
}
