/* SPDX-License-Identifier: Apache-2.0 */
/* An agent in a network namespace with two interfaces that could be NICs. */
#pragma once

#include "tests/unit/guest_agent.h"

#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>

#include "guest/netlink.h"

static struct guest guest;

#define MAC_A "02:00:00:00:00:0a"
#define MAC_B "02:00:00:00:00:0b"

/* One NIC, with its other end up so that it has a carrier. */
static inline void plug(const char *name, const char *peer, const char *mac)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	struct rtnl_link *link = rtnl_link_veth_alloc(), *up = rtnl_link_alloc();
	struct rtnl_link *other = rtnl_link_veth_get_peer(link);
	_cleanup_(nl_addr) struct nl_addr *address = NULL;
	struct err err = ERR_INIT;
	int index;

	assert_int_equal(net_open(&sock, &err), 0);
	assert_int_equal(nl_addr_parse(mac, AF_LLC, &address), 0);
	rtnl_link_set_name(link, name);
	rtnl_link_set_addr(link, address);
	rtnl_link_set_name(other, peer);
	assert_int_equal(rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL), 0);
	assert_int_equal(net_index(peer, &index, &err), 0);
	rtnl_link_set_ifindex(up, index);
	rtnl_link_set_flags(up, IFF_UP);
	assert_int_equal(rtnl_link_change(sock, up, up, 0), 0);
	rtnl_link_put(up);
	rtnl_link_put(other);
	rtnl_link_veth_release(link);
}

/* A kernel may be started without. */
static inline bool has_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

static inline int begin(void **state)
{
	(void)state;
	guest_start(&guest);
	return 0;
}

static inline int begin_with_nics(void **state)
{
	begin(state);
	plug("eth0", "peer0", MAC_A);
	plug("eth1", "peer1", MAC_B);
	return 0;
}

/* With one end goes the other, and all addresses and routes with them. */
static inline int end(void **state)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	static const char *const peers[] = {"peer0", "peer1"};

	(void)state;
	guest_stop(&guest);
	assert_int_equal(net_open(&sock, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct rtnl_link *link = rtnl_link_alloc();

		rtnl_link_set_name(link, peers[i]);
		rtnl_link_delete(sock, link);
		rtnl_link_put(link);
	}
	return 0;
}

/* What the main table has of ours: "dest gateway device;" each. */
static inline char *routes_text(const Grpc__Routes *routes)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < routes->n_routes; i++) {
		const Types__Route *r = routes->routes[i];
		char *more;

		if (r->family == TYPES__IPFAMILY__v6)
			continue;
		more = xasprintf("%s%s %s %s;", text, *r->dest ? r->dest : "-",
			*r->gateway ? r->gateway : "-", r->device);
		free(text);
		text = more;
	}
	return text;
}
