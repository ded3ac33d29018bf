/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each clone has of its template's memory: see usage.h.
 *
 * The memory file is known by device and inode in the lines of smaps: its path there is
 * that of a detached mount. "Anonymous:" of such a mapping are the pages that the clone
 * has written to; the rest of "Rss:" are the file's own.
 */
#include "templated/usage.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/proc.h"
#include "base/util.h"
#include "mm/generation.h"
#include "templated/cache.h"
#include "vm/sweep.h"

/* A process' mapping of one memory file. */
struct sample {
	struct proc_id qemu; /* pid 0: none found */
	dev_t dev;
	ino_t ino;
	int64_t measured_ms; /* 0: never */
	bool fresh;          /* in this look */
	uint64_t private_bytes, shared_bytes;
	/* During one look, borrowed: the generation and the clone in the answer. */
	struct json_object *generation, *clone;
};

struct samples {
	struct sample *all;
	size_t n;
};

struct usage {
	pthread_mutex_t lock; /* not held while one measures */
	bool measuring;
	struct samples last;
};

struct usage *usage_new(void)
{
	struct usage *u = xnew0(struct usage);

	pthread_mutex_init(&u->lock, NULL);
	return u;
}

void usage_free(struct usage *u)
{
	if (!u)
		return;
	pthread_mutex_destroy(&u->lock);
	free(u->last.all);
	free(u);
}

/* ---- measuring ---- */

static bool is_header(const char *line, dev_t *ret_dev, ino_t *ret_ino)
{
	unsigned int major, minor;
	unsigned long ino;

	if (sscanf(line, "%*x-%*x %*s %*x %x:%x %lu", &major, &minor, &ino) != 3)
		return false;
	*ret_dev = makedev(major, minor);
	*ret_ino = ino;
	return true;
}

/* Adds up the mappings of the file: whether it has any. */
static bool read_smaps(const struct sample *s, uint64_t *ret_rss, uint64_t *ret_anonymous)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/smaps", (int)s->qemu.pid),
			    *line = NULL;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	bool found = false, ours = false;
	uint64_t kib;
	size_t size = 0;

	*ret_rss = *ret_anonymous = 0;
	while (f && getline(&line, &size, f) > 0) {
		ino_t ino;
		dev_t dev;

		if (is_header(line, &dev, &ino)) {
			ours = dev == s->dev && ino == s->ino;
			found = found || ours;
		} else if (ours && sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1) {
			*ret_rss += kib * 1024;
		} else if (ours && sscanf(line, "Anonymous: %" SCNu64 " kB", &kib) == 1) {
			*ret_anonymous += kib * 1024;
		}
	}
	return found;
}

static void sample_measure(struct sample *s)
{
	struct proc_id now;
	uint64_t rss, anonymous;

	s->measured_ms = now_ms();
	s->fresh = true;
	if (!read_smaps(s, &rss, &anonymous) || proc_id_of(s->qemu.pid, &now) < 0 ||
		now.start_ticks != s->qemu.start_ticks) {
		s->qemu.pid = 0;
		return;
	}
	s->private_bytes = anonymous;
	s->shared_bytes = rss > anonymous ? rss - anonymous : 0;
}

/* One at least, however slow the machine is: a few looks measure all. */
static void measure_oldest(struct samples *list, int64_t deadline)
{
	do {
		struct sample *oldest = NULL;

		for (size_t i = 0; i < list->n; i++) {
			struct sample *s = &list->all[i];

			if (s->qemu.pid && !s->fresh &&
				(!oldest || s->measured_ms < oldest->measured_ms))
				oldest = s;
		}
		if (!oldest)
			return;
		sample_measure(oldest);
	} while (now_ms() < deadline);
}

/* ---- finding the clones ---- */

/* One generation, while its clones are listed. */
struct listing {
	struct listing *next;
	struct json_object *generation, *clones;
	struct json_object *holders; /* "sandboxes": names, null once found */
	const char *id;
	struct stat memory; /* st_ino 0: it is not there */
	struct samples *into;
};

static struct json_object *add_clone(struct json_object *clones, const char *name)
{
	struct json_object *clone = json_object_new_object();

	json_set_string(clone, "sandbox", name);
	json_object_array_add(clones, clone);
	return clone;
}

/* Each lease is one clone's. */
static void cross_out(struct json_object *holders, const char *name)
{
	for (size_t i = 0; holders && i < json_object_array_length(holders); i++) {
		struct json_object *holder = json_object_array_get_idx(holders, i);

		if (!holder || strcmp(json_object_get_string(holder), name) != 0)
			continue;
		json_object_array_put_idx(holders, i, NULL);
		return;
	}
}

static struct listing *find_listing(struct listing *all, const char *id)
{
	while (all && strcmp(all->id, id) != 0)
		all = all->next;
	return all;
}

static void list_vm(void *user, unsigned int number, const struct vm_record *record)
{
	struct listing *l = find_listing(user, record->generation);
	const char *name = record->sandbox;
	char cached[32];
	struct proc_id now;
	struct sample s = {.qemu = record->qemu};

	if (!l || record->qemu.pid == 0)
		return;
	/* templated's own have no sandbox yet: the name is that of their lease. */
	if (!*record->namespace) {
		snprintf(cached, sizeof(cached), CACHED_NAME, number);
		name = cached;
	}
	cross_out(l->holders, name);
	s.generation = l->generation;
	s.clone = add_clone(l->clones, name);
	s.dev = l->memory.st_dev;
	s.ino = l->memory.st_ino;
	/* What nobody can measure must not take the turn of others. */
	if (!l->memory.st_ino || proc_id_of(record->qemu.pid, &now) < 0 ||
		!proc_id_equal(&now, &record->qemu))
		return;
	l->into->all = xreallocarray(l->into->all, l->into->n + 1, sizeof(s));
	l->into->all[l->into->n++] = s;
}

static struct listing *listing_new(const struct config *c, struct json_object *generation,
	struct samples *into, struct listing *next)
{
	struct listing *l = xnew0(struct listing);

	*l = (struct listing){.next = next,
		.generation = generation,
		.clones = json_object_new_array(),
		.id = "",
		.into = into};
	if (json_get_string(generation, "id", &l->id, NULL) == 0) {
		_cleanup_free_ char *path =
			xasprintf("%s/%s/" GENERATION_MEMORY, c->template_path, l->id);

		if (stat(path, &l->memory) < 0)
			l->memory = (struct stat){0};
	}
	json_object_object_get_ex(generation, "sandboxes", &l->holders);
	return l;
}

/* The holders without a VM are told by their names; the clones go into the answer. */
static void listing_finish(struct listing *l)
{
	for (size_t i = 0; l->holders && i < json_object_array_length(l->holders); i++) {
		struct json_object *holder = json_object_array_get_idx(l->holders, i);

		if (holder)
			add_clone(l->clones, json_object_get_string(holder));
	}
	json_object_object_del(l->generation, "sandboxes");
	json_object_object_add(l->generation, "clones", l->clones);
	free(l);
}

/* ---- a look ---- */

static void take_over(struct samples *list, const struct samples *last)
{
	for (size_t i = 0; i < list->n; i++) {
		struct sample *s = &list->all[i];

		for (size_t k = 0; k < last->n; k++) {
			const struct sample *old = &last->all[k];

			if (!proc_id_equal(&old->qemu, &s->qemu) || old->dev != s->dev ||
				old->ino != s->ino)
				continue;
			s->measured_ms = old->measured_ms;
			s->private_bytes = old->private_bytes;
			s->shared_bytes = old->shared_bytes;
			break;
		}
	}
}

static void add_to(struct json_object *obj, const char *key, uint64_t bytes)
{
	uint64_t sum = 0;

	json_get_u64(obj, key, &sum, NULL);
	json_set_u64(obj, key, sum + bytes);
}

static void samples_tell(const struct samples *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct sample *s = &list->all[i];

		if (!s->qemu.pid || !s->measured_ms)
			continue;
		json_set_i64(s->clone, "pid", s->qemu.pid);
		json_set_u64(s->clone, "private_bytes", s->private_bytes);
		json_set_u64(s->clone, "shared_bytes", s->shared_bytes);
		add_to(s->generation, "private_bytes", s->private_bytes);
		add_to(s->generation, "shared_bytes", s->shared_bytes);
	}
}

/* The records of all VMs are read once, however many generations there are. */
static void list_all(
	const struct config *c, struct json_object *status, struct samples *into)
{
	struct json_object *generations = NULL;
	struct listing *all = NULL, *next;

	json_object_object_get_ex(status, "generations", &generations);
	for (size_t i = 0; generations && i < json_object_array_length(generations);
		i++) {
		struct json_object *g = json_object_array_get_idx(generations, i);

		json_set_u64(g, "private_bytes", 0);
		json_set_u64(g, "shared_bytes", 0);
		all = listing_new(c, g, into, all);
	}
	if (all)
		vm_for_each(c, list_vm, all);
	for (; all; all = next) {
		next = all->next;
		listing_finish(all);
	}
}

void usage_add(struct usage *u, const struct config *c, struct json_object *status)
{
	struct samples list = {0};
	bool mine;

	list_all(c, status, &list);
	pthread_mutex_lock(&u->lock);
	take_over(&list, &u->last);
	mine = !u->measuring;
	u->measuring = true;
	pthread_mutex_unlock(&u->lock);
	if (mine)
		measure_oldest(&list, now_ms() + USAGE_LOOK_MS);
	samples_tell(&list);
	if (mine) {
		pthread_mutex_lock(&u->lock);
		free(u->last.all);
		u->last = list;
		u->measuring = false;
		pthread_mutex_unlock(&u->lock);
	} else {
		free(list.all);
	}
}
