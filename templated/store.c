/* SPDX-License-Identifier: Apache-2.0 */
/* The store: see store.h. */
#include "templated/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/events.h"

/* A holder of a former templated's lease has ended. */
static void holder_ended(void *user, void *what)
{
	struct store_lease *lease = what;

	log_info("the process of the sandbox %s ended, and with it its lease on "
		 "generation %s",
		lease->note.sandbox, lease->held->g.id);
	store_release(user, lease);
}

struct store *store_new(const char *path)
{
	struct store *s = xnew0(struct store);

	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->compacted);
	s->path = xstrdup(path);
	s->rw_fd = s->ro_fd = -1;
	s->followers = followers_new(holder_ended, s);
	return s;
}

static void held_free(struct held *h)
{
	while (h->leases) {
		struct store_lease *next = h->leases->next;

		free(h->leases);
		h->leases = next;
	}
	generation_done(&h->g);
	holes_done(&h->holes);
	free(h);
}

static void close_fds(struct store *s)
{
	close_fd(steal_fd(&s->rw_fd));
	close_fd(steal_fd(&s->ro_fd));
	s->left_old = false;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	followers_free(s->followers);
	pthread_mutex_lock(&s->lock);
	store_await_compaction(s);
	pthread_mutex_unlock(&s->lock);
	while (s->all) {
		struct held *next = s->all->next;

		held_free(s->all);
		s->all = next;
	}
	close_fds(s);
	pthread_cond_destroy(&s->compacted);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

/* ---- generations; the lock is held ---- */

struct held *store_add(struct store *s, struct generation *g)
{
	struct held *h = xnew0(struct held), **end = &s->all;

	h->g = *g;
	*g = (struct generation){0};
	while (*end)
		end = &(*end)->next;
	return *end = h;
}

static int remove_files(struct store *s, const struct held *h)
{
	struct err err = ERR_INIT;
	int r = generation_remove(s->rw_fd, h->g.id, &err);

	if (r < 0) {
		log_error("generation %s stays until the next lease or build ends: %s",
			h->g.id, err.text);
		return r;
	}
	if (r > 0) {
		log_error("something of generation %s is left until the next lease or "
			  "build ends: %s",
			h->g.id, err.text);
		s->left_old = true;
	}
	lease_retired_unmark(s->rw_fd, h->g.id);
	log_info("generation %s is %s and removed", h->g.id,
		h->lost ? "unsound" : "retired");
	return 0;
}

/* Removes and forgets the retired ones that nobody holds. */
void store_remove_unheld(struct store *s)
{
	s->left_old = s->left_old && generation_remove_old(s->rw_fd);
	for (struct held **p = &s->all; *p;) {
		struct held *h = *p;

		if (!h->retired || h->leases || h->g.compacting ||
			remove_files(s, h) < 0) {
			p = &h->next;
			continue;
		}
		events_emit("generation-removed", "generation", h->g.id, NULL);
		*p = h->next;
		held_free(h);
	}
}

static void store_retire_held(struct store *s, struct held *h)
{
	struct err err = ERR_INIT;

	if (!h->retired)
		events_emit("generation-retired", "generation", h->g.id, NULL);
	h->retired = true;
	if (s->current == h)
		s->current = NULL;
	if (h->leases && lease_retired_mark(s->rw_fd, h->g.id, &err) < 0)
		log_warn("a templated that starts anew may take it for the current one: "
			 "%s",
			err.text);
}

static void make_current(struct store *s, struct held *h)
{
	if (s->current)
		store_retire_held(s, s->current);
	s->current = h;
	s->retired_early = false;
	store_remove_unheld(s);
}

/* Unmounts if that was asked for and nothing is in the way. */
static int unmount_emptied(struct store *s, struct err *err)
{
	int r;

	if (!s->emptying || s->all || s->pins > 0)
		return 0;
	close_fds(s);
	r = tmpfs_unmount(s->path, err);
	if (r == 0) {
		s->emptying = false;
		log_info("the template's tmpfs at %s is unmounted", s->path);
	}
	return r;
}

void store_finish_emptying(struct store *s)
{
	struct err err = ERR_INIT;

	if (unmount_emptied(s, &err) < 0)
		log_error("the template's tmpfs stays: %s", err.text);
}

/* ---- opening ---- */

/* Somebody unmounted the tmpfs (umount -l) or mounted another one over it: what was there
 * is lost to new sandboxes, those that have it keep it. */
static void forget_replaced(struct store *s)
{
	struct stat here, ours;

	if (s->rw_fd < 0 || s->pins > 0 || lstat(s->path, &here) < 0 ||
		fstat(s->rw_fd, &ours) < 0 || here.st_dev == ours.st_dev)
		return;
	log_warn("another tmpfs is mounted at %s: the templates of the former one are "
		 "retired",
		s->path);
	/* Nothing is written down for them: their notes are on the other one. */
	for (struct held *h = s->all; h; h = h->next) {
		if (!h->retired)
			events_emit("generation-retired", "generation", h->g.id, NULL);
		h->retired = true;
	}
	s->current = NULL;
	store_remove_unheld(s);
	/* Those that are held stay listed, for store_recover() not to choose from. */
	for (struct held *h = s->all; h; h = h->next) {
		h->lost = h->unsound = true;
		err_set(&h->why, -ENOENT,
			"generation %s: its tmpfs at %s was replaced by another one",
			h->g.id, s->path);
	}
	close_fds(s);
}

static int open_and_recover(struct store *s, struct err *err)
{
	int r;

	r = tmpfs_open(s->path, false, &s->rw_fd, err);
	if (r == 0)
		r = tmpfs_open(s->path, true, &s->ro_fd, err);
	if (r == 0)
		r = store_recover(s, err);
	if (r < 0)
		close_fds(s);
	return r;
}

int store_open(struct store *s, uint64_t size_bytes, struct err *err)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = tmpfs_ensure(s->path, size_bytes, err);
	if (r == 0) {
		forget_replaced(s);
		s->emptying = false;
		if (s->rw_fd < 0)
			r = open_and_recover(s, err);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int store_pin(struct store *s, int *ret_root_fd, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (s->rw_fd < 0) {
		r = err_set(err, -ENOENT, "the template's tmpfs is not mounted");
	} else {
		s->pins++;
		*ret_root_fd = s->rw_fd;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void store_unpin(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->pins--;
	/* A build that failed may have left its folder. */
	s->left_old = true;
	store_finish_emptying(s);
	pthread_mutex_unlock(&s->lock);
}

int store_adopt(struct store *s, const char *id, struct err *err)
{
	struct generation g;
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->emptying ? err_set(err, -ECANCELED, "the templates are being destroyed")
			: generation_load(s->ro_fd, id, &g, err);
	if (r == 0)
		make_current(s, store_add(s, &g));
	pthread_mutex_unlock(&s->lock);
	return r;
}

void store_retire(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->current) {
		log_info("generation %s is retired before there is a new one",
			s->current->g.id);
		store_retire_held(s, s->current);
		s->retired_early = true;
		store_remove_unheld(s);
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- leases ---- */

/* Like a verdict, logged once for each generation. */
static void look_at_age(struct held *h, const struct manifest *want)
{
	enum manifest_field field;
	struct err why = ERR_INIT;
	const char *stale = manifest_aged(&h->g.manifest, want, &field, &why)
				    ? manifest_field_name(field)
				    : NULL;

	if (stale && !h->stale) {
		log_warn("generation %s is stale and serves until there is a new one: %s",
			h->g.id, why.text);
		events_emit("generation-stale", "generation", h->g.id, "reason", why.text,
			NULL);
	}
	h->stale = stale;
	h->stale_why = why;
}

/* A verdict is logged when it changes, not for each sandbox that meets it. */
static enum store_answer find_unsound(struct held *h, struct err *err)
{
	if (!h->unsound || strcmp(h->why.text, err->text) != 0) {
		log_error("the template is unsound and not offered until it is "
			  "refreshed: %s",
			err->text);
		events_emit("generation-unsound", "generation", h->g.id, "reason",
			err->text, NULL);
	}
	h->unsound = true;
	h->why = *err;
	return STORE_UNSOUND;
}

/* Opens the current generation, if it is sound and what is wanted. */
static enum store_answer open_current(
	struct store *s, const struct manifest *want, struct grant *g, struct err *err)
{
	struct held *h = s->current;

	if (!h) {
		err_set(err, -ENOENT, "%s",
			s->retired_early ? "retired by refresh --now" : "");
		return STORE_NONE;
	}
	/* First what is wrong with it: a field that was tampered with does not match,
	 * either. */
	if (generation_grant(s->ro_fd, &h->g, &g->memory_fd, &g->state_fd, err) < 0)
		return find_unsound(h, err);
	h->unsound = false;
	if (manifest_match(&h->g.manifest, want, &g->differs, err) < 0) {
		close_fd(steal_fd(&g->memory_fd));
		close_fd(steal_fd(&g->state_fd));
		return STORE_DIFFERS;
	}
	manifest_copy(&g->manifest, &h->g.manifest);
	return STORE_GRANTED;
}

static struct store_lease *add_lease(
	struct held *h, const struct manifest *want, const char *sandbox)
{
	struct store_lease *lease = xnew0(struct store_lease);

	snprintf(lease->note.sandbox, sizeof(lease->note.sandbox), "%s", sandbox);
	memcpy(lease->note.generation, h->g.id, GENERATION_ID_SIZE);
	lease->since_ms = now_ms();
	look_at_age(h, want);
	lease->stale = h->stale;
	lease->held = h;
	lease->next = h->leases;
	return h->leases = lease;
}

enum store_answer store_grant(struct store *s, const struct manifest *want,
	const char *sandbox, struct grant *ret, struct err *err)
{
	enum store_answer answer;
	struct err why = ERR_INIT;

	pthread_mutex_lock(&s->lock);
	answer = open_current(s, want, ret, &why);
	if (answer == STORE_GRANTED) {
		ret->lease = add_lease(s->current, want, sandbox);
		store_look_for_growth(s);
	}
	pthread_mutex_unlock(&s->lock);
	if (answer != STORE_GRANTED)
		err_copy(err, &why);
	return answer;
}

void grant_done(struct grant *g)
{
	close_fd(steal_fd(&g->memory_fd));
	close_fd(steal_fd(&g->state_fd));
	manifest_done(&g->manifest);
}

const char *store_lease_generation(const struct store_lease *lease)
{
	return lease->held->g.id;
}

const char *store_lease_stale(const struct store_lease *lease)
{
	return lease->stale;
}

void store_lease_rename(struct store *s, struct store_lease *lease, const char *sandbox)
{
	pthread_mutex_lock(&s->lock);
	snprintf(lease->note.sandbox, sizeof(lease->note.sandbox), "%s", sandbox);
	lease->since_ms = now_ms();
	pthread_mutex_unlock(&s->lock);
}

void store_lease_bind(struct store *s, struct store_lease *lease, pid_t pid)
{
	struct err err = ERR_INIT;
	int r;

	pthread_mutex_lock(&s->lock);
	lease_note_remove(s->rw_fd, lease->note.name);
	lease->note.name[0] = '\0';
	r = proc_id_of(pid, &lease->note.holder);
	if (r < 0)
		err_sys(&err, r, "process %d", (int)pid);
	else
		r = lease_note_write(s->rw_fd, &lease->note, &err);
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		log_warn("the lease of the sandbox %s will not survive an end of "
			 "templated: %s",
			lease->note.sandbox, err.text);
}

/* The lock is held. */
static void unlink_lease(struct store_lease *lease)
{
	struct store_lease **p;

	for (p = &lease->held->leases; *p != lease;)
		p = &(*p)->next;
	*p = lease->next;
	events_emit("release", "sandbox", lease->note.sandbox, "generation",
		lease->held->g.id, NULL);
}

void store_release(struct store *s, struct store_lease *lease)
{
	pthread_mutex_lock(&s->lock);
	unlink_lease(lease);
	lease_note_remove(s->rw_fd, lease->note.name);
	store_remove_unheld(s);
	store_look_for_growth(s);
	store_finish_emptying(s);
	pthread_mutex_unlock(&s->lock);
	free(lease);
}

void store_leave(struct store *s, struct store_lease *lease)
{
	pthread_mutex_lock(&s->lock);
	unlink_lease(lease);
	pthread_mutex_unlock(&s->lock);
	free(lease);
}

bool store_has(
	struct store *s, const struct manifest *want, char ret_id[GENERATION_ID_SIZE])
{
	enum manifest_field field;
	struct err err = ERR_INIT;
	struct grant grant = GRANT_INIT;
	bool has;

	pthread_mutex_lock(&s->lock);
	has = open_current(s, want, &grant, &err) == STORE_GRANTED &&
	      !manifest_aged(&s->current->g.manifest, want, &field, &err);
	if (has && ret_id)
		memcpy(ret_id, s->current->g.id, GENERATION_ID_SIZE);
	pthread_mutex_unlock(&s->lock);
	grant_done(&grant);
	return has;
}

static struct json_object *list_leases(
	const struct store_lease *lease, struct json_object *into)
{
	for (; lease && json_object_array_length(into) < STORE_HELD_MAX;
		lease = lease->next)
		json_object_array_add(into, json_object_new_string(lease->note.sandbox));
	return into;
}

int store_empty(struct store *s, struct json_object **ret_held, struct err *err)
{
	struct json_object *names = json_object_new_array();
	int r;

	pthread_mutex_lock(&s->lock);
	/* Its pin would put the unmounting off, and the caller would not hear of it. */
	store_await_compaction(s);
	for (struct held *h = s->all; h; h = h->next) {
		store_retire_held(s, h);
		list_leases(h->leases, names);
	}
	s->emptying = true;
	s->retired_early = false;
	store_remove_unheld(s);
	r = unmount_emptied(s, err);
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		json_put(names);
	else
		*ret_held = names;
	return r;
}

/* ---- status ---- */

static struct json_object *held_to_json(struct store *s, const struct held *h)
{
	struct json_object *obj = json_object_new_object();
	uint64_t number, count = 0;

	json_set_string(obj, "id", h->g.id);
	json_set_string(obj, "state",
		h->unsound   ? "unsound"
		: h->retired ? "retired"
			     : "current");
	if (h->unsound)
		json_set_string(obj, "reason", h->why.text);
	if (h->stale) {
		json_set_string(obj, "stale", h->stale);
		json_set_string(obj, "stale_reason", h->stale_why.text);
	}
	if (manifest_get_u64(&h->g.manifest, MANIFEST_CREATED, &number, NULL) == 0) {
		json_set_u64(obj, "created", number);
		/* The clock may have been set back. */
		json_set_i64(obj, "age_s", MAX(0, (int64_t)time(NULL) - (int64_t)number));
	}
	if (manifest_get_u64(&h->g.manifest, MANIFEST_MEMORY_BYTES, &number, NULL) == 0)
		json_set_u64(obj, "memory_bytes", number);
	if (generation_resident(s->ro_fd, h->g.id, &number, NULL) == 0)
		json_set_u64(obj, "resident_bytes", number);
	if (manifest_get_u64(&h->g.manifest, MANIFEST_PUBLISHED_BYTES, &number, NULL) ==
		0)
		json_set_u64(obj, "published_bytes", number);
	if (manifest_get_u64(&h->g.manifest, MANIFEST_STATE_BYTES, &number, NULL) == 0)
		json_set_u64(obj, "state_bytes", number);
	if (!h->lost)
		json_object_object_add(obj, "manifest", manifest_to_json(&h->g.manifest));
	for (const struct store_lease *l = h->leases; l; l = l->next)
		count++;
	json_set_u64(obj, "leases", count);
	json_object_object_add(
		obj, "sandboxes", list_leases(h->leases, json_object_new_array()));
	return obj;
}

static struct json_object *tmpfs_to_json(const struct store *s)
{
	struct json_object *obj = json_object_new_object();
	struct tmpfs_usage usage = {0};
	struct err err = ERR_INIT;

	json_set_string(obj, "path", s->path);
	if (tmpfs_look(s->path, &usage, &err) < 0)
		json_set_string(obj, "error", err.text);
	json_set_bool(obj, "mounted", usage.mounted);
	json_set_u64(obj, "size_bytes", usage.size_bytes);
	json_set_u64(obj, "used_bytes", usage.used_bytes);
	return obj;
}

void store_status(struct store *s, struct json_object *obj)
{
	struct json_object *list = json_object_new_array();

	pthread_mutex_lock(&s->lock);
	json_set_string(obj, "state",
		!s->current           ? (s->emptying ? "emptying" : "none")
		: s->current->unsound ? "unsound"
				      : "ready");
	if (s->current && s->current->unsound)
		json_set_string(obj, "reason", s->current->why.text);
	for (const struct held *h = s->all; h; h = h->next)
		json_object_array_add(list, held_to_json(s, h));
	json_object_object_add(obj, "generations", list);
	json_object_object_add(obj, "tmpfs", tmpfs_to_json(s));
	store_look_for_growth(s);
	pthread_mutex_unlock(&s->lock);
}
