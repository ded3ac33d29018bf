/* SPDX-License-Identifier: Apache-2.0 */
/* How long each step of a build took: see phases.h. */
#include "templated/phases.h"

#include "base/util.h"

static const char *const keys[BUILD_STEPS] = {
	[BUILD_STARTING] = "starting",
	[BUILD_BOOTING] = "booting",
	[BUILD_AGENT_UP] = "agent_up",
	[BUILD_COMPACTING] = "compacting",
	[BUILD_SAVED] = "saved",
};

void phases_begin(struct phases *p, enum build_step step)
{
	if (step == BUILD_STARTING)
		*p = (struct phases){0};
	p->began_ms[step] = now_ms();
}

struct json_object *phases_to_json(const struct phases *p, int64_t end_ms)
{
	struct json_object *obj = json_object_new_object();

	for (int i = 0; i < BUILD_STEPS; i++) {
		int64_t end = end_ms;

		if (!p->began_ms[i])
			continue;
		for (int k = BUILD_STEPS - 1; k > i; k--)
			if (p->began_ms[k])
				end = p->began_ms[k];
		json_set_i64(obj, keys[i], MAX(end - p->began_ms[i], (int64_t)0));
	}
	return obj;
}
