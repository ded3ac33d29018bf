/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX locks of the guest's processes, as locks of the host's kernel. */
#pragma once

#include <stdint.h>

/*
 * The guest names the owner of a lock by a number. Each owner has an open file description of
 * its own for each file, and open-file-description locks (fcntl(2)) on that: they conflict with
 * one another, with those of other pods, and with fcntl locks of the host's processes.
 */
struct lock_owner {
	uint64_t owner;
	uint32_t pid; /* in the guest, of who locked last */
	int fd;
	unsigned int uses; /* by calls, and one while it is in the inode's list */
	struct lock_owner *next;
};

struct call;

/* A close(2) in the guest: the owner's locks on the file are gone. */
void lock_owner_leave(struct call *c, uint64_t owner);
/* A whole list, of an inode that nobody uses. */
void lock_owners_free(struct lock_owner *first);
