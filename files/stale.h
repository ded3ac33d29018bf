/* SPDX-License-Identifier: Apache-2.0 */
/* Names that an overlay's upper layer has lost,
 * and that the guest's overlay still asks for. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "files/inode.h"

struct call;

/*
 * The guest's overlayfs holds a file of its upper layer by the name that it first found
 * it under. Of a file with several names that one may be removed, or another file may
 * take it: link, unlink, as dpkg and git do. On a file system of the kernel's own nobody
 * asks for that name again. A FUSE file system's are checked at each access by the
 * others, and unless the lookup of the lost name leads to the file as before, the access
 * fails with ESTALE.
 *
 * So the tree remembers which names files have lost, as long as the guest's kernel knows
 * the file. Overlayfs does its own work as who mounted it, which the agent does with
 * FILES_OVERLAY_GID; but these checks come as the process that runs, and so does the
 * lookup before something is made. These two can't be told apart when they come. But one
 * of them is patient: who fails with ESTALE is tried again by the kernel. So the first
 * lookup of a thread is answered with what there is, as is right for making, and a second
 * one of the same thread, which has made nothing meanwhile, with the file that lost the
 * name. Where another file has the name now, each is the answer in turn.
 *
 * Of three files and more that have lost one name while others of theirs go on, an access
 * may fail with ESTALE until it was tried a few times.
 */
#define STALE_MAX          16384u
#define STALE_MAX_OF_INODE 8u
#define STALE_BUCKETS      1024u

struct stale_name;

struct stales {
	struct stale_name *buckets[STALE_BUCKETS];
	unsigned int n;
};

/* What loses a name by a call of the overlay's: taken before, noted afterwards. */
struct stale_loss {
	struct inode *inode; /* in use; NULL: nothing to remember */
	uint64_t parent;
	const char *name;
};
void stale_begin(
	struct call *c, struct inode *folder, const char *name, struct stale_loss *ret);
/* done: the call has succeeded. */
void stale_end(struct call *c, struct stale_loss *loss, bool done);

/* The inode to answer a process's lookup of this name with, in use; NULL: what the folder
 * has. *ret_known: files have lost this name, so that what the folder has is not to be
 * believed for long. */
struct inode *stale_find(struct call *c, const char *name, bool exists, bool *ret_known);
/* The lookup before was for making this, whether it was made or not. */
void stale_made(struct call *c, const struct inode *folder, const char *name);
/* With the tree's lock. */
void stale_forget(struct tree *tree, struct inode *inode);
