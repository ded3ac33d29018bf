/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of the guest's channel (files/wire.h): frames in,
 * trees served, frames out. */
#pragma once

#include "base/err.h"
#include "base/util.h"
#include "files/tree.h"

/*
 * One thread reads: it checks each frame, takes the message out of the channel or the
 * window, and queues it. What has no answer (FUSE_FORGET, FUSE_INTERRUPT) it serves
 * itself, so that it never waits behind requests. Workers, started on demand, serve the
 * queue. A request that waits for a lock leaves the pool and lets another worker in.
 *
 * The guest is hostile: the first thing that it may not send ends the channel, with an
 * error that names it.
 */
struct channel;

#define CHANNEL_WORKERS_MAX 8u
/* Requests that wait for a lock at the same time; one more fails with ENOLCK. */
#define CHANNEL_WAITERS_MAX 1024u
/* Address space; what a request touches of it is a few pages. */
#define CHANNEL_STACK_BYTES (128u << 10)

/* fd: a SOCK_STREAM of the Unix kind. window_fd: a memfd sealed against shrinking.
 * Neither is taken; fd stays open for as long as the channel is there. */
int channel_new(int fd, int window_fd, struct channel **ret, struct err *err);
/* No other thread uses it, channel_run() has returned.
 * Waits for its workers. NULL is fine. */
void channel_free(struct channel *channel);
DEFINE_CLEANUP(channel, struct channel *, channel_free);

/* Serves, once, until the channel ends: 0 where the guest's side closed it, or
 * channel_end() was called; otherwise *err says what was wrong. */
int channel_run(struct channel *channel, struct err *err);
/* Any thread: channel_run() returns soon. */
void channel_end(struct channel *channel);

/* Any thread, but one at a time. The options' notify, crowded, changed
 * and user are the channel's.
 * A number that has a tree is -EEXIST. */
int channel_add(struct channel *channel, unsigned int mount, int root_fd,
	const struct tree_options *options, struct err *err);
/* Waits until the tree's requests have ended and are answered, for which the guest has to
 * read; fine if there is no tree. From then on requests for this mount fail with
 * ENOTCONN. */
void channel_remove(struct channel *channel, unsigned int mount);
/* tree_freeze() and tree_thaw() of a mount's tree. */
int channel_freeze(struct channel *channel, unsigned int mount, struct err *err);
void channel_thaw(struct channel *channel, unsigned int mount);
/* Asks the guest to forget the inodes that it does not use, of all trees. */
void channel_shrink(struct channel *channel);
