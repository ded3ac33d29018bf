/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX locks of the guest's processes, as locks of the host's kernel. */
#pragma once

#include <fcntl.h>
#include <stdint.h>

/*
 * The guest names the owner of a lock by a number. Each owner has an open file
 * description of its own for each file, and open-file-description locks (fcntl(2)) on
 * that: they conflict with one another, with those of other pods, and with fcntl locks of
 * the host's processes.
 */
struct lock_owner {
	uint64_t owner;
	uint32_t pid; /* in the guest, of who locked last */
	uint64_t fh;  /* the open file by which that was */
	int fd;
	unsigned int uses; /* by calls, and one while it is in the inode's list */
	struct lock_owner *next;
};

struct call;

/*
 * A request that waits for another's POSIX lock. The host's kernel looks for no deadlock
 * among open-file-description locks, so it is looked for here, among the guest's own
 * processes: who would wait for one that waits for him, in however many steps, fails with
 * EDEADLK.
 */
struct lock_wait {
	uint64_t owner;
	struct inode *inode;
	int fd; /* the owner's */
	struct flock range;
	struct lock_wait *next;
};

/* A close(2) in the guest: the owner's locks on the file are gone. */
void lock_owner_leave(struct call *c, uint64_t owner);
/* The call's open file is released: gone are the locks that are its own
 * (open-file-description locks), of which the guest's kernel sends no unlocking. A
 * process's were given up by its close(2) before. */
void lock_handle_leave(struct call *c);
/* A whole list, of an inode that nobody uses. */
void lock_owners_free(struct lock_owner *first);
