/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping the generations of the store compact: see store.h.
 *
 * What clones do to a generation nobody tells us; but what it amounts to is one system
 * call away. So it is looked at whenever a lease begins or ends, that is when there is a
 * clone more to fill holes, or one less to have filled them, and whenever somebody asks
 * for the status. A burst of leases compacts no more often than one compaction after the
 * other can run, and between two such events a generation grows at most to the size of
 * its guest, once.
 *
 * Punching takes up to a second where hundreds of clones have mapped the file, so that a
 * thread does it, without the lock. It ends when nothing is left to do. While it runs,
 * its generation stays in the list, and its pin keeps the mount.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/store_internal.h"

static struct held *take_grown(struct store *s)
{
	for (struct held *h = s->all; h; h = h->next) {
		if (!h->grown)
			continue;
		h->grown = false;
		/* Not one that has been retired and given back meanwhile. */
		if (!h->lost && (h == s->current || h->leases))
			return h;
	}
	return NULL;
}

/* The lock is held, but for the punching. */
static int store_compact_held(
	struct store *s, struct held *h, uint64_t *ret_bytes, struct err *err)
{
	int fd, punched, r = generation_compact_begin(s->rw_fd, &h->g, &fd, err);

	if (r < 0)
		return r;
	pthread_mutex_unlock(&s->lock);
	punched = generation_compact_punch(fd, &h->holes);
	pthread_mutex_lock(&s->lock);
	r = generation_compact_end(s->rw_fd, &h->g, fd, ret_bytes, err);
	if (r == 0 && punched < 0)
		r = err_sys(err, punched, "generation %s: its holes cannot be punched",
			h->g.id);
	return r;
}

static void *compact_main(void *arg)
{
	struct store *s = arg;
	struct held *h;

	pthread_mutex_lock(&s->lock);
	while ((h = take_grown(s))) {
		struct err err = ERR_INIT;
		uint64_t before = 0, after;

		generation_resident(s->ro_fd, h->g.id, &before, NULL);
		if (store_compact_held(s, h, &after, &err) < 0)
			log_warn("a template takes more memory than it needs: %s",
				err.text);
		else
			log_info("generation %s is compacted: %" PRIu64 " of %" PRIu64
				 " KiB stay resident",
				h->g.id, after / 1024, before / 1024);
	}
	s->compacting = false;
	s->pins--;
	store_remove_unheld(s);
	store_finish_emptying(s);
	pthread_cond_broadcast(&s->compacted);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

void store_look_for_growth(struct store *s)
{
	bool due = false;
	int r;

	for (struct held *h = s->all; h; h = h->next) {
		if (h->lost || (h != s->current && !h->leases))
			continue;
		h->grown = h->grown || generation_has_grown(s->ro_fd, &h->g);
		due = due || h->grown;
	}
	if (!due || s->compacting)
		return;
	s->compacting = true;
	s->pins++;
	r = thread_start(compact_main, s, 0, true, NULL);
	if (r < 0) {
		s->compacting = false;
		s->pins--;
		log_warn("a template takes more memory than it needs: no thread to "
			 "compact it: %s",
			strerror(-r));
	}
}

void store_await_compaction(struct store *s)
{
	while (s->compacting)
		pthread_cond_wait(&s->compacted, &s->lock);
}
