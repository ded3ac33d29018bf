/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's network namespace: looking at it, hearing of changes, a tap joined to each of
 * its interfaces that the guest gets a NIC for. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/util.h"
#include "shim/net_view.h"

struct nl_sock;

/* A tap beside an interface, in the same namespace, to which tc redirects all packets of
 * the two. The interface keeps its addresses, so that a CNI's later checks see what they
 * made. */
struct net_nic {
	int index; /* of the interface */
	uint8_t mac[6];
	uint32_t mtu;
	int tap_fd;
	char tap_name[16]; /* "tap<index>_stncl" */
	unsigned int port; /* where it is plugged; NET_UNPLUGGED */
};
#define NET_UNPLUGGED UINT32_MAX

struct net {
	int netns_fd;
	struct nl_sock *sock, *events; /* in the namespace */
	struct net_nic nics[NET_NICS_MAX];
	unsigned int n_nics;
};

/* -ENOENT: there is no namespace (any more): no such file, or the file it was mounted
 * on. -EPERM: it is the host's. */
int net_open_path(const char *path, int *ret_fd, struct err *err);

/* A stream socket of the namespace, as if one of its processes had made it: 0 or a
 * negative errno. */
int net_open_socket(int netns_fd, int family, int *ret_fd);

/* Whether a datagram socket in the namespace is bound to an address of IPv4, in the
 * host's byte order. */
int net_has_datagram_socket(int netns_fd, uint32_t address, bool *ret, struct err *err);

/* netns_fd is not taken. From here on events tell of changes. */
int net_new(int netns_fd, struct net **ret, struct err *err);
/* Closes what is open; leaves the namespace as it is. NULL is fine. */
void net_free(struct net *net);

/* Readable after a change of anything that a view has, and of more. */
int net_events_fd(const struct net *net);
/* What was told is forgotten: to be called before net_scan(), so that what comes later is
 * not missed. */
void net_forget_events(struct net *net);
/* The caller's, net_view_free(). */
int net_scan(struct net *net, struct net_view **ret, struct err *err);

/* All or nothing. -EEXIST: it has an ingress or clsact qdisc of somebody else's. */
int net_join(struct net *net, const struct net_interface *i, struct net_nic **ret,
	struct err *err);
struct net_nic *net_find_nic(struct net *net, int index);
/* The interface's MTU has changed: the tap's follows. */
int net_follow_mtu(struct net *net, struct net_nic *nic, uint32_t mtu, struct err *err);
/* Removes tap and filters; fine if the interface is gone. The places of other NICs in the
 * array change. */
int net_leave_nic(struct net *net, struct net_nic *nic, struct err *err);
/* The same of all. Idempotent. */
int net_leave(struct net *net, struct err *err);
/* The same for `delete` after a crash: finds what was made in netns by the taps' names
 * and the filters' priority; a namespace that is gone is fine. */
int net_cleanup(const char *netns, struct err *err);
