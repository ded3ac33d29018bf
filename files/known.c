/* SPDX-License-Identifier: Apache-2.0 */
/* The name by which the guest last found each inode: see known.h. */
#include "files/known.h"

#include <string.h>

#include "base/util.h"
#include "files/call.h"

struct known {
	struct known *next, **at; /* in its bucket, and what leads to it there */
	struct inode *inode;
	uint64_t folder;
	char name[];
};

static struct known **bucket_of(struct tree *tree, uint64_t folder, const char *name)
{
	uint64_t hash = hash_bytes(folder, name, strlen(name));

	return &tree->knowns.buckets[hash % KNOWN_BUCKETS];
}

static bool is_name(const struct known *k, uint64_t folder, const char *name)
{
	return k->folder == folder && strcmp(k->name, name) == 0;
}

void knowns_done(struct knowns *knowns)
{
	free(knowns->buckets);
}

void known_forget(struct inode *inode)
{
	struct known *k = steal_ptr(inode->known);

	if (!k)
		return;
	*k->at = k->next;
	if (k->next)
		k->next->at = k->at;
	free(k);
}

/* With the lock. */
static void name_inode(
	struct tree *tree, struct inode *inode, uint64_t folder, const char *name)
{
	size_t len = strlen(name);
	struct known *k, **bucket;

	if (inode->known && is_name(inode->known, folder, name))
		return;
	if (!tree->knowns.buckets)
		tree->knowns.buckets =
			xzalloc(KNOWN_BUCKETS * sizeof(tree->knowns.buckets[0]));
	known_forget(inode);
	k = xmalloc(sizeof(*k) + len + 1);
	memcpy(k->name, name, len + 1);
	k->inode = inode;
	k->folder = folder;
	bucket = bucket_of(tree, folder, name);
	k->next = *bucket;
	k->at = bucket;
	if (k->next)
		k->next->at = &k->next;
	*bucket = k;
	inode->known = k;
}

void known_note(struct tree *tree, uint64_t folder, const char *name, uint64_t node)
{
	struct inode *inode;

	if (!tree->options.watch)
		return;
	pthread_mutex_lock(&tree->lock);
	inode = slots_get(&tree->inodes.slots, node);
	if (inode)
		name_inode(tree, inode, folder, name);
	pthread_mutex_unlock(&tree->lock);
}

/* With the lock. */
static struct inode *find_inode(struct tree *tree, uint64_t folder, const char *name)
{
	struct known *k;

	if (!tree->knowns.buckets)
		return NULL;
	k = *bucket_of(tree, folder, name);
	while (k && !is_name(k, folder, name))
		k = k->next;
	return k ? k->inode : NULL;
}

struct inode *known_find(struct tree *tree, uint64_t folder, const char *name)
{
	struct inode *inode;

	pthread_mutex_lock(&tree->lock);
	inode = find_inode(tree, folder, name);
	if (inode)
		inode->uses++;
	pthread_mutex_unlock(&tree->lock);
	return inode;
}

void known_move(struct tree *tree, uint64_t folder, const char *name, uint64_t to_folder,
	const char *to_name)
{
	struct inode *inode;

	if (!tree->options.watch)
		return;
	pthread_mutex_lock(&tree->lock);
	inode = find_inode(tree, folder, name);
	if (inode)
		name_inode(tree, inode, to_folder, to_name);
	pthread_mutex_unlock(&tree->lock);
}

void known_exchange(struct tree *tree, uint64_t folder, const char *name,
	uint64_t to_folder, const char *to_name)
{
	struct inode *inode, *other;

	if (!tree->options.watch)
		return;
	pthread_mutex_lock(&tree->lock);
	inode = find_inode(tree, folder, name);
	other = find_inode(tree, to_folder, to_name);
	if (inode)
		name_inode(tree, inode, to_folder, to_name);
	if (other)
		name_inode(tree, other, folder, name);
	pthread_mutex_unlock(&tree->lock);
}
