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

/*
 * Opens a route socket and n_tuns /dev/net/tun in the namespace. Both belong for ever to
 * the namespace they were opened in, so that is all that has to happen there: a thread
 * that ends at once does it, and no thread of ours ever changes its namespace and comes
 * back.
 */
int net_open_inside(int netns_fd, struct nl_sock **ret_sock, int *tun_fds,
	unsigned int n_tuns, struct err *err);

/* "tap<n>_stncl": one of ours, perhaps of a shim that was killed. */
bool net_is_tap_name(const char *name);

/* Fills interfaces and the agent's messages of *net. */
int net_read(struct net *net, struct nl_sock *sock, struct err *err);

/* Makes the tap of one interface on the opened tun_fd (not taken) and joins the two. On
 * failure nothing stays but what closing tun_fd removes. */
int net_join_one(
	struct nl_sock *sock, struct net_interface *i, int tun_fd, struct err *err);
/* Takes an interface's ingress qdisc away if the filter on it is ours. Fine if it or its
 * interface is gone. */
int net_unfilter(struct nl_sock *sock, int ifindex, struct err *err);
/* Removes a tap even if somebody holds it open; fine if it is gone. */
int net_delete_tap(struct nl_sock *sock, const char *name, struct err *err);
