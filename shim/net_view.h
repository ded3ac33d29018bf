/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a network namespace at a time, and what has changed between two times. */
#pragma once

#include <google/protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

/*
 * The kernel's own messages (rtnetlink) say all there is to say of an interface, an
 * address, a route, a rule or a neighbour. So a view is a list of them: each as a request
 * that makes what it is about, without what changes by itself (lifetimes, counters) or is
 * the kernel's to set. The guest's kernel gets them; see UpdateNetwork in agent.proto.
 *
 * Not in a view: what the guest's kernel makes by itself (the local table's routes of
 * its addresses), interfaces that are no Ethernet, neighbours that are not permanent, our
 * own taps; and whatever goes through one of these.
 */
#define NET_NICS_MAX       32
#define NET_INTERFACES_MAX 128
#define NET_MESSAGES_MAX   8192

/* In this order they are made, and in the reverse one undone. */
enum net_rank {
	NET_LINK_NEW, /* an interface that the guest makes itself: a VLAN, a bridge, … */
	NET_LINK_SET, /* flags, MTU and so on, of each */
	NET_ADDRESS,
	NET_ADDRESS_V6,
	NET_PREFIX_GONE, /* the route that an address brings, where somebody removed it */
	NET_ROUTE,
	NET_ROUTE_BY_GATEWAY, /* which one of the others must lead to */
	NET_NEIGHBOUR,
	NET_RULE,
};

struct net_message {
	enum net_rank rank;
	int index; /* of the interface that it is about; 0: none */
	size_t size;
	void *data;
};

struct net_interface {
	char name[16]; /* IFNAMSIZ */
	int index;
	uint8_t mac[6];
	uint32_t mtu;
	bool is_up;
	bool is_nic; /* not lo, and none that the guest makes itself */
};

struct net_view {
	struct net_interface *interfaces; /* by index */
	unsigned int n_interfaces;
	struct net_message *messages; /* by rank */
	size_t n_messages;
};

void net_view_free(struct net_view *view); /* NULL is fine */
DEFINE_CLEANUP(net_view, struct net_view *, net_view_free);

const struct net_interface *net_view_find(const struct net_view *view, int index);

/* Requests in the order in which they are to be made. */
struct net_change {
	ProtobufCBinaryData *messages;
	size_t n_messages;
};

/*
 * What makes `to` of `from` (NULL: of a new namespace): first *ret_gone, then
 * *ret_new. Of an interface that has changed itself, or its addresses, everything is told
 * again: the kernel may have dropped some of it on the way. What is about an interface
 * that `skip` names is left out.
 */
struct net_comparison {
	const struct net_view *from, *to;
	bool (*skip)(void *user, int index);
	void *user;
};
void net_compare(const struct net_comparison *c, struct net_change *ret_gone,
	struct net_change *ret_new);
void net_change_done(struct net_change *change);
