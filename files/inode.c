/* SPDX-License-Identifier: Apache-2.0 */
/* The inode table: see inode.h. */
#include "files/inode.h"

#include <assert.h>
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "files/call.h"
#include "files/lock.h"
#include "files/stale.h"
#include "files/watch.h"

#define BUCKETS_FIRST 64u

/* Spreads all bits (the finisher of MurmurHash3, public domain). */
static uint64_t mix_bits(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t key_hash(const struct inode_key *key)
{
	return mix_bits(key->ino ^ mix_bits(key->dev ^ mix_bits(key->mount)));
}

static bool key_equal(const struct inode_key *a, const struct inode_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->mount == b->mount;
}

uint64_t stat_dev(const struct statx *st)
{
	return makedev(st->stx_dev_major, st->stx_dev_minor);
}

static struct inode_key key_of(const struct statx *st)
{
	return (struct inode_key){
		.mount = st->stx_mnt_id, .dev = stat_dev(st), .ino = st->stx_ino};
}

/*
 * The guest sees one device for the tree. Files of the root's keep their numbers; those
 * of another (a mount within) are moved as a whole, by a distance with bits above 48,
 * which file systems' numbers hardly reach: two of one device never meet.
 */
uint64_t inode_number(const struct tree *tree, uint64_t dev, uint64_t ino)
{
	if (dev == tree->inodes.root->key.dev)
		return ino;
	return ino ^ (mix_bits(dev) | 1ull << 62);
}

static struct inode **bucket_of(struct inodes *inodes, const struct inode_key *key)
{
	return &inodes->buckets[key_hash(key) & (inodes->n_buckets - 1)];
}

static struct inode *inodes_find(struct inodes *inodes, const struct inode_key *key)
{
	struct inode *inode = *bucket_of(inodes, key);

	while (inode && !key_equal(&inode->key, key))
		inode = inode->next;
	return inode;
}

static void inodes_grow(struct inodes *inodes)
{
	struct inode **old = inodes->buckets;
	uint32_t n = inodes->n_buckets;

	inodes->n_buckets = n ? n * 2 : BUCKETS_FIRST;
	inodes->buckets = xzalloc(inodes->n_buckets * sizeof(inodes->buckets[0]));
	for (uint32_t i = 0; i < n; i++) {
		while (old[i]) {
			struct inode *inode = old[i];
			struct inode **bucket = bucket_of(inodes, &inode->key);

			old[i] = inode->next;
			inode->next = *bucket;
			*bucket = inode;
		}
	}
	free(old);
}

static struct inode *inodes_add(struct inodes *inodes, int fd, const struct statx *st)
{
	struct inode *inode = xnew0(struct inode);
	struct inode **bucket;

	inode->nodeid = slots_add(&inodes->slots, inode);
	if (inodes->slots.n_used > inodes->n_buckets)
		inodes_grow(inodes);
	inode->fd = fd;
	inode->key = key_of(st);
	inode->type = st->stx_mode & S_IFMT;
	bucket = bucket_of(inodes, &inode->key);
	inode->next = *bucket;
	*bucket = inode;
	return inode;
}

/* Takes it out where nobody knows it any more: the caller frees it, without the lock. */
static struct inode *inodes_drop(struct tree *tree, struct inode *inode)
{
	struct inodes *inodes = &tree->inodes;
	struct inode **at = bucket_of(inodes, &inode->key);

	if (inode->lookups > 0 || inode->uses > 0)
		return NULL;
	while (*at != inode)
		at = &(*at)->next;
	*at = inode->next;
	slots_remove(&inodes->slots, inode->nodeid);
	stale_forget(tree, inode);
	known_forget(inode);
	return inode;
}

static void owners_free(struct tree *tree, struct lock_owner *first)
{
	for (struct lock_owner *owner = first; owner; owner = owner->next)
		room_give(tree->room, ROOM_HANDLES);
	lock_owners_free(first);
}

static void inode_free(struct tree *tree, struct inode *inode)
{
	if (!inode)
		return;
	owners_free(tree, inode->owners);
	watch_remove(tree, inode);
	close(inode->fd);
	free(inode);
	room_give(tree->room, ROOM_INODES);
}

void inodes_init(struct tree *tree, int root_fd, const struct statx *root)
{
	struct inodes *inodes = &tree->inodes;

	slots_init(&inodes->slots, UINT32_MAX);
	/* Its room, or more than there is: it is there in any case. */
	room_take_always(tree->room, ROOM_INODES);
	inodes->root = inodes_add(inodes, root_fd, root);
	inodes->root->uses = 1;
	assert(inodes->root->nodeid == FUSE_ROOT_ID);
}

void inodes_clear(struct tree *tree)
{
	struct inodes *inodes = &tree->inodes;

	for (uint32_t i = 0; i < inodes->slots.n_slots; i++) {
		struct inode *inode = inodes->slots.slots[i].item;

		if (!inode)
			continue;
		inode->lookups = 0;
		inode_free(tree, inodes_drop(tree, inode));
	}
	owners_free(tree, steal_ptr(inodes->root->owners));
	/* What others change meanwhile nobody would ask for, nor be told of later. */
	watch_remove(tree, inodes->root);
	assert(inodes->slots.n_used == 1);
}

void inodes_done(struct tree *tree)
{
	struct inodes *inodes = &tree->inodes;

	inodes_clear(tree);
	inodes->root->uses = 0;
	inode_free(tree, inodes_drop(tree, inodes->root));
	free(inodes->buckets);
	slots_done(&inodes->slots);
}

struct inode *inode_use(struct tree *tree, uint64_t nodeid)
{
	struct inode *inode;

	pthread_mutex_lock(&tree->lock);
	inode = slots_get(&tree->inodes.slots, nodeid);
	if (inode)
		inode->uses++;
	pthread_mutex_unlock(&tree->lock);
	return inode;
}

struct inode *inode_use_known(struct tree *tree, const struct statx *st)
{
	struct inode_key key = key_of(st);
	struct inode *inode;

	pthread_mutex_lock(&tree->lock);
	inode = inodes_find(&tree->inodes, &key);
	if (inode)
		inode->uses++;
	pthread_mutex_unlock(&tree->lock);
	return inode;
}

void inode_unuse(struct tree *tree, struct inode *inode)
{
	struct inode *dropped;

	if (!inode)
		return;
	pthread_mutex_lock(&tree->lock);
	inode->uses--;
	dropped = inodes_drop(tree, inode);
	pthread_mutex_unlock(&tree->lock);
	inode_free(tree, dropped);
}

void inode_count(struct tree *tree, struct inode *inode)
{
	pthread_mutex_lock(&tree->lock);
	inode->lookups++;
	pthread_mutex_unlock(&tree->lock);
}

void inodes_tell_crowded(const struct tree *tree)
{
	if (tree->options.crowded)
		tree->options.crowded(tree->options.user);
}

int inode_enter(struct tree *tree, int fd, const struct statx *st, uint64_t *ret_nodeid)
{
	struct inode_key key = key_of(st);
	struct inode *inode;
	bool added = false;

	pthread_mutex_lock(&tree->lock);
	inode = inodes_find(&tree->inodes, &key);
	if (!inode && room_take(tree->room, ROOM_INODES)) {
		inode = inodes_add(&tree->inodes, steal_fd(&fd), st);
		added = true;
	}
	if (inode) {
		inode->lookups++;
		*ret_nodeid = inode->nodeid;
	}
	pthread_mutex_unlock(&tree->lock);
	close_fd(fd);
	if (added && room_crowds(tree->room))
		inodes_tell_crowded(tree);
	return inode ? 0 : -ENFILE;
}

int inode_enter_known(struct tree *tree, const struct statx *st, uint64_t *ret_nodeid)
{
	struct inode_key key = key_of(st);
	struct inode *inode;

	pthread_mutex_lock(&tree->lock);
	inode = inodes_find(&tree->inodes, &key);
	if (inode) {
		inode->lookups++;
		*ret_nodeid = inode->nodeid;
	}
	pthread_mutex_unlock(&tree->lock);
	return inode ? 0 : -ESTALE;
}

void inode_forget(struct tree *tree, uint64_t nodeid, uint64_t lookups)
{
	struct inode *inode, *dropped = NULL;

	pthread_mutex_lock(&tree->lock);
	inode = slots_get(&tree->inodes.slots, nodeid);
	if (inode) {
		inode->lookups -= MIN(lookups, inode->lookups);
		dropped = inodes_drop(tree, inode);
	}
	pthread_mutex_unlock(&tree->lock);
	inode_free(tree, dropped);
}

int inode_check_room(struct tree *tree)
{
	return room_has(tree->room, ROOM_INODES) ? 0 : -ENFILE;
}
