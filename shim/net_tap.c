/* SPDX-License-Identifier: Apache-2.0 */
/* A tap beside an interface, and the tc filters that make the two one wire. See net.h. */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <string.h>
#include <sys/ioctl.h>

#include "shim/net_internal.h"

#define TAP_SUFFIX "_stncl"

/* Tells our filter from another's: its priority, which nobody chooses by accident. */
#define FILTER_PRIO 57431

#define INGRESS_HANDLE TC_H_MAKE(TC_H_INGRESS, 0)
#define INGRESS_PARENT TC_H_INGRESS

DEFINE_CLEANUP(link, struct rtnl_link *, rtnl_link_put);
DEFINE_CLEANUP(qdisc, struct rtnl_qdisc *, rtnl_qdisc_put);
DEFINE_CLEANUP(cls, struct rtnl_cls *, rtnl_cls_put);
DEFINE_CLEANUP(act, struct rtnl_act *, rtnl_act_put);

bool net_is_tap_name(const char *name)
{
	size_t digits; /* hexadecimal: an index may grow for years */

	if (strncmp(name, "tap", 3) != 0)
		return false;
	digits = strspn(name + 3, "0123456789abcdef");
	return digits > 0 && strcmp(name + 3 + digits, TAP_SUFFIX) == 0;
}

/* ---- the tap ---- */

static int make_tap(struct net_nic *nic, int tun_fd, struct err *err)
{
	/* TUN_EXCL: never one that is there already. VNET_HDR: the guest's offloads
	 * work. */
	struct ifreq ifr = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};
	int n = snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "tap%x" TAP_SUFFIX,
		(unsigned int)nic->index);

	if (n >= (int)sizeof(ifr.ifr_name))
		return err_set(
			err, -ERANGE, "interface index %d is too large", nic->index);
	if (ioctl(tun_fd, TUNSETIFF, &ifr) < 0)
		return err_sys(err, errno, "cannot make the tap %s", ifr.ifr_name);
	memcpy(nic->tap_name, ifr.ifr_name, sizeof(nic->tap_name));
	return 0;
}

/* Gives the tap its MTU and brings it up, with no IPv6 address and so no traffic of its
 * own. */
static int start_tap(
	struct nl_sock *sock, const struct net_nic *nic, int *ret_index, struct err *err)
{
	_cleanup_(link) struct rtnl_link *tap = NULL, *change = or_die(rtnl_link_alloc());
	int r;

	r = rtnl_link_get_kernel(sock, 0, nic->tap_name, &tap);
	if (r < 0)
		return netlink_err(err, r, "cannot find the tap %s", nic->tap_name);
	rtnl_link_set_mtu(change, nic->mtu);
	/* Not every kernel has IPv6: then there is nothing to keep quiet. */
	rtnl_link_inet6_set_addr_gen_mode(
		change, rtnl_link_inet6_str2addrgenmode("none"));
	r = rtnl_link_change(sock, tap, change, 0);
	if (r == -NLE_OPNOTSUPP || r == -NLE_AF_NOSUPPORT) {
		rtnl_link_put(change);
		change = or_die(rtnl_link_alloc());
		rtnl_link_set_mtu(change, nic->mtu);
		r = rtnl_link_change(sock, tap, change, 0);
	}
	if (r < 0)
		return netlink_err(err, r, "cannot give the tap %s the MTU %u",
			nic->tap_name, nic->mtu);
	rtnl_link_put(change);
	change = or_die(rtnl_link_alloc());
	rtnl_link_set_flags(change, IFF_UP);
	r = rtnl_link_change(sock, tap, change, 0);
	if (r < 0)
		return netlink_err(err, r, "cannot bring up the tap %s", nic->tap_name);
	*ret_index = rtnl_link_get_ifindex(tap);
	return 0;
}

int net_set_tap_mtu(
	struct nl_sock *sock, const char *tap_name, uint32_t mtu, struct err *err)
{
	_cleanup_(link) struct rtnl_link *tap = NULL, *change = or_die(rtnl_link_alloc());
	int r = rtnl_link_get_kernel(sock, 0, tap_name, &tap);

	rtnl_link_set_mtu(change, mtu);
	if (r == 0)
		r = rtnl_link_change(sock, tap, change, 0);
	return r < 0 ? netlink_err(
			       err, r, "cannot give the tap %s the MTU %u", tap_name, mtu)
		     : 0;
}

int net_delete_tap(struct nl_sock *sock, const char *name, struct err *err)
{
	_cleanup_(link) struct rtnl_link *link = or_die(rtnl_link_alloc());
	int r;

	rtnl_link_set_name(link, name);
	r = rtnl_link_delete(sock, link);
	if (r < 0 && r != -NLE_NODEV && r != -NLE_OBJ_NOTFOUND)
		return netlink_err(err, r, "cannot remove the tap %s", name);
	return 0;
}

/* ---- the filters ---- */

static struct rtnl_qdisc *ingress_qdisc(int ifindex)
{
	struct rtnl_qdisc *qdisc = or_die(rtnl_qdisc_alloc());

	rtnl_tc_set_ifindex(TC_CAST(qdisc), ifindex);
	rtnl_tc_set_parent(TC_CAST(qdisc), INGRESS_PARENT);
	rtnl_tc_set_handle(TC_CAST(qdisc), INGRESS_HANDLE);
	rtnl_tc_set_kind(TC_CAST(qdisc), "ingress");
	return qdisc;
}

/* Every packet of the kind of classifier given, out through another interface. */
static int add_redirect(struct nl_sock *sock, const char *kind, int from, int to)
{
	_cleanup_(cls) struct rtnl_cls *cls = or_die(rtnl_cls_alloc());
	_cleanup_(act) struct rtnl_act *act = or_die(rtnl_act_alloc());
	int r;

	rtnl_tc_set_ifindex(TC_CAST(cls), from);
	rtnl_tc_set_parent(TC_CAST(cls), INGRESS_HANDLE);
	rtnl_cls_set_prio(cls, FILTER_PRIO);
	rtnl_cls_set_protocol(cls, ETH_P_ALL);
	r = rtnl_tc_set_kind(TC_CAST(cls), kind);
	if (r == 0)
		r = rtnl_tc_set_kind(TC_CAST(act), "mirred");
	if (r < 0)
		return r;
	rtnl_mirred_set_action(act, TCA_EGRESS_REDIR);
	rtnl_mirred_set_policy(act, TC_ACT_STOLEN);
	rtnl_mirred_set_ifindex(act, (uint32_t)to);
	if (strcmp(kind, "matchall") == 0) {
		r = rtnl_mall_append_action(cls, act);
	} else {
		/* u32 wants a key: any value of the MAC header's first word, which each
		 * frame has. */
		r = rtnl_u32_add_key(cls, 0, 0, -ETH_HLEN, 0);
		if (r == 0)
			r = rtnl_u32_set_cls_terminal(cls);
		if (r == 0)
			r = rtnl_u32_add_action(cls, act);
	}
	return r < 0 ? r : rtnl_cls_add(sock, cls, NLM_F_CREATE | NLM_F_EXCL);
}

static int redirect_traffic(
	struct nl_sock *sock, const char *name, int from, int to, struct err *err)
{
	_cleanup_(qdisc) struct rtnl_qdisc *qdisc = ingress_qdisc(from);
	int r;

	r = rtnl_qdisc_add(sock, qdisc, NLM_F_CREATE | NLM_F_EXCL);
	if (r == -NLE_EXIST)
		return err_set(err, -EEXIST,
			"%s has an ingress or clsact qdisc already: its packets are "
			"another's",
			err_quote(name, 16));
	if (r < 0)
		return netlink_err(err, r,
			"cannot add the ingress qdisc to %s (sch_ingress)",
			err_quote(name, 16));
	r = add_redirect(sock, "matchall", from, to);
	if (r == -NLE_OBJ_NOTFOUND) /* a kernel without cls_matchall */
		r = add_redirect(sock, "u32", from, to);
	if (r < 0) {
		rtnl_qdisc_delete(sock, qdisc);
		return netlink_err(err, r,
			"cannot redirect %s's packets (cls_matchall or cls_u32, "
			"act_mirred)",
			err_quote(name, 16));
	}
	return 0;
}

/* Is there a filter of ours at the interface's ingress? */
static int has_filter(struct nl_sock *sock, int ifindex, bool *ret)
{
	_cleanup_(nl_cache) struct nl_cache *filters = NULL;
	int r;

	*ret = false;
	r = rtnl_cls_alloc_cache(sock, ifindex, INGRESS_HANDLE, &filters);
	if (r < 0)
		return r;
	for (struct nl_object *o = nl_cache_get_first(filters); o;
		o = nl_cache_get_next(o))
		if (rtnl_cls_get_prio((struct rtnl_cls *)o) == FILTER_PRIO)
			*ret = true;
	return 0;
}

int net_unfilter(struct nl_sock *sock, int ifindex, struct err *err)
{
	_cleanup_(qdisc) struct rtnl_qdisc *qdisc = NULL;
	bool ours;
	int r;

	r = has_filter(sock, ifindex, &ours);
	if (r == 0 && ours) {
		qdisc = ingress_qdisc(ifindex);
		r = rtnl_qdisc_delete(sock, qdisc);
	}
	if (r < 0 && r != -NLE_NODEV && r != -NLE_OBJ_NOTFOUND)
		return netlink_err(
			err, r, "cannot remove the filters of interface %d", ifindex);
	return 0;
}

int net_join_one(struct nl_sock *sock, const struct net_interface *i, int tun_fd,
	struct net_nic *nic, struct err *err)
{
	struct err ignored;
	int tap = 0, r;

	*nic = (struct net_nic){.index = i->index, .mtu = i->mtu, .tap_fd = -1};
	memcpy(nic->mac, i->mac, sizeof(nic->mac));
	r = make_tap(nic, tun_fd, err);
	if (r == 0)
		r = start_tap(sock, nic, &tap, err);
	if (r == 0)
		r = redirect_traffic(sock, i->name, i->index, tap, err);
	if (r < 0)
		return r;
	r = redirect_traffic(sock, nic->tap_name, tap, i->index, err);
	if (r < 0)
		net_unfilter(sock, i->index, &ignored);
	return r;
}
