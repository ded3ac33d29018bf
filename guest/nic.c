/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's NICs, found as they are plugged, and their names: see nic.h. */
#include "guest/nic.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "guest/service.h"
#include "guest/wait.h"

/* More than the VM has ports for. */
#define NICS_MAX 64

/* ---- finding ---- */

static bool has_mac(struct rtnl_link *link, const uint8_t mac[6])
{
	struct nl_addr *a = rtnl_link_get_addr(link);

	return a && nl_addr_get_len(a) == 6 &&
	       memcmp(nl_addr_get_binary_addr(a), mac, 6) == 0;
}

/* The first one: what is made over a NIC may have its address. */
static int find_link(struct nl_sock *sock, const uint8_t mac[6], struct rtnl_link **ret,
	struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *links = NULL;
	struct rtnl_link *first = NULL;
	int r = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);

	if (r < 0)
		return netlink_err(err, r, "list the interfaces");
	for (struct nl_object *o = nl_cache_get_first(links); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_link *link = (struct rtnl_link *)o;

		if (has_mac(link, mac) &&
			(!first || rtnl_link_get_ifindex(link) <
					   rtnl_link_get_ifindex(first)))
			first = link;
	}
	if (!first)
		return -ENOENT;
	nl_object_get((struct nl_object *)first);
	*ret = first;
	return 0;
}

/* Takes what has come; the contents don't matter, the list is read again. */
static void drain_events(int fd)
{
	char buf[4096];

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC) >= 0 ||
		errno == ENOBUFS)
		continue;
}

int nic_wait(struct nl_sock *sock, const uint8_t mac[6], const char *mac_text,
	struct ttrpc_request *request, struct rtnl_link **ret, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *events = NULL;
	int64_t deadline = service_deadline(request);
	int r = net_open(&events, err);

	if (r < 0)
		return r;
	/* Joined before the first look: nothing that comes after it is missed. */
	r = nl_socket_add_membership(events, RTNLGRP_LINK);
	if (r < 0)
		return netlink_err(err, r, "listen to interface events");
	while ((r = find_link(sock, mac, ret, err)) == -ENOENT) {
		r = wait_either(nl_socket_get_fd(events), POLLIN,
			ttrpc_request_closed_fd(request), deadline);
		if (r < 0)
			return err_sys(err, r, "wait for an interface with address %s",
				mac_text);
		drain_events(nl_socket_get_fd(events));
	}
	return r;
}

/* ---- changing ---- */

int nic_change(struct nl_sock *sock, int index,
	void (*set)(struct rtnl_link *, const void *), const void *arg)
{
	_cleanup_(link) struct rtnl_link *which = rtnl_link_alloc();
	_cleanup_(link) struct rtnl_link *changes = rtnl_link_alloc();

	if (!which || !changes)
		return -NLE_NOMEM;
	rtnl_link_set_ifindex(which, index);
	set(changes, arg);
	/* Two objects: libnl leaves a name out that both have, to spare a change. */
	return rtnl_link_change(sock, which, changes, 0);
}

static void set_name(struct rtnl_link *link, const void *name)
{
	rtnl_link_set_name(link, name);
}

static void set_down(struct rtnl_link *link, const void *arg)
{
	(void)arg;
	rtnl_link_unset_flags(link, IFF_UP);
}

/* The kernel may have given the name to another NIC of ours: that one waits for its own
 * request under a name that nobody asks for. */
static int move_aside(struct nl_sock *sock, const char *name, struct err *err)
{
	unsigned int other = if_nametoindex(name);
	char aside[IF_NAMESIZE];
	int r;

	if (other == 0)
		return 0;
	snprintf(aside, sizeof(aside), "plug%u", other);
	r = nic_change(sock, (int)other, set_down, NULL);
	if (r == 0)
		r = nic_change(sock, (int)other, set_name, aside);
	return r < 0 ? netlink_err(err, r, "move interface %s aside", name) : 0;
}

int nic_rename(
	struct nl_sock *sock, struct rtnl_link *link, const char *name, struct err *err)
{
	int index = rtnl_link_get_ifindex(link), r;

	if (strcmp(rtnl_link_get_name(link), name) == 0)
		return 0;
	/* A name can't be changed while the interface is up. */
	r = nic_change(sock, index, set_down, NULL);
	/* A NIC that is plugged just now may take the name between the two steps: again,
	 * as often as there may be NICs. */
	for (int turn = 0; r == 0 && turn < NICS_MAX; turn++) {
		r = move_aside(sock, name, err);
		if (r < 0)
			return r;
		r = nic_change(sock, index, set_name, name);
		if (r != -NLE_EXIST)
			break;
		r = turn < NICS_MAX - 1 ? 0 : r;
	}
	return r < 0 ? netlink_err(err, r, "rename interface %s to %s",
			       rtnl_link_get_name(link), name)
		     : 0;
}

int nic_check_name(const char *name, struct err *err)
{
	if (*name == '\0' || strlen(name) >= IF_NAMESIZE || strpbrk(name, "/: \t\n") ||
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, -EINVAL, "%s is not an interface's name",
			err_quote(name, 32));
	return 0;
}
