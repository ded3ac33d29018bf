/* SPDX-License-Identifier: Apache-2.0 */
/* Adding a device. See plug_internal.h. */
#include <stdio.h>

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
