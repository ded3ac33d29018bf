/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of shim/net share: a socket in the namespace, reading it, one tap and
 * its filters. */
#pragma once

#include <netlink/netlink.h>
#include <netlink/route/link.h>

#include "base/netlink.h"
#include "base/util.h"
#include "shim/net.h"

DEFINE_CLEANUP(nl_sock, struct nl_sock *, nl_socket_free);
DEFINE_CLEANUP(nl_cache, struct nl_cache *, nl_cache_free);
DEFINE_CLEANUP(nl_msg, struct nl_msg *, nlmsg_free);

/* "tap<n>_stncl": one of ours, perhaps of a shim that was killed. */
bool net_is_tap_name(const char *name);

/* Makes the tap of one interface on the opened tun_fd (not taken) and joins the two. On
 * failure nothing stays but what closing tun_fd removes. */
int net_join_one(struct nl_sock *sock, const struct net_interface *i, int tun_fd,
	struct net_nic *nic, struct err *err);
int net_set_tap_mtu(
	struct nl_sock *sock, const char *tap_name, uint32_t mtu, struct err *err);
/* Takes an interface's ingress qdisc away if the filter on it is ours. Fine if it or its
 * interface is gone. */
int net_unfilter(struct nl_sock *sock, int ifindex, struct err *err);
/* Removes a tap even if somebody holds it open; fine if it is gone. */
int net_delete_tap(struct nl_sock *sock, const char *name, struct err *err);

/* ---- a view ---- */

/* libnl gives NULL, or fails to put, for want of memory only: its messages grow. */
static inline void net_must(bool done)
{
	if (!done)
		abort();
}

/* An empty message of the kernel's; does not fail. */
struct nl_msg *net_message_new(int type, int flags);

/* Reads all of the namespace. */
int net_read(struct nl_sock *sock, struct net_view *view, struct err *err);

/*
 * What the kernel dumped, as a request; each adds at most one to the view, and what is
 * not wanted is no error. -E2BIG.
 */
int net_add_links(
	struct net_view *view, struct nl_msg *const *dumped, size_t n, struct err *err);
int net_add_address(struct net_view *view, struct nlmsghdr *dumped, struct err *err);
int net_add_route(struct net_view *view, struct nlmsghdr *dumped, struct err *err);
int net_add_neighbour(struct net_view *view, struct nlmsghdr *dumped, struct err *err);
int net_add_rule(struct net_view *view, struct nlmsghdr *dumped, struct err *err);
/* After all routes. */
int net_add_gone_prefixes(struct net_view *view, struct err *err);

/* Appends a copy of the message. */
int net_view_add(struct net_view *view, enum net_rank rank, int index, struct nl_msg *msg,
	struct err *err);

/* Copies attributes of one message or nest into another: those whose type is a bit of
 * `types`. */
#define NET_ATTRIBUTE(type) (UINT64_C(1) << (type))
void net_copy_attributes(
	struct nl_msg *to, struct nlattr *first, int len, uint64_t types);
void net_put_u32(struct nl_msg *msg, int type, uint32_t value);
