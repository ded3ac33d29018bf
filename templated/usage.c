/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each clone has of its template's memory: see usage.h.
 *
 * The memory file is known by device and inode in the lines of smaps: its path there is
 * that of a detached mount. "Anonymous:" of such a mapping are the pages that the clone
 * has written to; the rest of "Rss:" are the file's own.
 */
#include "templated/usage.h"

#include <dirent.h>
#include <errno.h>
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
#include "vm/record.h"

/* A process' mapping of one memory file. */
struct sample {
	struct proc_id qemu; /* pid 0: none found */
	dev_t dev;
	ino_t ino;
	int64_t measured_ms; /* 0: never */
	bool fresh;          /* in this look */
	uint64_t private_bytes, shared_bytes;
	/* Borrowed, during one look; the clones of that sandbox' name. */
	struct json_object *generation;
	const char *sandbox;
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

/* Adds up the mappings of the file: 0, or -ENOENT if it has none. */
static int read_smaps(const struct sample *s, uint64_t *ret_rss, uint64_t *ret_anonymous)
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
	return found ? 0 : -ENOENT;
}

static void measure(struct sample *s)
{
	struct proc_id now;
	uint64_t rss, anonymous;

	s->measured_ms = now_ms();
	s->fresh = true;
	if (read_smaps(s, &rss, &anonymous) < 0 || proc_id_of(s->qemu.pid, &now) < 0 ||
		now.start_ticks != s->qemu.start_ticks) {
		s->qemu.pid = 0;
		return;
	}
	s->private_bytes = anonymous;
	s->shared_bytes = rss > anonymous ? rss - anonymous : 0;
}

static void measure_oldest(struct samples *list, int64_t deadline)
{
	while (now_ms() < deadline) {
		struct sample *oldest = NULL;

		for (size_t i = 0; i < list->n; i++) {
			struct sample *s = &list->all[i];

			if (s->qemu.pid && !s->fresh &&
				(!oldest || s->measured_ms < oldest->measured_ms))
				oldest = s;
		}
		if (!oldest)
			return;
		measure(oldest);
	}
}

/* ---- finding the processes ---- */

/* The QEMU whose record lies in this folder, if there is one. */
static void add_qemu(const char *dir, const struct sample *s, struct samples *into)
{
	struct vm_record record;

	if (vm_record_read(dir, &record, NULL) < 0 || record.qemu.pid == 0)
		return;
	/* One that is being handed over may have its record in two places. */
	for (size_t i = 0; i < into->n; i++)
		if (into->all[i].generation == s->generation &&
			into->all[i].qemu.pid == record.qemu.pid &&
			into->all[i].qemu.start_ticks == record.qemu.start_ticks)
			return;
	into->all = xreallocarray(into->all, into->n + 1, sizeof(*into->all));
	into->all[into->n] = *s;
	into->all[into->n++].qemu = record.qemu;
}

/* The QEMU of a cached VM or a sandbox of this name; one name may be in several
 * namespaces, and then more than one is found. */
static void find_qemus(const struct config *c, const struct sample *s,
	const char *sandbox, struct samples *into)
{
	_cleanup_free_ char *cached =
		xasprintf("%s/.templated/%s", c->state_dir, sandbox);
	_cleanup_closedir_ DIR *dir = opendir(c->state_dir);
	struct dirent *entry;

	add_qemu(cached, s, into);
	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path =
			xasprintf("%s/%s/%s/vm", c->state_dir, entry->d_name, sandbox);

		if (*entry->d_name != '.')
			add_qemu(path, s, into);
	}
}

/* Adds the clone; whether it is the first one of that name. */
static bool add_clone(struct json_object *clones, const char *name, const char **ret_name)
{
	struct json_object *clone = json_object_new_object();
	bool first = true;

	for (size_t i = 0; i < json_object_array_length(clones) && first; i++) {
		struct json_object *other = json_object_array_get_idx(clones, i);

		first = strcmp(json_object_get_string(
				       json_object_object_get(other, "sandbox")),
				name) != 0;
	}
	json_set_string(clone, "sandbox", name);
	*ret_name = json_object_get_string(json_object_object_get(clone, "sandbox"));
	json_object_array_add(clones, clone);
	return first;
}

static void list_generation(
	const struct config *c, struct json_object *generation, struct samples *into)
{
	struct json_object *names, *clones = json_object_new_array();
	const char *id;
	struct stat st = {0};

	if (json_get_string(generation, "id", &id, NULL) == 0) {
		_cleanup_free_ char *path =
			xasprintf("%s/%s/" GENERATION_MEMORY, c->template_path, id);

		if (stat(path, &st) < 0)
			st = (struct stat){0};
	}
	json_object_object_get_ex(generation, "sandboxes", &names);
	for (size_t i = 0; names && i < json_object_array_length(names); i++) {
		const char *name =
			json_object_get_string(json_object_array_get_idx(names, i));
		struct sample s = {
			.dev = st.st_dev, .ino = st.st_ino, .generation = generation};

		if (add_clone(clones, name, &s.sandbox) && st.st_ino)
			find_qemus(c, &s, s.sandbox, into);
	}
	json_object_object_del(generation, "sandboxes");
	json_object_object_add(generation, "clones", clones);
}

/* ---- a look ---- */

static void take_over(struct samples *list, const struct samples *last)
{
	for (size_t i = 0; i < list->n; i++) {
		struct sample *s = &list->all[i];

		for (size_t k = 0; k < last->n; k++) {
			const struct sample *old = &last->all[k];

			if (old->qemu.pid != s->qemu.pid ||
				old->qemu.start_ticks != s->qemu.start_ticks ||
				old->dev != s->dev || old->ino != s->ino)
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

/* The next clone of that name that has no QEMU yet, or NULL. Which of several
 * namespaces' it is nobody knows. */
static struct json_object *next_clone(const struct sample *s)
{
	struct json_object *clones = json_object_object_get(s->generation, "clones");

	for (size_t i = 0; i < json_object_array_length(clones); i++) {
		struct json_object *clone = json_object_array_get_idx(clones, i);
		const char *name =
			json_object_get_string(json_object_object_get(clone, "sandbox"));

		if (strcmp(name, s->sandbox) == 0 &&
			!json_object_object_get_ex(clone, "pid", NULL))
			return clone;
	}
	return NULL;
}

static void tell(const struct samples *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct sample *s = &list->all[i];
		struct json_object *clone;

		if (!s->qemu.pid || !s->measured_ms)
			continue;
		clone = next_clone(s);
		if (clone) {
			json_set_i64(clone, "pid", s->qemu.pid);
			json_set_u64(clone, "private_bytes", s->private_bytes);
			json_set_u64(clone, "shared_bytes", s->shared_bytes);
		}
		add_to(s->generation, "private_bytes", s->private_bytes);
		add_to(s->generation, "shared_bytes", s->shared_bytes);
	}
}

static void list_all(
	const struct config *c, struct json_object *status, struct samples *into)
{
	struct json_object *generations = NULL;

	json_object_object_get_ex(status, "generations", &generations);
	for (size_t i = 0; generations && i < json_object_array_length(generations);
		i++) {
		struct json_object *g = json_object_array_get_idx(generations, i);

		json_set_u64(g, "private_bytes", 0);
		json_set_u64(g, "shared_bytes", 0);
		list_generation(c, g, into);
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
	tell(&list);
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
