/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a former templated left on the tmpfs: see store.h.
 *
 * The newest sound generation that was not retired becomes current. Leases that were
 * written down go on while their holder lives; without one a generation is removed, as if
 * its last lease had just been given back.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "templated/store_internal.h"

static struct held *store_find(struct store *s, const char *id)
{
	struct held *h = s->all;

	while (h && strcmp(h->g.id, id) != 0)
		h = h->next;
	return h;
}

/* One whose files are gone. It has a place as long as somebody holds it. */
static struct held *add_lost(struct store *s, const char *id, const struct err *why)
{
	struct generation g = {0};
	struct held *h;

	memcpy(g.id, id, sizeof(g.id));
	h = store_add(s, &g);
	h->lost = h->unsound = true;
	h->why = *why;
	return h;
}

static void add_found(struct store *s, struct generation_found *found)
{
	struct held *h;

	if (found->sound) {
		h = store_add(s, &found->g);
		log_info("generation %s found and verified", h->g.id);
	} else {
		h = add_lost(s, found->g.id, &found->why);
	}
	h->retired = true;
}

/* ---- leases ---- */

static void adopt_lease(struct store *s, const struct lease_note *note, int pidfd)
{
	struct store_lease *lease = xnew0(struct store_lease);
	struct held *h = store_find(s, note->generation);
	struct err why = ERR_INIT;
	int r;

	if (!h) {
		err_set(&why, -ENOENT, "generation %s: its files are gone",
			note->generation);
		h = add_lost(s, note->generation, &why);
		h->retired = true;
	}
	if (h->lost)
		log_warn("the sandbox %s goes on with what it has of a lost template: %s",
			note->sandbox, h->why.text);
	*lease = (struct store_lease){
		.next = h->leases, .held = h, .note = *note, .since_ms = now_ms()};
	h->leases = lease;
	r = followers_add(s->followers, pidfd, lease);
	if (r < 0)
		log_error("the lease of the sandbox %s stays until the next start: its "
			  "process can't be followed: %s",
			note->sandbox, strerror(-r));
}

static void take_note(struct store *s, const struct lease_note *note)
{
	int pidfd, r = proc_open(&note->holder, &pidfd);

	if (r == 0) {
		adopt_lease(s, note, pidfd);
		return;
	}
	log_info("the lease of the sandbox %s on generation %s is over: its process %d "
		 "ended%s",
		note->sandbox, note->generation, (int)note->holder.pid,
		r == -ESRCH ? "" : " or can't be found");
	lease_note_remove(s->rw_fd, note->name);
}

static void adopt_leases(struct store *s)
{
	_cleanup_free_ struct lease_note *notes = NULL;
	struct err err = ERR_INIT;
	size_t n = 0;

	if (lease_notes_read(s->rw_fd, &notes, &n, &err) < 0)
		log_error("the leases of a former templated are lost, its sandboxes keep "
			  "what they have: %s",
			err.text);
	for (size_t i = 0; i < n; i++)
		take_note(s, &notes[i]);
}

/* ---- all of it ---- */

static void choose_current(struct store *s)
{
	/* Oldest first: the last one counts. */
	for (struct held *h = s->all; h; h = h->next)
		if (!h->lost && !lease_retired_is_marked(s->rw_fd, h->g.id))
			s->current = h;
	if (s->current)
		s->current->retired = false;
}

int store_recover(struct store *s, struct err *err)
{
	struct generation_found *found;
	size_t n;
	int r = generation_recover(s->rw_fd, &found, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		add_found(s, &found[i]);
	free(found);
	adopt_leases(s);
	choose_current(s);
	/* Of the unsound ones, that is. */
	s->left_old = true;
	store_remove_unheld(s);
	store_look_for_growth(s);
	return 0;
}
