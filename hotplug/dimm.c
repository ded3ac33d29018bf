/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging memory. See plug.h. */
#include <errno.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

static int add_backend(
	struct qmp *q, const char *id, uint64_t bytes, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "qom-type", "memory-backend-ram");
	json_set_string(args, "id", id);
	json_set_u64(args, "size", bytes);
	json_set_bool(args, "share", false);
	json_set_bool(args, "prealloc", false);
	return qmp_command(q, "object-add", args, deadline, err);
}

static void del_backend(struct qmp *q, const char *id)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "id", id);
	qmp_command(q, "object-del", args, plug_undo_deadline(), NULL);
}

int plug_dimm(
	struct qmp *q, const char *id, uint64_t bytes, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", id);
	struct json_object *args;
	int r;

	if (bytes == 0 || bytes % PLUG_DIMM_ALIGN_BYTES)
		return err_set(err, -EINVAL,
			"cannot plug %llu bytes: not a multiple of %llu",
			(unsigned long long)bytes,
			(unsigned long long)PLUG_DIMM_ALIGN_BYTES);
	r = add_backend(q, id, bytes, deadline, err);
	if (r == 0) {
		args = json_object_new_object();
		json_set_string(args, "memdev", id);
		r = plug_device(q, "pc-dimm", device, args, deadline, err);
		if (r < 0)
			del_backend(q, id);
	}
	if (r < 0)
		err_wrap(err, "cannot plug %llu MiB of memory",
			(unsigned long long)(bytes / MiB));
	return r;
}
