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
	bool given;   /* it was the last answer for its name */
	/* Who asked for the name last, and was not given what it may have wanted; 0:
	 * nobody. Of the name's first record. */
	uint32_t asked_by;
	char name[];
};

static struct stale_name **bucket_of(struct tree *tree, uint64_t parent, const char *name)
{
	uint64_t hash = hash_bytes(parent, name, strlen(name));

	return &tree->stales.buckets[hash % STALE_BUCKETS];
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

static struct stale_name *next_of_name(
	struct stale_name *s, uint64_t parent, const char *name)
{
	while (s && !is_name(s, parent, name))
		s = s->next;
	return s;
}

static struct stale_name *find_unsettled(struct stale_name *first)
{
	struct stale_name *s = first;

	while (s && s->settled)
		s = next_of_name(s->next, s->parent, s->name);
	return s;
}

/* One that was never answered, or else the one after the last answer. NULL: that was the
 * last one, and another file has the name. */
static struct stale_name *next_answer(struct stale_name *first, bool exists)
{
	struct stale_name *answer = find_unsettled(first), *s = first;

	if (answer)
		return answer;
	while (s && !s->given)
		s = next_of_name(s->next, s->parent, s->name);
	if (s)
		answer = next_of_name(s->next, s->parent, s->name);
	return answer || (s && exists) ? answer : first;
}

static void set_given(struct stale_name *first, const struct stale_name *answer)
{
	for (struct stale_name *s = first; s;
		s = next_of_name(s->next, s->parent, s->name))
		s->given = s == answer;
}

/* At first what is there: right for who makes something, who finds nothing, and for who
 * checks the file that has the name now. */
static struct stale_name *choose_answer(
	struct stale_name *first, uint32_t pid, bool exists)
{
	bool again = first->asked_by == pid;
	struct stale_name *answer;

	first->asked_by = again ? 0 : pid;
	if (again)
		answer = next_answer(first, exists);
	else
		answer = exists ? find_unsettled(first) : NULL;
	set_given(first, answer);
	if (answer)
		answer->settled = true;
	return answer;
}

struct inode *stale_find(struct call *c, const char *name, bool exists, bool *ret_known)
{
	uint64_t parent = c->header.nodeid;
	struct inode *inode = NULL;
	struct stale_name *first, *answer;

	pthread_mutex_lock(&c->tree->lock);
	first = next_of_name(*bucket_of(c->tree, parent, name), parent, name);
	answer = first ? choose_answer(first, c->header.pid, exists) : NULL;
	if (answer) {
		inode = answer->inode;
		inode->uses++;
	}
	pthread_mutex_unlock(&c->tree->lock);
	*ret_known = first;
	return inode;
}

void stale_made(struct call *c, const struct inode *folder, const char *name)
{
	struct stale_name *first;

	if (!c->tree->options.keeper)
		return;
	pthread_mutex_lock(&c->tree->lock);
	first = next_of_name(
		*bucket_of(c->tree, folder->nodeid, name), folder->nodeid, name);
	if (first)
		first->asked_by = 0;
	pthread_mutex_unlock(&c->tree->lock);
}
