/* SPDX-License-Identifier: Apache-2.0 */
/* Adding a device. See plug_internal.h. */
#include "base/util.h"
#include "hotplug/plug_internal.h"

int64_t plug_undo_deadline(void)
{
	return deadline_after_ms(PLUG_UNDO_MS);
}

int plug_device(struct qmp *q, const char *driver, const char *id,
	struct json_object *args, int64_t deadline, struct err *err)
{
	json_set_string(args, "driver", driver);
	json_set_string(args, "id", id);
	return qmp_command(q, "device_add", args, deadline, err);
}
