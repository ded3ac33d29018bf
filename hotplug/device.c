/* SPDX-License-Identifier: Apache-2.0 */
/* Adding and removing a device: see plug_internal.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

int64_t plug_undo_deadline(void)
{
	return deadline_after_ms(PLUG_UNDO_MS);
}

void plug_set_port(struct json_object *args, const struct plug_port *port)
{
	char addr[16];

	/* Hexadecimal, and a string: QEMU takes a number for slot and function. */
	snprintf(addr, sizeof(addr), "%x", port->slot);
	json_set_string(args, "bus", port->bus);
	json_set_string(args, "addr", addr);
	/* Else it had ports of I/O as well, for drivers of virtio 0.9:
	 * the bridge has none to give. */
	json_set_string(args, "disable-legacy", "on");
}

int plug_device(struct qmp *q, const char *driver, const char *id,
	struct json_object *args, int64_t deadline, struct err *err)
{
	json_set_string(args, "driver", driver);
	json_set_string(args, "id", id);
	return qmp_command(q, "device_add", args, deadline, err);
}

/* The event of a device's parts has a path and no "device". */
static bool is_of_device(void *user, struct json_object *data)
{
	const char *device = NULL;

	return data && json_get_string_opt(data, "device", "", &device, NULL) == 0 &&
	       strcmp(device, (const char *)user) == 0;
}

/* QEMU asks the guest, which lets go of it in its own time. */
int unplug_device(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	struct qmp_event_wait wait = {.mark = qmp_mark(q),
		.name = "DEVICE_DELETED",
		.match = is_of_device,
		.user = (char *)id,
		.deadline = deadline};
	struct json_object *args = json_object_new_object();
	int r;

	json_set_string(args, "id", id);
	r = qmp_command(q, "device_del", args, deadline, err);
	if (r == 0)
		r = qmp_wait_event(q, &wait, NULL, err);
	return r;
}
