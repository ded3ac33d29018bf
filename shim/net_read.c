/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a network namespace, as the agent wants to be told it. See net.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if_arp.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <string.h>

#include "base/log.h"
#include "shim/net_internal.h"

/* ---- text ---- */

/* An address without its prefix; "" for none. The caller's. */
static char *address_text(struct nl_addr *addr)
{
	char buf[INET6_ADDRSTRLEN];

	if (!addr || !inet_ntop(nl_addr_get_family(addr), nl_addr_get_binary_addr(addr),
			     buf, sizeof(buf)))
		return xstrdup("");
	return xstrdup(buf);
}

/* A destination with its prefix; "" is the default route. */
static char *prefix_text(struct nl_addr *addr)
{
	_cleanup_free_ char *text = NULL;

	if (!addr || nl_addr_get_prefixlen(addr) == 0)
		return xstrdup("");
	text = address_text(addr);
	return xasprintf("%s/%u", text, nl_addr_get_prefixlen(addr));
}

static char *mac_text(struct nl_addr *addr)
{
	const unsigned char *m = nl_addr_get_binary_addr(addr);

	return xasprintf(
		"%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static Types__IPFamily family_of(int family)
{
	return family == AF_INET6 ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
}

static bool is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

/* Its place in net->interfaces, or -1. */
static int find_interface(const struct net *net, int ifindex)
{
	for (unsigned int i = 0; i < net->n_interfaces; i++)
		if (net->interfaces[i].index == ifindex)
			return (int)i;
	return -1;
}

/* ---- interfaces ---- */

/* Not lo, not a tap of ours, not the address-less devices that tunnel modules put into
 * every namespace. */
static bool is_wanted(struct rtnl_link *link)
{
	static const unsigned char none[6];
	struct nl_addr *mac = rtnl_link_get_addr(link);

	return !(rtnl_link_get_flags(link) & IFF_LOOPBACK) &&
	       rtnl_link_get_arptype(link) == ARPHRD_ETHER && mac &&
	       nl_addr_get_len(mac) == sizeof(none) &&
	       memcmp(nl_addr_get_binary_addr(mac), none, sizeof(none)) != 0 &&
	       !net_is_tap_name(rtnl_link_get_name(link));
}

static Types__Interface *interface_message(struct rtnl_link *link)
{
	Types__Interface *m = xnew0(Types__Interface);
	const char *name = rtnl_link_get_name(link), *type = rtnl_link_get_type(link);

	types__interface__init(m);
	m->device = xstrdup(name);
	m->name = xstrdup(name);
	m->mtu = rtnl_link_get_mtu(link);
	m->hwaddr = mac_text(rtnl_link_get_addr(link));
	m->type = xstrdup(type ? type : "");
	m->raw_flags = rtnl_link_get_flags(link) & IFF_NOARP;
	return m;
}

static int add_interface(struct net *net, struct rtnl_link *link, struct err *err)
{
	unsigned int at = net->n_interfaces;
	struct net_interface *i;

	if (at == NET_INTERFACES_MAX)
		return err_set(err, -E2BIG, "it has more than %d interfaces",
			NET_INTERFACES_MAX);
	/* In the order of their indices, whatever the order of the dump. */
	for (; at > 0 && net->interfaces[at - 1].index > rtnl_link_get_ifindex(link);
		at--) {
		net->interfaces[at] = net->interfaces[at - 1];
		net->agent_interfaces[at] = net->agent_interfaces[at - 1];
	}
	net->n_interfaces++;
	i = &net->interfaces[at];
	*i = (struct net_interface){.tap_fd = -1,
		.index = rtnl_link_get_ifindex(link),
		.mtu = rtnl_link_get_mtu(link)};
	snprintf(i->name, sizeof(i->name), "%s", rtnl_link_get_name(link));
	memcpy(i->mac, nl_addr_get_binary_addr(rtnl_link_get_addr(link)), sizeof(i->mac));
	net->agent_interfaces[at] = interface_message(link);
	return 0;
}

static int read_links(struct net *net, struct nl_sock *sock, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *cache = NULL;
	int r;

	net->agent_interfaces =
		xzalloc(NET_INTERFACES_MAX * sizeof(*net->agent_interfaces));
	r = rtnl_link_alloc_cache(sock, AF_UNSPEC, &cache);
	if (r < 0)
		return netlink_err(err, r, "cannot list its interfaces");
	r = 0;
	for (struct nl_object *o = nl_cache_get_first(cache); o && r == 0;
		o = nl_cache_get_next(o))
		if (is_wanted((struct rtnl_link *)o))
			r = add_interface(net, (struct rtnl_link *)o, err);
	return r;
}

/* ---- addresses ---- */

static void add_address(Types__Interface *to, struct rtnl_addr *addr)
{
	Types__IPAddress *m = xnew0(Types__IPAddress);

	types__ipaddress__init(m);
	m->family = family_of(rtnl_addr_get_family(addr));
	m->address = address_text(rtnl_addr_get_local(addr));
	m->mask = xasprintf("%d", rtnl_addr_get_prefixlen(addr));
	to->ipaddresses = xreallocarray(
		to->ipaddresses, to->n_ipaddresses + 1, sizeof(*to->ipaddresses));
	to->ipaddresses[to->n_ipaddresses++] = m;
}

static int read_addresses(struct net *net, struct nl_sock *sock, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *cache = NULL;
	int r;

	r = rtnl_addr_alloc_cache(sock, &cache);
	if (r < 0)
		return netlink_err(err, r, "cannot list its addresses");
	for (struct nl_object *o = nl_cache_get_first(cache); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_addr *addr = (struct rtnl_addr *)o;
		int i = find_interface(net, rtnl_addr_get_ifindex(addr));
		int family = rtnl_addr_get_family(addr);

		/* The guest makes its own link-local address. */
		if (i < 0 || !is_ip(family) ||
			(family == AF_INET6 &&
				rtnl_addr_get_scope(addr) == RT_SCOPE_LINK))
			continue;
		add_address(net->agent_interfaces[i], addr);
	}
	return 0;
}

/* ---- routes ---- */

/* Does the kernel itself make this route when the guest adds the addresses we tell it? */
static bool comes_with_address(const Types__Interface *interface, const char *dest)
{
	unsigned char net[16], own[16];
	char prefix[INET6_ADDRSTRLEN + 4];
	unsigned int bits;

	snprintf(prefix, sizeof(prefix), "%s", dest);
	if (!strchr(prefix, '/'))
		return false;
	bits = (unsigned int)strtoul(strchr(prefix, '/') + 1, NULL, 10);
	*strchr(prefix, '/') = '\0';
	for (size_t i = 0; i < interface->n_ipaddresses; i++) {
		const Types__IPAddress *a = interface->ipaddresses[i];
		int family = a->family == TYPES__IPFAMILY__v6 ? AF_INET6 : AF_INET;
		unsigned int whole = bits / 8, rest = bits % 8;

		if (strtoul(a->mask, NULL, 10) != bits ||
			inet_pton(family, prefix, net) != 1 ||
			inet_pton(family, a->address, own) != 1)
			continue;
		if (memcmp(net, own, whole) == 0 &&
			(rest == 0 || (net[whole] ^ own[whole]) >> (8 - rest) == 0))
			return true;
	}
	return false;
}

static Types__Route *route_message(
	struct rtnl_route *route, struct rtnl_nexthop *hop, const char *device)
{
	Types__Route *m = xnew0(Types__Route);

	types__route__init(m);
	m->dest = prefix_text(rtnl_route_get_dst(route));
	m->gateway = address_text(rtnl_route_nh_get_gateway(hop));
	m->device = xstrdup(device);
	m->source = address_text(rtnl_route_get_pref_src(route));
	m->scope = rtnl_route_get_scope(route);
	m->family = family_of(rtnl_route_get_family(route));
	m->flags = rtnl_route_nh_get_flags(hop) & RTNH_F_ONLINK;
	return m;
}

/* Routes that need no gateway come first: a gateway must be reachable before it is
 * named. */
static void insert_route(struct net *net, Types__Route *m)
{
	size_t at = net->n_agent_routes++;

	net->agent_routes = xreallocarray(
		net->agent_routes, net->n_agent_routes, sizeof(*net->agent_routes));
	for (; !*m->gateway && at > 0 && *net->agent_routes[at - 1]->gateway; at--)
		net->agent_routes[at] = net->agent_routes[at - 1];
	net->agent_routes[at] = m;
}

/* The interface that its (first) next hop goes through: its place in net->interfaces, or
 * -1. */
static int route_interface(const struct net *net, struct rtnl_route *route)
{
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);

	return hop ? find_interface(net, rtnl_route_nh_get_ifindex(hop)) : -1;
}

static bool is_made_by_guest(const struct net *net, struct rtnl_route *route)
{
	_cleanup_free_ char *dest = prefix_text(rtnl_route_get_dst(route));
	int i = route_interface(net, route);

	return rtnl_route_get_protocol(route) == RTPROT_KERNEL &&
	       (comes_with_address(net->agent_interfaces[i], dest) ||
		       strncmp(dest, "fe80:", 5) == 0);
}

static void add_route(struct net *net, struct rtnl_route *route)
{
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);
	int i = route_interface(net, route);
	Types__Route *m;

	if (is_made_by_guest(net, route))
		return;
	m = route_message(route, hop, net->interfaces[i].name);
	/* The agent's protocol has one gateway of the route's own family a route. */
	if (rtnl_route_get_nnexthops(route) > 1)
		log_warn("route to \"%s\": only the first of its %d next hops reaches "
			 "the guest",
			m->dest, rtnl_route_get_nnexthops(route));
	if (rtnl_route_nh_get_via(hop)) {
		log_warn("route to \"%s\": its gateway is of another family, the guest "
			 "goes without",
			m->dest);
		types__route__free_unpacked(m, NULL);
		return;
	}
	insert_route(net, m);
}

/* The routes that a pod's packets may take, as the namespace has them. */
struct route_list {
	struct rtnl_route *routes[AGENT_NET_LIST_MAX];
	size_t n;
};

static bool is_same_destination(struct rtnl_route *a, struct rtnl_route *b)
{
	struct nl_addr *to_a = rtnl_route_get_dst(a), *to_b = rtnl_route_get_dst(b);
	unsigned int bits_a = to_a ? nl_addr_get_prefixlen(to_a) : 0;
	unsigned int bits_b = to_b ? nl_addr_get_prefixlen(to_b) : 0;

	return rtnl_route_get_family(a) == rtnl_route_get_family(b) && bits_a == bits_b &&
	       (bits_a == 0 || nl_addr_cmp(to_a, to_b) == 0);
}

static void log_left_out(
	const struct net *net, struct rtnl_route *route, struct rtnl_route *better)
{
	_cleanup_free_ char *dest = prefix_text(rtnl_route_get_dst(route));

	if (is_made_by_guest(net, route))
		return;
	log_warn("route to \"%s\" of metric %u does not reach the guest: there is one of "
		 "metric %u",
		dest, rtnl_route_get_priority(route), rtnl_route_get_priority(better));
}

/*
 * The agent's protocol has no metric: of two routes to one destination the one that the
 * guest is told last would replace the other, even the route that came with an address.
 * So there is one for each, the best; of equals the first.
 */
static int list_route(const struct net *net, struct route_list *list,
	struct rtnl_route *route, struct err *err)
{
	size_t at = 0;

	while (at < list->n && !is_same_destination(list->routes[at], route))
		at++;
	if (at == AGENT_NET_LIST_MAX)
		return err_set(
			err, -E2BIG, "it has more than %d routes", AGENT_NET_LIST_MAX);
	if (at == list->n) {
		list->routes[list->n++] = route;
	} else if (rtnl_route_get_priority(route) <
		   rtnl_route_get_priority(list->routes[at])) {
		log_left_out(net, list->routes[at], route);
		list->routes[at] = route;
	} else {
		log_left_out(net, route, list->routes[at]);
	}
	return 0;
}

static bool is_route_wanted(const struct net *net, struct rtnl_route *route)
{
	return is_ip(rtnl_route_get_family(route)) &&
	       rtnl_route_get_table(route) == RT_TABLE_MAIN &&
	       rtnl_route_get_type(route) == RTN_UNICAST &&
	       route_interface(net, route) >= 0;
}

static int read_routes(struct net *net, struct nl_sock *sock, struct err *err)
{
	_cleanup_free_ struct route_list *list = xnew0(struct route_list);
	_cleanup_(nl_cache) struct nl_cache *cache = NULL;
	int r;

	r = rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, &cache);
	if (r < 0)
		return netlink_err(err, r, "cannot list its routes");
	for (struct nl_object *o = nl_cache_get_first(cache); o;
		o = nl_cache_get_next(o)) {
		if (!is_route_wanted(net, (struct rtnl_route *)o))
			continue;
		r = list_route(net, list, (struct rtnl_route *)o, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < list->n; i++)
		add_route(net, list->routes[i]);
	return 0;
}

/* ---- neighbours ---- */

static void add_neighbor(struct net *net, struct rtnl_neigh *neigh, const char *device)
{
	Types__ARPNeighbor *m = xnew0(Types__ARPNeighbor);

	types__arpneighbor__init(m);
	m->toipaddress = xnew0(Types__IPAddress);
	types__ipaddress__init(m->toipaddress);
	m->toipaddress->family = family_of(rtnl_neigh_get_family(neigh));
	m->toipaddress->address = address_text(rtnl_neigh_get_dst(neigh));
	m->device = xstrdup(device);
	m->lladdr = mac_text(rtnl_neigh_get_lladdr(neigh));
	m->state = rtnl_neigh_get_state(neigh);
	m->flags = (int32_t)rtnl_neigh_get_flags(neigh);
	net->agent_neighbors = xreallocarray(net->agent_neighbors,
		net->n_agent_neighbors + 1, sizeof(*net->agent_neighbors));
	net->agent_neighbors[net->n_agent_neighbors++] = m;
}

static int read_neighbors(struct net *net, struct nl_sock *sock, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *cache = NULL;
	int r;

	r = rtnl_neigh_alloc_cache(sock, &cache);
	if (r < 0)
		return netlink_err(err, r, "cannot list its neighbours");
	for (struct nl_object *o = nl_cache_get_first(cache); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_neigh *neigh = (struct rtnl_neigh *)o;
		struct nl_addr *mac = rtnl_neigh_get_lladdr(neigh);
		int i = find_interface(net, rtnl_neigh_get_ifindex(neigh));

		if (i < 0 || !is_ip(rtnl_neigh_get_family(neigh)) || !mac ||
			nl_addr_get_len(mac) != 6 ||
			!(rtnl_neigh_get_state(neigh) & NUD_PERMANENT))
			continue;
		if (net->n_agent_neighbors == AGENT_NET_LIST_MAX)
			return err_set(err, -E2BIG, "it has more than %d neighbours",
				AGENT_NET_LIST_MAX);
		add_neighbor(net, neigh, net->interfaces[i].name);
	}
	return 0;
}

int net_read(struct net *net, struct nl_sock *sock, struct err *err)
{
	int r;

	r = read_links(net, sock, err);
	if (r == 0)
		r = read_addresses(net, sock, err);
	if (r == 0)
		r = read_routes(net, sock, err);
	if (r == 0)
		r = read_neighbors(net, sock, err);
	return r;
}
