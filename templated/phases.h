/* SPDX-License-Identifier: Apache-2.0 */
/* How long each step of a build took. */
#pragma once

#include <stdint.h>

#include "base/json.h"
#include "templated/builder.h"

struct phases {
	int64_t began_ms[BUILD_STEPS]; /* 0: not reached */
};

/* Begins the step, and so ends the one before; BUILD_STARTING forgets a former build. */
void phases_begin(struct phases *p, enum build_step step);
/* {"starting": ms, "booting": ms, "agent_up": ms, "compacting": ms, "saved": ms}: the
 * steps that were reached, the last of them ended at end_ms. */
struct json_object *phases_to_json(const struct phases *p, int64_t end_ms);
