/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE_GETLK, FUSE_SETLK and FUSE_SETLKW: see lock.h. */
#include "files/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/util.h"
#include "files/call.h"

/* Longer chains of processes that wait for one another end in waiting. */
#define LOCK_STEPS_MAX 64u

/* ---- owners ---- */

static struct lock_owner **owner_at(struct inode *inode, uint64_t owner)
{
	struct lock_owner **at = &inode->owners;

	while (*at && (*at)->owner != owner)
		at = &(*at)->next;
	return at;
}

static void owner_free(struct lock_owner *owner)
{
	if (!owner)
		return;
	close(owner->fd);
	free(owner);
}

/* With the lock: the list's use of it ends.
 * The caller frees it without the lock if it is returned. */
static struct lock_owner *owner_unlink(struct tree *tree, struct lock_owner **at)
{
	struct lock_owner *owner = *at;

	*at = owner->next;
	room_give(tree->room, ROOM_HANDLES);
	return --owner->uses == 0 ? owner : NULL;
}

static void owner_unuse(struct tree *tree, struct lock_owner *owner)
{
	bool last;

	if (!owner)
		return;
	pthread_mutex_lock(&tree->lock);
	last = --owner->uses == 0;
	pthread_mutex_unlock(&tree->lock);
	if (last)
		owner_free(owner);
}

static struct lock_owner *owner_find(struct call *c)
{
	struct lock_owner *owner;

	pthread_mutex_lock(&c->tree->lock);
	owner = *owner_at(c->inode, c->in.lk.owner);
	if (owner)
		owner->uses++;
	pthread_mutex_unlock(&c->tree->lock);
	return owner;
}

/* A write lock takes a descriptor for writing, a read lock one for reading: both, where
 * the file can be written to at all. */
static int owner_open(const struct inode *inode)
{
	int fd = file_open_again(inode->fd, O_RDWR);

	if (fd == -EROFS || fd == -ETXTBSY || fd == -EPERM || fd == -EACCES)
		fd = file_open_again(inode->fd, O_RDONLY);
	return fd;
}

/* Takes fd. Another thread may have made the same one meanwhile. */
static struct lock_owner *owner_add(struct call *c, int fd)
{
	struct lock_owner *fresh = xnew0(struct lock_owner);
	struct lock_owner **at, *owner;

	*fresh = (struct lock_owner){.owner = c->in.lk.owner, .fd = fd, .uses = 1};
	pthread_mutex_lock(&c->tree->lock);
	at = owner_at(c->inode, c->in.lk.owner);
	/* Owners hold descriptors, so they count among the handles. */
	if (!*at && room_take(c->tree->room, ROOM_HANDLES))
		*at = steal_ptr(fresh);
	owner = *at;
	if (owner)
		owner->uses++;
	pthread_mutex_unlock(&c->tree->lock);
	owner_free(fresh);
	return owner;
}

static int owner_use(struct call *c, struct lock_owner **ret)
{
	struct lock_owner *owner = owner_find(c);
	int fd;

	if (!owner) {
		fd = owner_open(c->inode);
		if (fd < 0)
			return fd;
		owner = owner_add(c, fd);
	}
	if (!owner)
		return -ENOLCK;
	*ret = owner;
	return 0;
}

static int fd_unlock_all(int fd)
{
	struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_SETLK, &all) < 0 ? -errno : 0;
}

void lock_owner_leave(struct call *c, uint64_t number)
{
	struct lock_owner *owner, **at, *last = NULL;

	pthread_mutex_lock(&c->tree->lock);
	at = owner_at(c->inode, number);
	owner = *at;
	if (owner) {
		/* The descriptor may outlive this: a thread of the owner's waits. */
		fd_unlock_all(owner->fd);
		last = owner_unlink(c->tree, at);
	}
	pthread_mutex_unlock(&c->tree->lock);
	owner_free(last);
}

void lock_handle_leave(struct call *c)
{
	struct lock_owner **at, *gone = NULL;

	pthread_mutex_lock(&c->tree->lock);
	at = &c->inode->owners;
	while (*at) {
		struct lock_owner *owner = *at;

		if (owner->fh != c->in.release.fh) {
			at = &owner->next;
			continue;
		}
		fd_unlock_all(owner->fd);
		if (owner_unlink(c->tree, at)) {
			owner->next = gone;
			gone = owner;
		}
	}
	pthread_mutex_unlock(&c->tree->lock);
	lock_owners_free(gone);
}

void lock_owners_free(struct lock_owner *first)
{
	while (first) {
		struct lock_owner *next = first->next;

		owner_free(first);
		first = next;
	}
}

/* ---- POSIX locks ---- */

static int range_read(const struct fuse_file_lock *lk, struct flock *ret)
{
	if (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK)
		return -EINVAL;
	if (lk->start > lk->end || lk->end > INT64_MAX)
		return -EINVAL;
	*ret = (struct flock){.l_type = lk->type,
		.l_whence = SEEK_SET,
		.l_start = lk->start,
		/* 0 is all there may ever be. */
		.l_len = lk->end == INT64_MAX ? 0 : lk->end - lk->start + 1};
	return 0;
}

/*
 * The kernel does not tell whose a lock of an open file description is. But it does not
 * count against itself: whose descriptor sees none in the way holds it. With the lock.
 * NULL: another pod's, or the host's.
 */
static struct lock_owner *posix_holder(
	const struct inode *inode, const struct flock *held)
{
	for (struct lock_owner *o = inode->owners; o; o = o->next) {
		struct flock probe = *held;

		probe.l_type = F_WRLCK;
		probe.l_pid = 0;
		if (fcntl(o->fd, F_OFD_GETLK, &probe) == 0 && probe.l_type == F_UNLCK)
			return o;
	}
	return NULL;
}

/* Who is in the way of a request right now. With the lock. */
static struct lock_owner *posix_blocker(const struct lock_wait *wait)
{
	struct flock held = wait->range;

	held.l_pid = 0;
	if (fcntl(wait->fd, F_OFD_GETLK, &held) < 0 || held.l_type == F_UNLCK ||
		held.l_pid > 0)
		return NULL;
	return posix_holder(wait->inode, &held);
}

static const struct lock_wait *lock_wait_of(const struct tree *tree, uint64_t owner)
{
	const struct lock_wait *wait = tree->lock_waits;

	while (wait && wait->owner != owner)
		wait = wait->next;
	return wait;
}

/* Whether somebody waits, in the end, for who would wait. With the lock. */
static bool would_deadlock(const struct tree *tree, const struct lock_wait *wait)
{
	const struct lock_wait *at = wait;

	for (unsigned int step = 0; at && step < LOCK_STEPS_MAX; step++) {
		struct lock_owner *blocker = posix_blocker(at);

		if (!blocker)
			return false;
		if (blocker->owner == wait->owner)
			return true;
		at = lock_wait_of(tree, blocker->owner);
	}
	return false;
}

static int posix_block(int fd, const void *arg)
{
	struct flock range = *(const struct flock *)arg;

	return fcntl(fd, F_OFD_SETLKW, &range) < 0 ? -errno : 0;
}

static void lock_wait_end(struct tree *tree, struct lock_wait *wait)
{
	struct lock_wait **at = &tree->lock_waits;

	pthread_mutex_lock(&tree->lock);
	while (*at != wait)
		at = &(*at)->next;
	*at = wait->next;
	pthread_mutex_unlock(&tree->lock);
}

static int posix_wait(struct call *c, const struct lock_owner *owner, struct flock *range)
{
	struct lock_wait wait = {.owner = owner->owner,
		.inode = c->inode,
		.fd = owner->fd,
		.range = *range};
	bool deadlock;
	int r;

	pthread_mutex_lock(&c->tree->lock);
	deadlock = would_deadlock(c->tree, &wait);
	if (!deadlock) {
		wait.next = c->tree->lock_waits;
		c->tree->lock_waits = &wait;
	}
	pthread_mutex_unlock(&c->tree->lock);
	if (deadlock)
		return -EDEADLK;
	r = wait_for(c, owner->fd, posix_block, range);
	lock_wait_end(c->tree, &wait);
	return r;
}

static int posix_lock(struct call *c, struct flock *range, bool wait)
{
	struct lock_owner *owner;
	int r;

	r = owner_use(c, &owner);
	if (r < 0)
		return r;
	r = fcntl(owner->fd, F_OFD_SETLK, range) < 0 ? -errno : 0;
	if (wait && (r == -EAGAIN || r == -EACCES))
		r = posix_wait(c, owner, range);
	pthread_mutex_lock(&c->tree->lock);
	if (r == 0) {
		owner->pid = c->in.lk.lk.pid;
		owner->fh = c->in.lk.fh;
	}
	pthread_mutex_unlock(&c->tree->lock);
	owner_unuse(c->tree, owner);
	return r;
}

/* Who unlocks all has no locks, and needs no descriptor. Under the lock, since another
 * thread of the owner's may come for a lock at the same time. */
static int posix_unlock(struct call *c, struct flock *range)
{
	struct lock_owner *owner, **at, *last = NULL;
	int r = 0;

	pthread_mutex_lock(&c->tree->lock);
	at = owner_at(c->inode, c->in.lk.owner);
	owner = *at;
	if (owner)
		r = fcntl(owner->fd, F_OFD_SETLK, range) < 0 ? -errno : 0;
	if (owner && owner->uses == 1 && range->l_start == 0 && range->l_len == 0)
		last = owner_unlink(c->tree, at);
	pthread_mutex_unlock(&c->tree->lock);
	owner_free(last);
	return r;
}

static int posix_get(struct call *c, struct flock *range, struct fuse_file_lock *ret)
{
	struct lock_owner *owner = owner_find(c), *holder;
	int fd = owner ? owner->fd : owner_open(c->inode);
	int r = fd;

	if (fd >= 0)
		r = fcntl(fd, F_OFD_GETLK, range) < 0 ? -errno : 0;
	if (!owner)
		close_fd(fd);
	owner_unuse(c->tree, owner);
	if (r < 0)
		return r;
	*ret = (struct fuse_file_lock){.type = range->l_type};
	if (range->l_type == F_UNLCK)
		return 0;
	ret->start = range->l_start;
	ret->end = range->l_len ? range->l_start + range->l_len - 1 : INT64_MAX;
	/* A process of the host's has no number in the guest. */
	if (range->l_pid > 0)
		return 0;
	pthread_mutex_lock(&c->tree->lock);
	holder = posix_holder(c->inode, range);
	ret->pid = holder ? holder->pid : 0;
	pthread_mutex_unlock(&c->tree->lock);
	return 0;
}

/* ---- flock ---- */

static int flock_block(int fd, const void *arg)
{
	return flock(fd, *(const int *)arg) < 0 ? -errno : 0;
}

/* These belong to the open file, and that is the handle. */
static int flock_set(struct call *c, bool wait)
{
	int operation, r;

	switch (c->in.lk.lk.type) {
	case F_RDLCK:
		operation = LOCK_SH;
		break;
	case F_WRLCK:
		operation = LOCK_EX;
		break;
	case F_UNLCK:
		operation = LOCK_UN;
		break;
	default:
		return -EINVAL;
	}
	r = flock(c->handle->fd, operation | LOCK_NB) < 0 ? -errno : 0;
	if (r == -EWOULDBLOCK && wait)
		r = wait_for(c, c->handle->fd, flock_block, &operation);
	return r;
}

/* ---- requests ---- */

static int lock_set(struct call *c, bool wait)
{
	struct flock range;
	int r;

	if (c->in.lk.lk_flags & FUSE_LK_FLOCK)
		return flock_set(c, wait);
	if (!S_ISREG(c->inode->type))
		return -EINVAL;
	r = range_read(&c->in.lk.lk, &range);
	if (r < 0)
		return r;
	if (range.l_type == F_UNLCK)
		return posix_unlock(c, &range);
	return posix_lock(c, &range, wait);
}

int call_setlk(struct call *c)
{
	return lock_set(c, false);
}

int call_setlkw(struct call *c)
{
	return lock_set(c, true);
}

int call_getlk(struct call *c)
{
	struct fuse_lk_out out = {0};
	struct flock range;
	int r;

	if (!S_ISREG(c->inode->type))
		return -EINVAL;
	r = range_read(&c->in.lk.lk, &range);
	if (r < 0)
		return r;
	r = posix_get(c, &range, &out.lk);
	if (r < 0)
		return r;
	return call_put(c, &out, sizeof(out));
}

int call_interrupt(struct call *c)
{
	wait_interrupt(c->tree, c->in.interrupt.unique);
	return 0;
}
