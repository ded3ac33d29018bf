/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging a network card in front of a tap, and unplugging it: see plug.h. */
#include <errno.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

/* netdev_add takes the descriptor by the name getfd gave it; a name it did not take is
 * closed. */
static int add_netdev(
	struct qmp *q, const char *id, int tap_fd, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *fd_name = xasprintf("fd-%s", id);
	struct json_object *args;
	int r;

	r = qmp_getfd(q, fd_name, tap_fd, deadline, err);
	if (r < 0)
		return r;
	args = json_object_new_object();
	json_set_string(args, "type", "tap");
	json_set_string(args, "id", id);
	json_set_string(args, "fd", fd_name);
	json_set_bool(args, "vhost", false);
	r = qmp_command(q, "netdev_add", args, deadline, err);
	if (r < 0)
		qmp_closefd(q, fd_name, plug_undo_deadline(), NULL);
	return r;
}

static int del_netdev(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "id", id);
	return qmp_command(q, "netdev_del", args, deadline, err);
}

static int add_card(
	struct qmp *q, const struct plug_nic *nic, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", nic->id);
	struct json_object *args = json_object_new_object();
	char mac[sizeof("00:00:00:00:00:00")];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", nic->mac[0],
		nic->mac[1], nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5]);
	plug_set_port(args, &nic->port);
	json_set_string(args, "netdev", nic->id);
	json_set_string(args, "mac", mac);
	/* Nothing boots from it; the option ROM's file is not in QEMU's jail either. */
	json_set_string(args, "romfile", "");
	return plug_device(q, "virtio-net-pci", device, args, deadline, err);
}

int plug_nic(struct qmp *q, const struct plug_nic *nic, int64_t deadline, struct err *err)
{
	int r;

	r = add_netdev(q, nic->id, nic->tap_fd, deadline, err);
	if (r == 0) {
		r = add_card(q, nic, deadline, err);
		if (r < 0)
			del_netdev(q, nic->id, plug_undo_deadline(), NULL);
	}
	if (r < 0)
		err_wrap(err, "cannot plug network card %s", nic->id);
	return r;
}

int unplug_nic(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", id);
	int r;

	r = unplug_device(q, device, deadline, err);
	if (r == 0)
		r = del_netdev(q, id, deadline, err);
	return r < 0 ? err_wrap(err, "cannot unplug network card %s", id) : 0;
}
