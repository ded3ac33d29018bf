/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's interfaces as Kata's messages have them: found by hardware address as they
 * are plugged, named and addressed. */
#include <errno.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <string.h>

#include "agent-client/agent.h"
#include "agent-client/proto/agent.pb-c.h"
#include "guest/message.h"
#include "guest/netlink.h"
#include "guest/nic.h"
#include "guest/service.h"

DEFINE_CLEANUP(rtnl_addr, struct rtnl_addr *, rtnl_addr_put);

static void set_mtu_and_up(struct rtnl_link *link, const void *mtu)
{
	if (*(const uint64_t *)mtu)
		rtnl_link_set_mtu(link, (unsigned int)*(const uint64_t *)mtu);
	rtnl_link_set_flags(link, IFF_UP);
}

static int flush_addresses(struct nl_sock *sock, int index, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *addrs = NULL;
	int r = rtnl_addr_alloc_cache(sock, &addrs);

	if (r < 0)
		return netlink_err(err, r, "list the addresses");
	for (struct nl_object *o = nl_cache_get_first(addrs); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;

		if (rtnl_addr_get_ifindex(a) != index)
			continue;
		r = rtnl_addr_delete(sock, a, 0);
		/* An address of the same network took its secondary ones with it. */
		if (r < 0 && r != -NLE_NOADDR)
			return netlink_err(err, r, "remove an address");
	}
	return 0;
}

static int add_address(
	struct nl_sock *sock, int index, const Types__IPAddress *ip, struct err *err)
{
	int family = ip->family == TYPES__IPFAMILY__v6 ? AF_INET6 : AF_INET;
	_cleanup_(rtnl_addr) struct rtnl_addr *addr = rtnl_addr_alloc();
	_cleanup_(nl_addr) struct nl_addr *local = NULL;
	int r = net_parse_address(family, ip->address, ip->mask, &local, err);

	if (r < 0)
		return r;
	rtnl_addr_set_ifindex(addr, index);
	rtnl_addr_set_local(addr, local);
	/* The pod's own address on the host would be found a duplicate,
	 * and it is wanted now. */
	if (family == AF_INET6)
		rtnl_addr_set_flags(addr, IFA_F_NODAD);
	r = rtnl_addr_add(sock, addr, NLM_F_REPLACE);
	return r < 0 ? netlink_err(err, r, "add address %s/%s", ip->address, ip->mask)
		     : 0;
}

static int configure_link(struct nl_sock *sock, struct rtnl_link *link,
	const Types__Interface *want, const char *name, struct err *err)
{
	int index = rtnl_link_get_ifindex(link), r;

	r = nic_rename(sock, link, name, err);
	if (r == 0)
		r = flush_addresses(sock, index, err);
	if (r < 0)
		return r;
	r = nic_change(sock, index, set_mtu_and_up, &want->mtu);
	if (r < 0)
		return netlink_err(err, r, "set interface %s up with MTU %llu", name,
			(unsigned long long)want->mtu);
	for (size_t i = 0; r == 0 && i < want->n_ipaddresses; i++)
		r = add_address(sock, index, want->ipaddresses[i], err);
	return r;
}

/* ---- telling ---- */

static Types__IPAddress *address_message(struct rtnl_addr *a)
{
	Types__IPAddress *out = message_new(&types__ipaddress__descriptor);
	struct nl_addr *local = rtnl_addr_get_local(a);
	char text[64];

	nl_addr2str(local, text, sizeof(text));
	text[strcspn(text, "/")] = '\0';
	out->family = rtnl_addr_get_family(a) == AF_INET6 ? TYPES__IPFAMILY__v6
							  : TYPES__IPFAMILY__v4;
	out->address = xstrdup(text);
	out->mask = xasprintf("%d", rtnl_addr_get_prefixlen(a));
	return out;
}

static Types__Interface *interface_message(struct rtnl_link *link, struct nl_cache *addrs)
{
	Types__Interface *out = message_new(&types__interface__descriptor);
	struct nl_addr *mac = rtnl_link_get_addr(link);
	const char *type = rtnl_link_get_type(link);
	char text[64];

	out->name = xstrdup(rtnl_link_get_name(link));
	out->device = xstrdup(out->name);
	out->mtu = rtnl_link_get_mtu(link);
	if (mac)
		out->hwaddr = xstrdup(nl_addr2str(mac, text, sizeof(text)));
	if (type)
		out->type = xstrdup(type);
	out->raw_flags = rtnl_link_get_flags(link);
	for (struct nl_object *o = nl_cache_get_first(addrs); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;

		if (rtnl_addr_get_ifindex(a) == rtnl_link_get_ifindex(link) &&
			rtnl_addr_get_local(a))
			MESSAGE_APPEND(
				out->n_ipaddresses, out->ipaddresses, address_message(a));
	}
	return out;
}

static int interface_now(
	struct nl_sock *sock, int index, Types__Interface **ret, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *addrs = NULL;
	_cleanup_(link) struct rtnl_link *link = NULL;
	int r = rtnl_link_get_kernel(sock, index, NULL, &link);

	if (r == 0)
		r = rtnl_addr_alloc_cache(sock, &addrs);
	if (r < 0)
		return netlink_err(err, r, "read the interface back");
	*ret = interface_message(link, addrs);
	return 0;
}

/* ---- requests ---- */

SERVICE_HANDLER(handle_update_interface)
{
	const Grpc__UpdateInterfaceRequest *req =
		(const Grpc__UpdateInterfaceRequest *)in;
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	_cleanup_(link) struct rtnl_link *link = NULL;
	const Types__Interface *want = req->interface;
	Types__Interface *now = NULL;
	const char *name;
	uint8_t mac[6];
	int r;

	(void)user;
	if (!want)
		return err_set(err, -EINVAL, "no interface is given");
	name = *want->name ? want->name : want->device;
	r = nic_check_name(name, err);
	if (r < 0)
		return r;
	if (want->n_ipaddresses > AGENT_NET_LIST_MAX || want->mtu > 65535)
		return err_set(err, -EINVAL,
			"interface %s: too many addresses, or too large an MTU", name);
	r = net_parse_mac(want->hwaddr, mac, err);
	if (r == 0)
		r = net_open(&sock, err);
	if (r == 0)
		r = nic_wait(sock, mac, want->hwaddr, request, &link, err);
	if (r == 0)
		r = configure_link(sock, link, want, name, err);
	if (r == 0)
		r = interface_now(sock, rtnl_link_get_ifindex(link), &now, err);
	if (r == 0)
		*ret_out = &now->base;
	return r;
}

SERVICE_HANDLER(handle_list_interfaces)
{
	_cleanup_(nl_cache) struct nl_cache *links = NULL, *addrs = NULL;
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	Grpc__Interfaces *out;
	int r = net_open(&sock, err);

	(void)user, (void)request, (void)in;
	if (r < 0)
		return r;
	r = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);
	if (r == 0)
		r = rtnl_addr_alloc_cache(sock, &addrs);
	if (r < 0)
		return netlink_err(err, r, "list the interfaces");
	out = message_new(&grpc__interfaces__descriptor);
	for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o))
		MESSAGE_APPEND(out->n_interfaces, out->interfaces,
			interface_message((struct rtnl_link *)o, addrs));
	*ret_out = &out->base;
	return 0;
}
