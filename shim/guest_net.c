/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's half of a pod's network: see guest_net.h. */
#include "shim/guest_net.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vm/argv.h"

static_assert(NET_NICS_MAX <= VM_PORTS, "a port for each NIC");

/* ---- NICs ---- */

static bool is_gone(const struct net_view *view, const struct net_nic *nic)
{
	const struct net_interface *i = net_view_find(view, nic->index);

	return !i || !i->is_nic;
}

static void unplug_gone(struct guest_net *g, const struct net_view *view,
	const struct pod_use *use, struct err *first)
{
	for (unsigned int i = g->net->n_nics; i-- > 0;) {
		struct net_nic *nic = &g->net->nics[i];
		struct err e = ERR_INIT;

		if (!is_gone(view, nic))
			continue;
		if (nic->port != NET_UNPLUGGED &&
			vm_unplug_nic(use->vm, nic->port, &e) < 0)
			err_keep_first(first, &e);
		if (net_leave_nic(g->net, nic, &e) < 0)
			err_keep_first(first, &e);
	}
}

static int plug_card(struct guest_net *g, struct net_nic *nic, const struct pod_use *use,
	struct err *err)
{
	struct vm_nic card = {.tap_fd = nic->tap_fd};
	struct err ignored;
	int r;

	memcpy(card.mac, nic->mac, sizeof(card.mac));
	r = vm_plug_nic(use->vm, &card, &nic->port, err);
	if (r < 0)
		net_leave_nic(g->net, nic, &ignored);
	return r;
}

static int add_nic(struct guest_net *g, const struct net_interface *i,
	const struct pod_use *use, struct err *err)
{
	struct net_nic *nic = net_find_nic(g->net, i->index);
	int r = nic ? 0 : net_join(g->net, i, &nic, err);

	/* Gone since we looked: the next look finds it so. */
	if (r == -ENODEV)
		return 0;
	if (r == 0 && nic->port == NET_UNPLUGGED)
		r = plug_card(g, nic, use, err);
	if (r == 0)
		r = net_follow_mtu(g->net, nic, i->mtu, err);
	return r < 0 ? err_wrap(err, "interface %s", err_quote(i->name, 16)) : 0;
}

/* One that could not be had is not tried again before it has gone. */
static void plug_new(struct guest_net *g, const struct net_view *view,
	const struct pod_use *use, struct err *first)
{
	for (unsigned int i = 0; i < view->n_interfaces; i++) {
		const struct net_interface *interface = &view->interfaces[i];
		struct err e = ERR_INIT;

		if (!interface->is_nic ||
			(g->told && net_view_find(g->told, interface->index) &&
				!net_find_nic(g->net, interface->index)))
			continue;
		if (add_nic(g, interface, use, &e) < 0)
			err_keep_first(first, &e);
	}
}

/* ---- what the guest is told ---- */

/* The guest's names of the interfaces of a view, by their indices on the host. */
struct devices {
	Grpc__NetworkDevice *device, **list;
	char (*mac)[18];
	unsigned int n, n_named; /* of these, that have to get their name */
};

static void name_device(struct guest_net *g, const struct net_interface *i,
	Grpc__NetworkDevice *device, char mac[18])
{
	const struct net_interface *was =
		g->told ? net_view_find(g->told, i->index) : NULL;

	grpc__network_device__init(device);
	device->index = (uint32_t)i->index;
	device->name = (char *)i->name;
	if (was && strcmp(was->name, i->name) != 0)
		device->was = (char *)was->name;
	if (was || !i->is_nic)
		return;
	snprintf(mac, 18, "%02x:%02x:%02x:%02x:%02x:%02x", i->mac[0], i->mac[1],
		i->mac[2], i->mac[3], i->mac[4], i->mac[5]);
	device->hwaddr = mac;
}

static bool is_absent(struct net *net, const struct net_view *view, int index)
{
	const struct net_interface *i = view ? net_view_find(view, index) : NULL;

	return i && i->is_nic && !net_find_nic(net, index);
}

static void list_devices(
	struct guest_net *g, const struct net_view *view, struct devices *ret)
{
	*ret = (struct devices){.device = xreallocarray(NULL, view->n_interfaces + 1,
					sizeof(*ret->device)),
		.list = xreallocarray(NULL, view->n_interfaces + 1, sizeof(*ret->list)),
		.mac = xreallocarray(NULL, view->n_interfaces + 1, sizeof(*ret->mac))};
	for (unsigned int i = 0; i < view->n_interfaces; i++) {
		if (is_absent(g->net, view, view->interfaces[i].index))
			continue;
		ret->list[ret->n] = &ret->device[ret->n];
		name_device(
			g, &view->interfaces[i], &ret->device[ret->n], ret->mac[ret->n]);
		ret->n_named += *ret->list[ret->n]->was || *ret->list[ret->n]->hwaddr;
		ret->n++;
	}
}

/* In the order given: each is tried, the first failure told. */
static int send_requests(struct guest_net *g, const struct net_view *names,
	const struct pod_use *use, const struct net_change *change, struct err *err)
{
	Grpc__UpdateNetworkRequest request = GRPC__UPDATE_NETWORK_REQUEST__INIT;
	struct devices devices;
	int r = 0;

	list_devices(g, names, &devices);
	request.devices = devices.list;
	request.n_devices = devices.n;
	request.messages = change->messages;
	request.n_messages = change->n_messages;
	if (change->n_messages > 0 || devices.n_named > 0)
		r = agent_update_network(use->agent, &request, use->deadline, err);
	free(devices.device);
	free(devices.list);
	free(devices.mac);
	return r;
}

struct both_views {
	const struct guest_net *g;
	const struct net_view *now;
};

static bool is_skipped(void *user, int index)
{
	const struct both_views *v = user;

	return is_absent(v->g->net, v->g->told, index) ||
	       is_absent(v->g->net, v->now, index);
}

/* What goes is called by the names that the guest has, what comes by the new ones. */
static int tell_guest(struct guest_net *g, const struct net_view *view,
	const struct pod_use *use, struct err *err)
{
	struct both_views both = {.g = g, .now = view};
	const struct net_comparison c = {
		.from = g->told, .to = view, .skip = is_skipped, .user = &both};
	struct net_change gone = {0}, new = {0};
	struct err first = ERR_INIT, e = ERR_INIT;
	int r = 0;

	net_compare(&c, &gone, &new);
	if (g->told && send_requests(g, g->told, use, &gone, &e) < 0)
		err_keep_first(&first, &e);
	if (e.code != -ETIMEDOUT && send_requests(g, view, use, &new, &e) < 0)
		err_keep_first(&first, &e);
	if (first.code < 0)
		r = err_copy(err, &first);
	net_change_done(&gone);
	net_change_done(&new);
	return r;
}

int guest_net_follow(struct guest_net *g, struct net_view *view,
	const struct pod_use *use, struct err *err)
{
	struct err first = ERR_INIT, e = ERR_INIT;

	unplug_gone(g, view, use, &first);
	plug_new(g, view, use, &first);
	if (tell_guest(g, view, use, &e) < 0)
		err_keep_first(&first, &e);
	if (e.code == -ETIMEDOUT) {
		net_view_free(view);
		return err_copy(err, &e);
	}
	net_view_free(g->told);
	g->told = view;
	return first.code < 0 ? err_copy(err, &first) : 0;
}
