/* SPDX-License-Identifier: Apache-2.0 */
/* Adding a device, and removing one with the guest's consent. See plug.h. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"
#include "hotplug/qmp_internal.h"

int64_t plug_undo_deadline(void)
{
	return deadline_after_ms(PLUG_UNDO_MS);
}

int plug_device(struct qmp *q, const char *driver, const char *id,
	struct json_object *args, int64_t deadline, struct err *err)
{
	json_set_string(args, "driver", driver);
	json_set_string(args, "id", id);
	return qmp_command(q, "device_add", args, -1, deadline, NULL, err);
}

struct removal {
	const char *id;
	bool refused;
};

static bool match_removal(void *user, const char *name, struct json_object *data)
{
	struct removal *removal = user;
	const char *device;

	removal->refused = strcmp(name, "DEVICE_UNPLUG_GUEST_ERROR") == 0;
	if (!removal->refused && strcmp(name, "DEVICE_DELETED") != 0)
		return false;
	return json_get_string(data, "device", &device, NULL) == 0 &&
	       strcmp(device, removal->id) == 0;
}

int unplug_device(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();
	struct removal removal = {.id = id};
	uint64_t mark = qmp_mark(q);
	int r;

	json_set_string(args, "id", id);
	r = qmp_command(q, "device_del", args, -1, deadline, NULL, err);
	if (r == 0)
		r = qmp_wait_any(q, mark, "DEVICE_DELETED", match_removal, &removal,
			deadline, NULL, err);
	if (r == 0 && removal.refused)
		r = err_set(err, -EBUSY, "the guest refused to give it back");
	if (r < 0)
		err_wrap(err, "cannot unplug %s", err_quote(id, 64));
	return r;
}
