/* SPDX-License-Identifier: Apache-2.0 */
/* A tree's changes by others: see change.h. */
#include "files/change.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/fanotify.h>

#include "base/util.h"
#include "files/watch.h"

/* Of one kind only: what they do to a name is the same however often they come. */
#define MERGED (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_ONDIR)

static atomic_uint n_all;

void changes_init(struct changes *changes)
{
	*changes = (struct changes){0};
	pthread_mutex_init(&changes->lock, NULL);
	changes->end = &changes->first;
}

/* With the lock. */
static struct change *take_first(struct changes *changes)
{
	struct change *change = changes->first;

	if (!change)
		return NULL;
	changes->first = change->next;
	if (!changes->first)
		changes->end = &changes->first;
	changes->n--;
	atomic_fetch_sub(&n_all, 1);
	return change;
}

void changes_clear(struct changes *changes)
{
	struct change *change;

	pthread_mutex_lock(&changes->lock);
	while ((change = take_first(changes)))
		free(change);
	changes->round = 0;
	changes->told = false;
	pthread_mutex_unlock(&changes->lock);
}

void changes_done(struct changes *changes)
{
	changes_clear(changes);
	pthread_mutex_destroy(&changes->lock);
}

struct change *change_new(uint64_t mask, const char *name, const char *to_name)
{
	size_t len = strlen(name) + 1, to_len = to_name ? strlen(to_name) + 1 : 0;
	struct change *change = xzalloc(sizeof(*change) + len + to_len);

	change->mask = mask;
	change->name = memcpy(change->text, name, len);
	if (to_name)
		change->to_name = memcpy(change->text + len, to_name, to_len);
	return change;
}

static bool same_name(const struct change *a, const struct change *b)
{
	return a->folder == b->folder && strcmp(a->name, b->name) == 0;
}

/* Into the last one of that name, if it is one that leaves the name as it is. A move in
 * between may have been of the name, or of a folder: nothing is merged over one. */
static bool merge_change(struct changes *changes, const struct change *change)
{
	struct change *last = NULL;

	if (change->mask & ~(uint64_t)MERGED)
		return false;
	for (struct change *c = changes->first; c; c = c->next) {
		if (c->mask & WATCH_MOVES)
			last = NULL;
		else if (same_name(c, change))
			last = c;
	}
	if (!last || last->mask & FAN_DELETE ||
		(last->mask & FAN_ONDIR) != (change->mask & FAN_ONDIR))
		return false;
	last->mask |= change->mask;
	return true;
}

/* How many are looked through for one to merge with. */
#define MERGE_MAX 64u

bool changes_add(struct changes *changes, struct change *change, bool *ret_lost)
{
	bool tell = false;

	*ret_lost = false;
	pthread_mutex_lock(&changes->lock);
	if (changes->n <= MERGE_MAX && merge_change(changes, change)) {
		free(change);
	} else if (atomic_load(&n_all) >= CHANGES_MAX) {
		*ret_lost = true;
		free(change);
	} else {
		change->next = NULL;
		*changes->end = change;
		changes->end = &change->next;
		changes->n++;
		atomic_fetch_add(&n_all, 1);
		tell = !changes->told;
		changes->told = true;
	}
	pthread_mutex_unlock(&changes->lock);
	return tell;
}

uint32_t changes_begin(struct changes *changes)
{
	uint32_t n;

	pthread_mutex_lock(&changes->lock);
	n = changes->round = changes->n;
	changes->told = n > 0;
	pthread_mutex_unlock(&changes->lock);
	return n;
}

struct change *changes_take(struct changes *changes)
{
	struct change *change = NULL;

	pthread_mutex_lock(&changes->lock);
	if (changes->round > 0) {
		changes->round--;
		change = take_first(changes);
	}
	pthread_mutex_unlock(&changes->lock);
	return change;
}
