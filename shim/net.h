/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's network namespace: what is in it, and a tap joined to each interface. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent-client/agent.h"
#include "base/err.h"

/*
 * net_scan() reads the namespace with libnl: every interface but lo that has a hardware
 * address, its MTU, MAC, addresses (IPv4 and IPv6, link-local IPv6 left out), and the
 * routes and static neighbours that go through it. net_join() makes a tap beside each in
 * the same namespace and redirects all packets between the two with tc (ingress qdisc,
 * matchall or, in a kernel without it, u32; mirred egress redirect); the interface keeps
 * its addresses so that a CNI's later checks see what they made. net_leave() undoes that
 * exactly.
 */
#define NET_INTERFACES_MAX 32

struct net_interface {
	char name[16]; /* IFNAMSIZ */
	int index;
	uint8_t mac[6];
	uint32_t mtu;
	int tap_fd;        /* -1 until joined */
	char tap_name[16]; /* "tap<index>_stncl" */
};

struct net {
	int netns_fd;
	struct net_interface interfaces[NET_INTERFACES_MAX];
	unsigned int n_interfaces;
	/* For the agent, ready to send; owned here. device = the pod's name of it. Routes
	 * without a gateway come first; what adding an address makes anyway is left out,
	 * and of routes to one destination all but the best. At most AGENT_NET_LIST_MAX
	 * each. */
	Types__Interface **agent_interfaces;
	Types__Route **agent_routes;
	size_t n_agent_routes;
	Types__ARPNeighbor **agent_neighbors;
	size_t n_agent_neighbors;
};

/* -ENOENT: there is no namespace (any more): no such file, or the file it was mounted
 * on. */
int net_open_path(const char *path, int *ret_fd, struct err *err);

/* netns: a path ("/run/netns/x", "/proc/<pid>/ns/net"). Errors name it. */
int net_scan(const char *netns, struct net **ret, struct err *err);
/* All or nothing. -EEXIST: an interface has an ingress or clsact qdisc of somebody
 * else's. */
int net_join(struct net *net, struct err *err);
/* Removes taps, filters and the ingress qdiscs that net_join() made. Idempotent, works
 * when the namespace's interfaces are gone. */
int net_leave(struct net *net, struct err *err);
/* The same for `delete` after a crash: finds what was made in netns by the taps' names
 * and the filters' priority; a namespace that is gone is fine. */
int net_cleanup(const char *netns, struct err *err);
void net_free(struct net *net); /* closes fds; leaves the namespace as it is */
