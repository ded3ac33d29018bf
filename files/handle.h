/* SPDX-License-Identifier: Apache-2.0 */
/* The files and folders that the guest has open. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "files/slots.h"

struct tree;
struct inode;

struct handle {
	uint64_t fh;
	struct inode *inode; /* used by it */
	int fd;
	bool writes;       /* it counts among the tree's changes */
	unsigned int uses; /* by calls, and one until it is released */
	/* Of a folder: one reads it at a time, and goes on from here. */
	pthread_mutex_t folder_lock;
	off_t folder_at;
};

struct handles {
	struct slots slots;
};

void handles_init(struct tree *tree);
/* Releases all. */
void handles_clear(struct tree *tree);
void handles_done(struct tree *tree);

/* fd is taken in any case, the inode is in use by the caller and
 * will be by the handle, too. -ENFILE. */
int handle_add(struct tree *tree, struct inode *inode, int fd, uint64_t *ret_fh);
/* The handle, used until handle_unuse(); NULL where there is none,
 * or of another inode. */
struct handle *handle_use(struct tree *tree, uint64_t fh, const struct inode *inode);
/* NULL is fine. */
void handle_unuse(struct tree *tree, struct handle *handle);
/* Of one that is in use: nobody finds it any more,
 * and the last user closes it. Twice is once. */
void handle_release(struct tree *tree, struct handle *handle);
/* -ENFILE where no other can be added: asked before a file is made. */
int handle_check_room(struct tree *tree);
