/* SPDX-License-Identifier: Apache-2.0 */
/* The name by which the guest last found each inode: what led there when it is gone. */
#pragma once

#include <stdint.h>

struct tree;
struct inode;
struct known;

/*
 * Only of trees that are watched (files/watch.h): a change that has removed or moved a
 * name tells that name, and the guest's watchers of the file have to hear of it, too. Of
 * a file with several names the last one counts.
 */
#define KNOWN_BUCKETS 1024u

struct knowns {
	struct known **buckets; /* NULL before the first */
};

void knowns_done(struct knowns *knowns);

/* The guest has found this node by this name. */
void known_note(struct tree *tree, uint64_t folder, const char *name, uint64_t node);
/* The inode, in use, or NULL. */
struct inode *known_find(struct tree *tree, uint64_t folder, const char *name);
/* What was known by the first name is by the second, and in an exchange the other way
 * round, too. */
void known_move(struct tree *tree, uint64_t folder, const char *name, uint64_t to_folder,
	const char *to_name);
void known_exchange(struct tree *tree, uint64_t folder, const char *name,
	uint64_t to_folder, const char *to_name);
/* With the tree's lock. */
void known_forget(struct inode *inode);
