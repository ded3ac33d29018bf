/* SPDX-License-Identifier: Apache-2.0 */
/* The inodes that the guest's kernel knows, each held by a descriptor. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "files/slots.h"

struct tree;
struct lock_owner;
struct stale_name;
struct known;
struct watched;

/*
 * What an inode is found by. The mount is part of it: by a read-only one a file must not
 * be written to that was first seen by another. Numbers of files and mounts that are gone
 * come again, but not while one is held.
 */
struct inode_key {
	uint64_t mount, dev, ino;
};

struct inode {
	struct inode_key key;
	uint64_t nodeid;
	mode_t type;               /* S_IFMT of its mode: never changes */
	int fd;                    /* O_PATH */
	uint64_t lookups;          /* that the guest's kernel has not forgotten */
	unsigned int uses;         /* by calls and handles */
	struct inode *next;        /* in its bucket */
	struct lock_owner *owners; /* who has POSIX locks on it */
	struct stale_name *stales; /* names that it has lost (stale.h) */
	struct known *known;       /* the name that it was found by (known.h) */
	struct watched *watched;   /* watch.h's, and its lock's */
	atomic_bool watch_tried;   /* it has that, or can't have it */
};

struct inodes {
	struct slots slots;
	struct inode **buckets;
	uint32_t n_buckets; /* a power of two */
	struct inode *root;
};

/* root_fd: O_PATH, taken. */
void inodes_init(struct tree *tree, int root_fd, const struct statx *root);
/* All but the root. */
void inodes_clear(struct tree *tree);
void inodes_done(struct tree *tree);

/* The inode, used until inode_unuse(); NULL where there is none. */
struct inode *inode_use(struct tree *tree, uint64_t nodeid);
/* The same of one that is known already. */
struct inode *inode_use_known(struct tree *tree, const struct statx *st);
/* NULL is fine. */
void inode_unuse(struct tree *tree, struct inode *inode);
/* One lookup more, of one that is in use. */
void inode_count(struct tree *tree, struct inode *inode);
/* The inode of an O_PATH descriptor (taken, in any case), one lookup more. -ENFILE. */
int inode_enter(struct tree *tree, int fd, const struct statx *st, uint64_t *ret_nodeid);
/* The same of one that is known already, -ESTALE where it is not. The fd is not taken. */
int inode_enter_known(struct tree *tree, const struct statx *st, uint64_t *ret_nodeid);
/* Asks the guest to forget some. */
void inodes_tell_crowded(const struct tree *tree);
void inode_forget(struct tree *tree, uint64_t nodeid, uint64_t lookups);
/* -ENFILE where no other inode can be entered: asked before a file is made. */
int inode_check_room(struct tree *tree);

/* The inode number that the guest sees. */
uint64_t inode_number(const struct tree *tree, uint64_t dev, uint64_t ino);
uint64_t stat_dev(const struct statx *st);
