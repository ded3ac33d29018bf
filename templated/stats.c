/* SPDX-License-Identifier: Apache-2.0 */
/* Counters: see stats.h. */
#include "templated/stats.h"

static const char *const miss_names[STATS_MISSES] = {
	[STATS_MISS_DISABLED] = "disabled",
	[STATS_MISS_BUILDING] = "building",
	[STATS_MISS_NONE] = "none",
	[STATS_MISS_UNSOUND] = "unsound",
	[STATS_MISS_INPUTS] = "inputs",
	[STATS_MISS_FIELD] = "field",
};

static const char *const cache_names[STATS_CACHE_MISSES] = {
	[STATS_CACHE_EMPTY] = "empty",
	[STATS_CACHE_PREPARING] = "preparing",
	[STATS_CACHE_DIFFERS] = "differs",
	[STATS_CACHE_STALE] = "stale",
	[STATS_CACHE_STATE_DIR] = "state_dir",
	[STATS_CACHE_DIED] = "died",
};

void stats_init(struct stats *s)
{
	*s = (struct stats){0};
	pthread_mutex_init(&s->lock, NULL);
}

void stats_done(struct stats *s)
{
	pthread_mutex_destroy(&s->lock);
}

static void stats_count(struct stats *s, uint64_t *counter)
{
	pthread_mutex_lock(&s->lock);
	(*counter)++;
	pthread_mutex_unlock(&s->lock);
}

void stats_hit(struct stats *s, bool stale)
{
	stats_count(s, &s->hits);
	if (stale)
		stats_count(s, &s->stale_hits);
}

void stats_miss(struct stats *s, enum stats_miss miss, enum manifest_field field)
{
	stats_count(s, miss == STATS_MISS_FIELD ? &s->fields[field] : &s->misses[miss]);
}

void stats_boot(struct stats *s)
{
	stats_count(s, &s->boots);
}

void stats_build(struct stats *s, int result)
{
	stats_count(s, result < 0 ? &s->build_failures : &s->builds);
}

void stats_refused(struct stats *s)
{
	stats_count(s, &s->refused);
}

void stats_cache_hit(struct stats *s)
{
	stats_count(s, &s->cache_hits);
}

void stats_cache_miss(struct stats *s, enum stats_cache miss)
{
	stats_count(s, &s->cache_misses[miss]);
}

void stats_cache_died(struct stats *s)
{
	stats_count(s, &s->cache_died);
}

void stats_cache_failure(struct stats *s)
{
	stats_count(s, &s->cache_failures);
}

void stats_cache_to_json(struct stats *s, struct json_object *obj)
{
	struct json_object *misses = json_object_new_object();
	uint64_t total = 0;

	pthread_mutex_lock(&s->lock);
	json_set_u64(obj, "hits", s->cache_hits);
	for (int i = 0; i < STATS_CACHE_MISSES; i++) {
		if (s->cache_misses[i])
			json_set_u64(misses, cache_names[i], s->cache_misses[i]);
		total += s->cache_misses[i];
	}
	json_set_u64(misses, "total", total);
	json_object_object_add(obj, "misses", misses);
	json_set_u64(obj, "died", s->cache_died);
	json_set_u64(obj, "failures", s->cache_failures);
	pthread_mutex_unlock(&s->lock);
}

static struct json_object *misses_to_json(const struct stats *s)
{
	struct json_object *obj = json_object_new_object();
	uint64_t total = 0;

	for (int i = 0; i < STATS_MISSES; i++) {
		if (s->misses[i])
			json_set_u64(obj, miss_names[i], s->misses[i]);
		total += s->misses[i];
	}
	for (int i = 0; i < MANIFEST_FIELDS; i++) {
		if (s->fields[i])
			json_set_u64(obj, manifest_field_name((enum manifest_field)i),
				s->fields[i]);
		total += s->fields[i];
	}
	json_set_u64(obj, "total", total);
	return obj;
}

struct json_object *stats_to_json(struct stats *s)
{
	struct json_object *obj = json_object_new_object();

	pthread_mutex_lock(&s->lock);
	json_set_u64(obj, "hits", s->hits);
	json_set_u64(obj, "stale_grants", s->stale_hits);
	json_object_object_add(obj, "misses", misses_to_json(s));
	json_set_u64(obj, "boots", s->boots);
	json_set_u64(obj, "builds", s->builds);
	json_set_u64(obj, "build_failures", s->build_failures);
	json_set_u64(obj, "refused", s->refused);
	pthread_mutex_unlock(&s->lock);
	return obj;
}
