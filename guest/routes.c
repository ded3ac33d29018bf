/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's routes and fixed neighbours. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <string.h>
#include <sys/socket.h>

#include "agent-client/agent.h"
#include "agent-client/proto/agent.pb-c.h"
#include "guest/message.h"
#include "guest/netlink.h"
#include "guest/service.h"

DEFINE_CLEANUP(route, struct rtnl_route *, rtnl_route_put);
DEFINE_CLEANUP(neigh, struct rtnl_neigh *, rtnl_neigh_put);

static int family_of(Types__IPFamily family)
{
	return family == TYPES__IPFAMILY__v6 ? AF_INET6 : AF_INET;
}

/* The first next hop's interface, 0 if there is none. */
static int route_index(struct rtnl_route *route)
{
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);

	return hop ? rtnl_route_nh_get_ifindex(hop) : 0;
}

/* One that UpdateRoutes may replace: of the main table, and not the kernel's own of an
 * address. */
static bool is_ours(struct rtnl_route *route)
{
	return rtnl_route_get_table(route) == RT_TABLE_MAIN &&
	       rtnl_route_get_protocol(route) != RTPROT_KERNEL &&
	       rtnl_route_get_type(route) == RTN_UNICAST && route_index(route) != 0;
}

/* ---- replacing ---- */

static int flush_routes(struct nl_sock *sock, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *routes = NULL;
	int r = rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, &routes);

	if (r < 0)
		return netlink_err(err, r, "list the routes");
	for (struct nl_object *o = nl_cache_get_first(routes); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;

		if (!is_ours(route))
			continue;
		r = rtnl_route_delete(sock, route, 0);
		if (r < 0 && r != -NLE_OBJ_NOTFOUND)
			return netlink_err(err, r, "remove a route");
	}
	return 0;
}

static int build_hop(
	struct rtnl_route *route, const Types__Route *want, int family, struct err *err)
{
	_cleanup_(nl_addr) struct nl_addr *gateway = NULL;
	struct rtnl_nexthop *hop;
	int index, r = net_index(want->device, &index, err);

	if (r == 0 && *want->gateway)
		r = net_parse_address(family, want->gateway, NULL, &gateway, err);
	if (r < 0)
		return r;
	hop = rtnl_route_nh_alloc();
	rtnl_route_nh_set_ifindex(hop, index);
	if (gateway)
		rtnl_route_nh_set_gateway(hop, gateway);
	rtnl_route_nh_set_flags(hop, want->flags & RTNH_F_ONLINK);
	rtnl_route_add_nexthop(route, hop);
	return 0;
}

static int add_route(struct nl_sock *sock, const Types__Route *want, struct err *err)
{
	_cleanup_(route) struct rtnl_route *route = rtnl_route_alloc();
	_cleanup_(nl_addr) struct nl_addr *dest = NULL, *source = NULL;
	int family = family_of(want->family), r;

	if (want->scope > UINT8_MAX)
		return err_set(err, -EINVAL, "%u is not a route's scope", want->scope);
	r = net_parse_destination(family, want->dest, &dest, err);
	if (r == 0 && *want->source)
		r = net_parse_address(family, want->source, NULL, &source, err);
	if (r < 0)
		return r;
	rtnl_route_set_family(route, (uint8_t)family);
	rtnl_route_set_table(route, RT_TABLE_MAIN);
	rtnl_route_set_protocol(route, RTPROT_STATIC);
	rtnl_route_set_scope(route, (uint8_t)want->scope);
	rtnl_route_set_dst(route, dest);
	if (source)
		rtnl_route_set_pref_src(route, source);
	r = build_hop(route, want, family, err);
	if (r < 0)
		return r;
	r = rtnl_route_add(sock, route, NLM_F_CREATE | NLM_F_REPLACE);
	if (r < 0)
		return netlink_err(err, r, "add the route to %s by %s on %s",
			*want->dest ? err_quote(want->dest, 64) : "everywhere",
			*want->gateway ? err_quote(want->gateway, 64) : "no gateway",
			err_quote(want->device, 32));
	return 0;
}

/* Those to networks first: a gateway must be on one of them. */
static int add_routes(struct nl_sock *sock, const Grpc__Routes *routes, bool by_gateway,
	struct err *err)
{
	for (size_t i = 0; i < routes->n_routes; i++) {
		const Types__Route *want = routes->routes[i];
		int r = 0;

		if ((*want->gateway != '\0') == by_gateway)
			r = add_route(sock, want, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- telling ---- */

static char *address_text(struct nl_addr *a)
{
	char text[64];

	return xstrdup(nl_addr2str(a, text, sizeof(text)));
}

static Types__Route *route_message(struct rtnl_route *route)
{
	Types__Route *out = message_new(&types__route__descriptor);
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);
	struct nl_addr *dest = rtnl_route_get_dst(route);
	struct nl_addr *source = rtnl_route_get_pref_src(route);
	struct nl_addr *gateway = hop ? rtnl_route_nh_get_gateway(hop) : NULL;
	char name[IF_NAMESIZE];

	if (dest && nl_addr_get_prefixlen(dest) > 0)
		out->dest = address_text(dest);
	if (gateway)
		out->gateway = address_text(gateway);
	if (source)
		out->source = address_text(source);
	if (if_indextoname((unsigned int)route_index(route), name))
		out->device = xstrdup(name);
	out->scope = rtnl_route_get_scope(route);
	out->family = rtnl_route_get_family(route) == AF_INET6 ? TYPES__IPFAMILY__v6
							       : TYPES__IPFAMILY__v4;
	out->flags = hop ? rtnl_route_nh_get_flags(hop) & RTNH_F_ONLINK : 0;
	return out;
}

static int list_routes(struct nl_sock *sock, ProtobufCMessage **ret_out, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *routes = NULL;
	Grpc__Routes *out;
	int r = rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, &routes);

	if (r < 0)
		return netlink_err(err, r, "list the routes");
	out = message_new(&grpc__routes__descriptor);
	for (struct nl_object *o = nl_cache_get_first(routes); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;

		if (rtnl_route_get_table(route) == RT_TABLE_MAIN)
			MESSAGE_APPEND(out->n_routes, out->routes, route_message(route));
	}
	*ret_out = &out->base;
	return 0;
}

/* ---- requests ---- */

SERVICE_HANDLER(handle_update_routes)
{
	const Grpc__UpdateRoutesRequest *req = (const Grpc__UpdateRoutesRequest *)in;
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	int r;

	(void)user, (void)request;
	if (!req->routes)
		return err_set(err, -EINVAL, "no routes are given");
	if (req->routes->n_routes > AGENT_NET_LIST_MAX)
		return err_set(err, -E2BIG, "%zu routes, at most %d fit",
			req->routes->n_routes, AGENT_NET_LIST_MAX);
	r = net_open(&sock, err);
	if (r == 0)
		r = flush_routes(sock, err);
	if (r == 0)
		r = add_routes(sock, req->routes, false, err);
	if (r == 0)
		r = add_routes(sock, req->routes, true, err);
	if (r == 0)
		r = list_routes(sock, ret_out, err);
	return r;
}

SERVICE_HANDLER(handle_list_routes)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	int r = net_open(&sock, err);

	(void)user, (void)request, (void)in;
	return r < 0 ? r : list_routes(sock, ret_out, err);
}

static int add_neighbor(
	struct nl_sock *sock, const Types__ARPNeighbor *want, struct err *err)
{
	_cleanup_(neigh) struct rtnl_neigh *neigh = rtnl_neigh_alloc();
	_cleanup_(nl_addr) struct nl_addr *ip = NULL, *mac = NULL;
	uint8_t bytes[6];
	int index, r;

	if (!want->toipaddress)
		return err_set(err, -EINVAL, "a neighbour without an address");
	r = net_parse_address(family_of(want->toipaddress->family),
		want->toipaddress->address, NULL, &ip, err);
	if (r == 0)
		r = net_parse_mac(want->lladdr, bytes, err);
	if (r == 0)
		r = net_index(want->device, &index, err);
	if (r < 0)
		return r;
	mac = nl_addr_build(AF_LLC, bytes, sizeof(bytes));
	rtnl_neigh_set_ifindex(neigh, index);
	rtnl_neigh_set_dst(neigh, ip);
	rtnl_neigh_set_lladdr(neigh, mac);
	rtnl_neigh_set_state(neigh, want->state ? want->state : NUD_PERMANENT);
	if (want->flags)
		rtnl_neigh_set_flags(neigh, (unsigned int)want->flags);
	r = rtnl_neigh_add(sock, neigh, NLM_F_CREATE | NLM_F_REPLACE);
	return r < 0 ? netlink_err(err, r, "add neighbour %s on %s",
			       want->toipaddress->address, want->device)
		     : 0;
}

SERVICE_HANDLER(handle_add_arp_neighbors)
{
	const Grpc__AddARPNeighborsRequest *req =
		(const Grpc__AddARPNeighborsRequest *)in;
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	int r;

	(void)user, (void)request, (void)ret_out;
	if (!req->neighbors)
		return 0;
	if (req->neighbors->n_arpneighbors > AGENT_NET_LIST_MAX)
		return err_set(err, -E2BIG, "%zu neighbours, at most %d fit",
			req->neighbors->n_arpneighbors, AGENT_NET_LIST_MAX);
	r = net_open(&sock, err);
	for (size_t i = 0; r == 0 && i < req->neighbors->n_arpneighbors; i++)
		r = add_neighbor(sock, req->neighbors->arpneighbors[i], err);
	return r;
}
