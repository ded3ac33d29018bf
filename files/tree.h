/* SPDX-License-Identifier: Apache-2.0 */
/* One tree of files, served by FUSE's messages: a mount of the guest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Requests come from a hostile kernel. Each message is checked before any of it is used
 * (lengths, the end of names, numbers of inodes and handles); a name is one component,
 * and is never resolved further than that: what the tree holds it names by a descriptor
 * of its own. A tree never leaves the mount that it was made of, and what is mounted in
 * that.
 *
 * Any number of threads may be in tree_serve() at the same time.
 */

struct tree;
struct blanks;
struct keeper;
struct room;
struct watch;

enum tree_cache {
	TREE_CACHE_OWN,    /* nobody else writes: long timeouts, writeback */
	TREE_CACHE_SHARED, /* others write: nothing is believed without asking */
};

struct tree_options {
	enum tree_cache cache;
	bool readonly; /* refuse to change anything, as the mount itself does */
	/* The most inodes that the guest may have looked up, and files it may have open:
	 * in all trees of this room together (not taken), or NULL: in this one. */
	struct room *room;
	unsigned int inodes_max, handles_max;
	/* A message to the guest that answers none: an invalidation. Not called from
	 * within a lock that tree_serve() takes. NULL: none are sent. */
	void (*notify)(void *user, const void *message, size_t len);
	/* There are more inodes than three quarters of those that may be, or there is no
	 * room: the guest should forget some. Not called from within a lock that
	 * tree_serve() takes. May be NULL. */
	void (*crowded)(void *user);
	/* Others have changed something: the guest is to be told (FILES_CHANGED), by
	 * another thread. Called with locks held. May be NULL. */
	void (*changed)(void *user);
	void *user;
	/* What hears of what others change; NULL: nothing. What stands for files that are
	 * gone when the guest does that once more; NULL: it does not. Not taken; a tree
	 * that is TREE_CACHE_OWN has no use for them. */
	struct watch *watch;
	const struct blanks *blanks;
	/* The tree has the upper layer of an overlay that the guest mounts: its
	 * attributes trusted.overlay.* are set and read by this one. NULL: they are not.
	 * Not taken. */
	struct keeper *keeper;
};

/*
 * Once for the process, while /proc is there: opens /proc/self/fd, by which held files
 * are opened anew, and installs a handler of SIGRTMIN, which ends waits. tree_new() does
 * it, too, for who needs no jail. The descriptor stays, and so /proc may go. Needs
 * CAP_SYS_ADMIN.
 */
int tree_prepare(struct err *err);

/* root_fd: an O_PATH descriptor of the root of a mount, of whatever type that is (not
 * taken). The process may change its file system uid and gid (CAP_SETUID, CAP_SETGID) and
 * has the file capabilities. */
int tree_new(int root_fd, const struct tree_options *options, struct tree **ret,
	struct err *err);
/* No thread is in tree_serve(). NULL is fine. */
void tree_free(struct tree *tree);

/*
 * An answer: struct fuse_out_header and what follows it, len bytes at data. `data` is at
 * first what the caller has for short answers (size bytes, at least 4096); where it is
 * too small grow() is called once, before anything was written, which gives at least
 * `size` bytes or returns NULL: the request fails with ENOMEM.
 */
struct tree_answer {
	uint8_t *data;
	size_t size, len; /* len 0: the request has no answer */
	uint8_t *(*grow)(void *user, size_t size);
	/* Called before a request waits for another's lock, or for room. */
	void (*waits)(void *user);
	void *user;
};

/*
 * A thread that calls this gets a working folder and a umask of its own, and keeps them
 * (unshare(CLONE_FS)). SIGRTMIN is blocked in it, but while it waits for a lock.
 *
 * Serves one request: message[0..len) is private to the caller and whole, but for the
 * data of a FUSE_WRITE, which may lie elsewhere (payload, payload_len) in memory that the
 * guest can change at any time. Returns -EPROTO where the message is none that a kernel
 * sends (the channel ends); whatever else goes wrong is an answer.
 */
struct tree_request {
	const uint8_t *message;
	size_t len;
	const uint8_t *payload; /* NULL: the data is in the message */
	size_t payload_len;
};
int tree_serve(struct tree *tree, const struct tree_request *request,
	struct tree_answer *answer);

/*
 * The same where that is sure not to wait for a disk, a network or for room: 1 if it was
 * served, 0 if it was not, nothing is done then. For who must not be held up, and is
 * faster than who would be woken.
 */
int tree_serve_at_once(struct tree *tree, const struct tree_request *request,
	struct tree_answer *answer);

/*
 * Whatever would change something is refused with EROFS until tree_thaw(). Waits until
 * nothing is being changed and no file is open for writing, so that the mount can be made
 * read-only; -EBUSY at the deadline, and nothing is refused.
 */
int tree_freeze(struct tree *tree, int64_t deadline);
void tree_thaw(struct tree *tree);

/* Requests that wait for a lock end now, with EINTR, and until tree_reset() none waits.
 * Before tree_free(), and when the guest has unmounted. */
void tree_interrupt_all(struct tree *tree);
/* Forgets all inodes, handles and locks: the guest has unmounted. As for tree_free(). */
void tree_reset(struct tree *tree);

/* Bytes of the fixed part of a message, after which a FUSE_WRITE's data begins. */
#define TREE_WRITE_HEADER 80
