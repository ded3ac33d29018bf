/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of a pod's network: see pod_net.h. */
#include "shim/pod_net.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "vm/argv.h"

static_assert(NET_INTERFACES_MAX <= VM_PORTS, "a port for each interface");

static int plug_interface(struct vm *vm, const struct net_interface *i, struct err *err)
{
	struct vm_nic nic = {
		.tap_fd = i->tap_fd, .mtu = (uint16_t)MIN(i->mtu, UINT16_MAX)};
	int r;

	memcpy(nic.mac, i->mac, sizeof(nic.mac));
	r = vm_plug_nic(vm, &nic, err);
	return r < 0 ? err_wrap(err, "interface %s", i->name) : 0;
}

static int configure_interface(struct agent *agent, Types__Interface *interface,
	int64_t deadline, struct err *err)
{
	Grpc__UpdateInterfaceRequest request = GRPC__UPDATE_INTERFACE_REQUEST__INIT;
	Types__Interface *response = NULL;
	int r;

	request.interface = interface;
	r = agent_update_interface(agent, &request, &response, deadline, err);
	if (r < 0)
		return err_wrap(err, "interface %s", err_quote(interface->name, 16));
	types__interface__free_unpacked(response, NULL);
	return 0;
}

static int configure_routes(
	struct agent *agent, struct net *net, int64_t deadline, struct err *err)
{
	Grpc__Routes routes = GRPC__ROUTES__INIT;
	Grpc__UpdateRoutesRequest request = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__Routes *response = NULL;
	int r;

	if (net->n_agent_routes == 0)
		return 0;
	routes.routes = net->agent_routes;
	routes.n_routes = net->n_agent_routes;
	request.routes = &routes;
	r = agent_update_routes(agent, &request, &response, deadline, err);
	if (r == 0)
		grpc__routes__free_unpacked(response, NULL);
	return r;
}

static int configure_neighbors(
	struct agent *agent, struct net *net, int64_t deadline, struct err *err)
{
	Grpc__ARPNeighbors neighbors = GRPC__ARPNEIGHBORS__INIT;
	Grpc__AddARPNeighborsRequest request = GRPC__ADD_ARPNEIGHBORS_REQUEST__INIT;

	if (net->n_agent_neighbors == 0)
		return 0;
	neighbors.arpneighbors = net->agent_neighbors;
	neighbors.n_arpneighbors = net->n_agent_neighbors;
	request.neighbors = &neighbors;
	return agent_add_arp_neighbors(agent, &request, deadline, err);
}

int pod_net_plug(const struct pod_use *use, struct net *net, struct err *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < net->n_interfaces; i++)
		r = plug_interface(use->vm, &net->interfaces[i], err);
	for (unsigned int i = 0; r == 0 && i < net->n_interfaces; i++)
		r = configure_interface(
			use->agent, net->agent_interfaces[i], use->deadline, err);
	if (r == 0)
		r = configure_routes(use->agent, net, use->deadline, err);
	if (r == 0)
		r = configure_neighbors(use->agent, net, use->deadline, err);
	return r;
}
