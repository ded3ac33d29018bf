/* SPDX-License-Identifier: Apache-2.0 */
/* Counters: what templated granted, refused and built since it started. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "mm/manifest.h"

/* Why a sandbox got no template. A difference in a field is counted under the field's
 * name. */
enum stats_miss {
	STATS_MISS_DISABLED, /* enable_template = false */
	STATS_MISS_BUILDING, /* the first one is being built */
	STATS_MISS_NONE,     /* there is none, and none is being built */
	STATS_MISS_UNSOUND,  /* tampered with, or lost */
	STATS_MISS_INPUTS, /* what the sandbox wants can't be found out: no kernel, … */
	STATS_MISS_FIELD,  /* a must-equal field differs */
	STATS_MISSES,
};

/* Why a sandbox got no VM of the cache. */
enum stats_cache {
	STATS_CACHE_EMPTY,     /* none ready, none being prepared */
	STATS_CACHE_PREPARING, /* none ready, one being prepared */
	STATS_CACHE_DIFFERS,   /* the sandbox wants another machine */
	STATS_CACHE_STALE,     /* of a generation that is not current any more */
	STATS_CACHE_STATE_DIR, /* the sandbox's state_dir is another one */
	STATS_CACHE_DIED,      /* it had died and was not replaced yet */
	STATS_CACHE_MISSES,
};

struct stats {
	pthread_mutex_t lock;
	uint64_t hits, stale_hits, misses[STATS_MISSES], fields[MANIFEST_FIELDS];
	uint64_t cache_hits, cache_misses[STATS_CACHE_MISSES], cache_died, cache_failures;
	uint64_t boots;                           /* guests booted to become a template */
	uint64_t builds, build_failures, refused; /* refused: connections and requests */
};

void stats_init(struct stats *s);
void stats_done(struct stats *s);
/* stale: of a generation that is old, and to be replaced. Counted as both. */
void stats_hit(struct stats *s, bool stale);
/* field: of STATS_MISS_FIELD. */
void stats_miss(struct stats *s, enum stats_miss miss, enum manifest_field field);
void stats_boot(struct stats *s);
void stats_build(struct stats *s, int result);
void stats_refused(struct stats *s);
void stats_cache_hit(struct stats *s); /* a VM was taken */
void stats_cache_miss(struct stats *s, enum stats_cache miss);
void stats_cache_died(struct stats *s);    /* while it was ready */
void stats_cache_failure(struct stats *s); /* none could be made */
/* Adds "hits", "misses": {<reason>: n…, "total"}, "died" and "failures" to obj. */
void stats_cache_to_json(struct stats *s, struct json_object *obj);
/* {"hits", "stale_grants", "misses": {<reason>: n…, "total"}, "boots", "builds",
 * "build_failures", "refused"}; reasons that did not happen are left out. */
struct json_object *stats_to_json(struct stats *s);
