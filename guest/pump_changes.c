/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's fourth thread: what others have changed in a mount is done once more. */
#include "guest/pump_internal.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "guest/replay.h"

/* After a replay that failed: nothing tells when the next one would not. */
#define RETRY_MS 1000

/* p->lock is held. due: when it may be looked at. */
static void mark_changed(struct pump *p, struct pump_mount *m, int64_t due)
{
	if (!m->used || m->gone || !m->at || m->changed)
		return;
	m->changed = true;
	m->due = due;
	p->n_changed++;
	pthread_cond_signal(&p->changed);
}

void pump_changed(struct pump *p, unsigned int mount)
{
	pthread_mutex_lock(&p->lock);
	mark_changed(p, &p->mounts[mount], now_ms());
	pthread_mutex_unlock(&p->lock);
}

/* The changed one that is due first, or NULL; p->lock is held. */
static struct pump_mount *find_changed(struct pump *p)
{
	struct pump_mount *first = NULL;

	for (unsigned int i = 0, left = p->n_changed; left > 0; i++) {
		struct pump_mount *m = &p->mounts[i];

		if (!m->changed)
			continue;
		left--;
		if (!first || m->due < first->due)
			first = m;
	}
	return first;
}

/* A changed mount that is due, with a pin; NULL: the pump has ended. */
static struct pump_mount *wait_changed(struct pump *p)
{
	struct pump_mount *due = NULL;

	pthread_mutex_lock(&p->lock);
	while (!due && !p->stopped && !p->broken) {
		struct pump_mount *m = find_changed(p);

		if (m && m->due <= now_ms())
			due = m;
		else
			cond_wait(&p->changed, &p->lock, m ? m->due : DEADLINE_NONE);
	}
	if (due) {
		due->changed = false;
		p->n_changed--;
		due->pins++;
	}
	pthread_mutex_unlock(&p->lock);
	return due;
}

/* It is looked at again then, and not before, whatever was told meanwhile; p->lock is
 * held. */
static void put_off(struct pump *p, struct pump_mount *m, int64_t ms)
{
	int64_t due = deadline_after_ms(ms);

	mark_changed(p, m, due);
	m->due = due;
}

static void replay_pinned(struct pump *p, struct pump_mount *m)
{
	struct replay_outcome outcome;
	struct err err = ERR_INIT;
	int r = replay_mount(m->at, m->dev, &outcome, &err);
	bool tell;

	pthread_mutex_lock(&p->lock);
	tell = r < 0 && !m->told_failed && !m->gone && !p->stopped && !p->broken;
	m->told_failed |= tell;
	if (r < 0 || outcome.again)
		put_off(p, m, r < 0 ? RETRY_MS : outcome.rest_ms);
	pthread_mutex_unlock(&p->lock);
	if (tell)
		log_info("changes by others in %s are told late to who watches: %s",
			m->at, err.text);
}

void *pump_run_changes(void *arg)
{
	struct pump *p = arg;
	struct err err = ERR_INIT;
	struct pump_mount *m;

	if (replay_enter_thread(&err) < 0) {
		log_warn("changes by others are not told to who watches: %s", err.text);
		return NULL;
	}
	while ((m = wait_changed(p))) {
		replay_pinned(p, m);
		pump_unpin(p, (unsigned int)(m - p->mounts));
	}
	return NULL;
}
