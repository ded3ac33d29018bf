/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's fourth thread: what others have changed in a mount is done once more. */
#include "guest/pump_internal.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "guest/replay.h"

/*
 * To find out that nobody watches means to look at all processes. A folder in which
 * somebody else writes all the time may cost the guest this part of a CPU, one of so
 * many. What comes meanwhile waits, and is not lost to who begins to watch.
 */
#define LOOKING_PART 20

/* p->lock is held. */
static void mark_changed(struct pump *p, unsigned int mount)
{
	struct pump_mount *m = &p->mounts[mount];

	if (!m->used || !m->at || m->changed)
		return;
	m->changed = true;
	p->n_changed++;
	pthread_cond_signal(&p->changed);
}

void pump_changed(struct pump *p, unsigned int mount)
{
	pthread_mutex_lock(&p->lock);
	mark_changed(p, mount);
	pthread_mutex_unlock(&p->lock);
}

/* The next one that has changed, and where it is, the caller's to free(); p->lock is
 * held. */
static char *take_changed(struct pump *p, unsigned int *ret_mount, dev_t *ret_dev)
{
	for (unsigned int i = 0; i < FILES_MOUNTS_MAX && p->n_changed > 0; i++) {
		struct pump_mount *m = &p->mounts[i];

		if (!m->changed)
			continue;
		m->changed = false;
		p->n_changed--;
		*ret_mount = i;
		*ret_dev = m->dev;
		return xstrdup(m->at);
	}
	return NULL;
}

static void let_be(struct pump *p, int64_t ms)
{
	int64_t deadline = deadline_after_ms(ms);
	int r = 0;

	while (r == 0 && ms > 0 && !p->stopped && !p->broken)
		r = cond_wait(&p->changed, &p->lock, deadline);
}

/* p->lock is held, but not meanwhile. */
static void replay_one(struct pump *p, unsigned int mount, const char *at, dev_t dev)
{
	struct replay_outcome outcome;
	struct err err = ERR_INIT;
	int r;

	pthread_mutex_unlock(&p->lock);
	r = replay_mount(at, dev, &outcome, &err);
	pthread_mutex_lock(&p->lock);
	if (r < 0 && !p->stopped && !p->broken)
		log_info("changes by others in %s are not told to who watches: %s", at,
			err.text);
	if (r < 0 || !outcome.again)
		return;
	let_be(p, outcome.looking_ms * LOOKING_PART);
	mark_changed(p, mount);
}

void *pump_run_changes(void *arg)
{
	struct pump *p = arg;
	struct err err = ERR_INIT;
	int r = replay_enter_thread(&err);

	if (r < 0)
		log_warn("changes by others are not told to who watches: %s", err.text);
	pthread_mutex_lock(&p->lock);
	while (r == 0 && !p->stopped && !p->broken) {
		unsigned int mount = 0;
		dev_t dev = 0;
		_cleanup_free_ char *at = take_changed(p, &mount, &dev);

		if (at)
			replay_one(p, mount, at, dev);
		else
			pthread_cond_wait(&p->changed, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}
