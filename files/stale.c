/* SPDX-License-Identifier: Apache-2.0 */
/* Names that an overlay's upper layer has lost: see stale.h. */
#include "files/stale.h"

#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "files/call.h"

struct stale_name {
	struct stale_name *next; /* in its bucket */
	struct stale_name *next_of_inode;
	struct inode *inode;
	uint64_t parent;
	bool settled; /* it was answered: the guest need not ask again, but may */
	bool next_turn;
	char name[];
};

static struct stale_name **bucket_of(struct tree *tree, uint64_t parent, const char *name)
{
	uint64_t h = parent * 0x9e3779b97f4a7c15ull;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
	return &tree->stales.buckets[(h ^ h >> 32) % STALE_BUCKETS];
}

static bool is_name(const struct stale_name *s, uint64_t parent, const char *name)
{
	return s->parent == parent && strcmp(s->name, name) == 0;
}

/* ---- what is lost ---- */

/* Whiteouts are links of one node, which the overlay never holds. */
static bool may_be_asked_for(const struct statx *st)
{
	return !S_ISDIR(st->stx_mode) && !S_ISCHR(st->stx_mode) && st->stx_nlink > 1;
}

void stale_begin(
	struct call *c, struct inode *folder, const char *name, struct stale_loss *ret)
{
	_cleanup_close_ int fd = -1;
	struct statx st;

	*ret = (struct stale_loss){.parent = folder->nodeid, .name = name};
	if (!c->tree->options.keeper)
		return;
	fd = file_open_name(folder->fd, name);
	if (fd >= 0 && file_stat(fd, &st) == 0 && may_be_asked_for(&st))
		ret->inode = inode_use_known(c->tree, &st);
}

static void add_name(struct tree *tree, const struct stale_loss *loss)
{
	struct stale_name **bucket = bucket_of(tree, loss->parent, loss->name), *s;
	size_t len = strlen(loss->name);
	unsigned int n = 0;

	for (s = loss->inode->stales; s; s = s->next_of_inode, n++)
		if (is_name(s, loss->parent, loss->name)) {
			s->settled = false;
			return;
		}
	if (n >= STALE_MAX_OF_INODE || tree->stales.n >= STALE_MAX)
		return;
	s = xzalloc(sizeof(*s) + len + 1);
	memcpy(s->name, loss->name, len + 1);
	s->parent = loss->parent;
	s->inode = loss->inode;
	s->next = *bucket;
	*bucket = s;
	s->next_of_inode = loss->inode->stales;
	loss->inode->stales = s;
	tree->stales.n++;
}

void stale_end(struct call *c, struct stale_loss *loss, bool done)
{
	if (!loss->inode)
		return;
	if (done) {
		pthread_mutex_lock(&c->tree->lock);
		add_name(c->tree, loss);
		pthread_mutex_unlock(&c->tree->lock);
	}
	inode_unuse(c->tree, steal_ptr(loss->inode));
}

void stale_forget(struct tree *tree, struct inode *inode)
{
	while (inode->stales) {
		struct stale_name *s = inode->stales, **at;

		inode->stales = s->next_of_inode;
		at = bucket_of(tree, s->parent, s->name);
		while (*at != s)
			at = &(*at)->next;
		*at = s->next;
		tree->stales.n--;
		free(s);
	}
}

/* ---- what is asked for ---- */

/* One that was never answered comes first. Else it is the turn of the next one; where a file
 * has the name, its turn is between two of those. */
static struct stale_name *choose(
	struct tree *tree, uint64_t parent, const char *name, bool exists)
{
	struct stale_name *first = NULL, *turn = NULL,
			  *s = *bucket_of(tree, parent, name);

	for (; s; s = s->next) {
		if (!is_name(s, parent, name))
			continue;
		if (!s->settled)
			return s;
		if (!first)
			first = s;
		if (s->next_turn)
			turn = s;
	}
	if (turn || !first)
		return turn;
	first->next_turn = exists;
	return exists ? NULL : first;
}

/* The turn goes to the next one of this name, or to the file that has it. */
static void pass_turn(struct stale_name *s)
{
	struct stale_name *next = s->next;

	while (next && !is_name(next, s->parent, s->name))
		next = next->next;
	s->next_turn = false;
	if (next && s->settled)
		next->next_turn = true;
	s->settled = true;
}

struct inode *stale_find(struct call *c, const char *name, bool exists)
{
	struct inode *inode = NULL;
	struct stale_name *s;

	pthread_mutex_lock(&c->tree->lock);
	s = choose(c->tree, c->header.nodeid, name, exists);
	if (s) {
		inode = s->inode;
		inode->uses++;
		pass_turn(s);
	}
	pthread_mutex_unlock(&c->tree->lock);
	return inode;
}
