/* SPDX-License-Identifier: Apache-2.0 */
/* The sizing of the template tmpfs: see size.h. */
#include "mm/size.h"

#include <errno.h>
#include <inttypes.h>

#include "base/util.h"

#define SLACK_MIN_BYTES (8 * MiB)

void size_plan(const struct config *c, uint64_t retained_bytes, struct size_plan *ret)
{
	struct size_plan p = {
		.memory_bytes = c->default_memory * MiB,
		.state_bytes = SIZE_STATE_BYTES,
		.manifest_bytes = SIZE_MANIFEST_BYTES,
		.configured = c->tmpfs_size != 0,
	};
	uint64_t building = p.memory_bytes + p.state_bytes + p.manifest_bytes;

	p.retained_bytes = retained_bytes == SIZE_UNKNOWN ? building : retained_bytes;
	p.slack_bytes = MAX((building + p.retained_bytes) / 16, SLACK_MIN_BYTES);
	p.total_bytes = align_up(building + p.retained_bytes + p.slack_bytes, MiB);
	p.slack_bytes = p.total_bytes - building - p.retained_bytes;
	p.tmpfs_bytes = p.configured ? c->tmpfs_size : p.total_bytes;
	*ret = p;
}

int size_check(const struct size_plan *plan, struct err *err)
{
	if (plan->tmpfs_bytes >= plan->total_bytes)
		return 0;
	return err_set(err, -ENOSPC,
		"the template's tmpfs is too small: %" PRIu64 " bytes (%" PRIu64
		" MiB) are needed, tmpfs_size gives it %" PRIu64 " (%" PRIu64
		" MiB); set tmpfs_size = auto or %" PRIu64 "M",
		plan->total_bytes, plan->total_bytes / MiB, plan->tmpfs_bytes,
		plan->tmpfs_bytes / MiB, plan->total_bytes / MiB);
}

struct json_object *size_to_json(const struct size_plan *plan)
{
	struct json_object *obj = json_object_new_object();

	json_set_u64(obj, "memory_bytes", plan->memory_bytes);
	json_set_u64(obj, "state_bytes", plan->state_bytes);
	json_set_u64(obj, "manifest_bytes", plan->manifest_bytes);
	json_set_u64(obj, "retained_bytes", plan->retained_bytes);
	json_set_u64(obj, "slack_bytes", plan->slack_bytes);
	json_set_u64(obj, "needed_bytes", plan->total_bytes);
	json_set_u64(obj, "tmpfs_bytes", plan->tmpfs_bytes);
	json_set_bool(obj, "configured", plan->configured);
	return obj;
}
