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
	STATS_MISS_INPUTS, /* what the sandbox wants can't be found out: a missing kernel,
			      … */
	STATS_MISS_FIELD,  /* a must-equal field differs */
	STATS_MISSES,
};

struct stats {
	pthread_mutex_t lock;
	uint64_t hits, stale_hits, misses[STATS_MISSES], fields[MANIFEST_FIELDS];
	uint64_t builds, build_failures, refused; /* refused: connections and requests */
};

void stats_init(struct stats *s);
void stats_done(struct stats *s);
/* stale: of a generation that is old, and to be replaced. Counted as both. */
void stats_hit(struct stats *s, bool stale);
/* field: of STATS_MISS_FIELD. */
void stats_miss(struct stats *s, enum stats_miss miss, enum manifest_field field);
void stats_build(struct stats *s, int result);
void stats_refused(struct stats *s);
/* {"hits", "stale_grants", "misses": {<reason>: n…}, "builds", "build_failures", "refused"}; reasons that
 * did not happen are left out, but "total". */
struct json_object *stats_to_json(struct stats *s);
