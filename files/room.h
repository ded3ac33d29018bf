/* SPDX-License-Identifier: Apache-2.0 */
/* How much the guest may hold: descriptors, which all trees of the server share. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Each inode that the guest's kernel has looked up is a descriptor, as is each open file
 * and each owner of POSIX locks. The kernel forgets inodes when its memory is short, and
 * it may have much more than a process may have descriptors. So it is told when there are
 * many of them, and a request that finds no room waits a little for what it forgets then.
 *
 * (A file handle, name_to_handle_at(2), would hold an inode without a descriptor. But who
 * may open one, by CAP_DAC_READ_SEARCH, may open any file of that file system, whatever
 * the tree: a server that was broken into would have the host's root.)
 */
enum room_kind {
	ROOM_INODES,
	ROOM_HANDLES, /* and owners of locks */
};

struct room {
	uint32_t max[2];
	int wait_ms; /* how long a request may wait; 0: not at all */

	pthread_mutex_t lock; /* taken last, held for moments */
	pthread_cond_t given;
	uint32_t used[2];
	uint64_t gives; /* how often something came back */
	bool crowded;   /* the guest was told, and there never was half the room since */
};

void room_init(struct room *room, uint32_t inodes_max, uint32_t handles_max, int wait_ms);
void room_done(struct room *room);

/* False: there is none. */
bool room_take(struct room *room, enum room_kind kind);
/* Whether there is some or not. */
void room_take_always(struct room *room, enum room_kind kind);
void room_give(struct room *room, enum room_kind kind);
bool room_has(struct room *room, enum room_kind kind);
/* More than three quarters of the inodes are there: true for the first to see it. */
bool room_crowds(struct room *room);
/* There are so many that nothing should be looked up that nobody asked for. */
bool room_is_crowded(struct room *room);

uint64_t room_gives(struct room *room);
/* Waits until something came back after room_gives() was `gives`, or somebody wakes all.
 * False: the time is over. */
bool room_wait(struct room *room, uint64_t gives, int64_t deadline);
void room_wake(struct room *room);
