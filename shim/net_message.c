/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's messages as requests, for a view: see net_view.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

#include "shim/net_internal.h"

#define A NET_ATTRIBUTE

/* Newer than Debian 12's headers. */
#define ADDRESS_PROTO 11 /* IFA_PROTO */

/* ---- building ---- */

struct nl_msg *net_message_new(int type, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	net_must(msg);
	return msg;
}

void net_copy_attributes(struct nl_msg *to, struct nlattr *first, int len, uint64_t types)
{
	struct nlattr *a;
	int left;

	nla_for_each_attr(a, first, len, left)
	{
		int type = nla_type(a);

		if (type < 64 && types & A(type))
			net_must(nla_put(to, a->nla_type, nla_len(a), nla_data(a)) == 0);
	}
}

void net_put_u32(struct nl_msg *msg, int type, uint32_t value)
{
	net_must(nla_put_u32(msg, type, value) == 0);
}

int net_view_add(struct net_view *view, enum net_rank rank, int index, struct nl_msg *msg,
	struct err *err)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	struct net_message *m;

	if (view->n_messages == NET_MESSAGES_MAX)
		return err_set(err, -E2BIG,
			"it has more than %d addresses, routes, rules and neighbours",
			NET_MESSAGES_MAX);
	/* By powers of two. */
	if ((view->n_messages & (view->n_messages - 1)) == 0)
		view->messages = xreallocarray(view->messages,
			MAX(2 * view->n_messages, 16), sizeof(*view->messages));
	header->nlmsg_seq = header->nlmsg_pid = 0;
	m = &view->messages[view->n_messages++];
	*m = (struct net_message){.rank = rank,
		.index = index,
		.size = header->nlmsg_len,
		.data = xmalloc(header->nlmsg_len)};
	memcpy(m->data, header, m->size);
	return 0;
}

/* A request with the kernel's own fixed part and those attributes. */
static struct nl_msg *copy_message(
	struct nlmsghdr *dumped, int header_len, int flags, uint64_t types)
{
	struct nl_msg *msg = net_message_new(dumped->nlmsg_type, flags);

	net_must(nlmsg_append(msg, nlmsg_data(dumped), (size_t)header_len,
			 NLMSG_ALIGNTO) == 0);
	net_copy_attributes(msg, nlmsg_attrdata(dumped, header_len),
		nlmsg_attrlen(dumped, header_len), types);
	return msg;
}

static bool is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

static uint32_t get_u32(struct nlmsghdr *m, int header_len, int type, uint32_t otherwise)
{
	struct nlattr *a = nlmsg_find_attr(m, header_len, type);

	return a && nla_len(a) >= 4 ? nla_get_u32(a) : otherwise;
}

/* ---- addresses ---- */

/* Lifetimes run, so they would be changes: an address that expires goes with a message of
 * its own. */
static void put_lifetime(struct nl_msg *msg, uint32_t flags)
{
	struct ifa_cacheinfo life = {.ifa_prefered = 0, .ifa_valid = UINT32_MAX};

	if (flags & IFA_F_DEPRECATED)
		net_must(nla_put(msg, IFA_CACHEINFO, sizeof(life), &life) == 0);
}

int net_add_address(struct net_view *view, struct nlmsghdr *dumped, struct err *err)
{
	const uint64_t types = A(IFA_ADDRESS) | A(IFA_LOCAL) | A(IFA_LABEL) |
			       A(IFA_BROADCAST) | A(IFA_RT_PRIORITY) | A(ADDRESS_PROTO);
	struct ifaddrmsg *from = nlmsg_data(dumped), *to;
	uint32_t flags = get_u32(dumped, sizeof(*from), IFA_FLAGS, from->ifa_flags);
	_cleanup_(nl_msg) struct nl_msg *msg = NULL;
	bool is_v6 = from->ifa_family == AF_INET6;

	if (!is_ip(from->ifa_family) || !net_view_find(view, (int)from->ifa_index))
		return 0;
	msg = copy_message(dumped, sizeof(*from), NLM_F_CREATE | NLM_F_EXCL, types);
	to = nlmsg_data(nlmsg_hdr(msg));
	to->ifa_flags = 0;
	put_lifetime(msg, flags);
	flags &= IFA_F_NOPREFIXROUTE | IFA_F_HOMEADDRESS;
	/* It would find the namespace's own, and is wanted now. */
	if (is_v6)
		flags |= IFA_F_NODAD;
	net_put_u32(msg, IFA_FLAGS, flags);
	return net_view_add(view, is_v6 ? NET_ADDRESS_V6 : NET_ADDRESS,
		(int)from->ifa_index, msg, err);
}

/* ---- routes ---- */

static bool is_route_wanted(struct nlmsghdr *dumped)
{
	const struct rtmsg *r = nlmsg_data(dumped);
	uint32_t table = get_u32(dumped, sizeof(*r), RTA_TABLE, r->rtm_table);

	/* The kernel makes those of the local table with their addresses, and IPv6's last
	 * one by itself. */
	return is_ip(r->rtm_family) && !(r->rtm_flags & RTM_F_CLONED) &&
	       !(r->rtm_protocol == RTPROT_KERNEL &&
		       (table == RT_TABLE_LOCAL || r->rtm_type != RTN_UNICAST)) &&
	       r->rtm_protocol != RTPROT_REDIRECT;
}

/* Calls fn for each next hop; the first whose answer is false ends it. */
static bool each_hop(struct nlattr *multipath,
	bool (*fn)(struct rtnexthop *hop, const void *user), const void *user)
{
	struct rtnexthop *hop = nla_data(multipath);
	int left = nla_len(multipath);

	for (; RTNH_OK(hop, left); hop = RTNH_NEXT(hop)) {
		if (!fn(hop, user))
			return false;
		left -= (int)NLMSG_ALIGN(hop->rtnh_len);
	}
	return true;
}

static bool is_hop_known(struct rtnexthop *hop, const void *view)
{
	return net_view_find(view, hop->rtnh_ifindex);
}

/* Whether it is up is the guest's to see. */
static bool clean_hop(struct rtnexthop *hop, const void *user)
{
	(void)user;
	hop->rtnh_flags &= RTNH_F_ONLINK;
	return true;
}

/* Through known interfaces only. *ret is that of the first hop, 0 if it has none. */
static bool find_route_index(
	const struct net_view *view, struct nlmsghdr *dumped, int *ret)
{
	struct nlattr *multipath =
		nlmsg_find_attr(dumped, sizeof(struct rtmsg), RTA_MULTIPATH);

	*ret = (int)get_u32(dumped, sizeof(struct rtmsg), RTA_OIF, 0);
	if (multipath && nla_len(multipath) >= (int)sizeof(struct rtnexthop)) {
		*ret = ((struct rtnexthop *)nla_data(multipath))->rtnh_ifindex;
		return each_hop(multipath, is_hop_known, view);
	}
	return *ret == 0 || net_view_find(view, *ret);
}

static enum net_rank route_rank(struct nlmsghdr *dumped)
{
	bool direct = !nlmsg_find_attr(dumped, sizeof(struct rtmsg), RTA_GATEWAY) &&
		      !nlmsg_find_attr(dumped, sizeof(struct rtmsg), RTA_VIA) &&
		      !nlmsg_find_attr(dumped, sizeof(struct rtmsg), RTA_MULTIPATH);

	return direct ? NET_ROUTE : NET_ROUTE_BY_GATEWAY;
}

int net_add_route(struct net_view *view, struct nlmsghdr *dumped, struct err *err)
{
	const uint64_t types = A(RTA_DST) | A(RTA_SRC) | A(RTA_OIF) | A(RTA_GATEWAY) |
			       A(RTA_PRIORITY) | A(RTA_PREFSRC) | A(RTA_METRICS) |
			       A(RTA_MULTIPATH) | A(RTA_FLOW) | A(RTA_TABLE) |
			       A(RTA_VIA) | A(RTA_PREF) | A(RTA_ENCAP_TYPE) |
			       A(RTA_ENCAP) | A(RTA_TTL_PROPAGATE);
	_cleanup_(nl_msg) struct nl_msg *msg = NULL;
	struct nlattr *multipath;
	struct rtmsg *route;
	int index;

	if (!is_route_wanted(dumped) || !find_route_index(view, dumped, &index))
		return 0;
	/* Where there is one to the same place it comes behind that, as in the dump; the
	 * very same is an error, which says that it is there. */
	msg = copy_message(dumped, sizeof(*route), NLM_F_CREATE | NLM_F_APPEND, types);
	route = nlmsg_data(nlmsg_hdr(msg));
	route->rtm_flags &= RTNH_F_ONLINK;
	multipath = nlmsg_find_attr(nlmsg_hdr(msg), sizeof(*route), RTA_MULTIPATH);
	if (multipath)
		each_hop(multipath, clean_hop, NULL);
	return net_view_add(view, route_rank(dumped), index, msg, err);
}

/* ---- the routes that addresses bring ---- */

/* Of an address, as the kernel makes it. */
struct prefix {
	int family, index;
	unsigned int bits;
	uint8_t net[16];
};

static bool prefix_of_address(struct nlmsghdr *m, struct prefix *ret)
{
	const struct ifaddrmsg *a = nlmsg_data(m);
	struct nlattr *address = nlmsg_find_attr(m, sizeof(*a), IFA_ADDRESS);
	struct nlattr *local = nlmsg_find_attr(m, sizeof(*a), IFA_LOCAL);
	int len = a->ifa_family == AF_INET ? 4 : 16;

	if (!address || nla_len(address) != len ||
		get_u32(m, sizeof(*a), IFA_FLAGS, 0) & IFA_F_NOPREFIXROUTE)
		return false;
	/* One of IPv4 that has no network but itself, unless that is its peer's. */
	if (a->ifa_prefixlen == 32 && len == 4 && local &&
		nla_get_u32(local) == nla_get_u32(address))
		return false;
	*ret = (struct prefix){.family = a->ifa_family,
		.index = (int)a->ifa_index,
		.bits = a->ifa_prefixlen};
	memcpy(ret->net, nla_data(address), (size_t)len);
	for (int bit = (int)ret->bits; bit < 8 * len; bit++)
		ret->net[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return true;
}

static bool is_route_of(const struct net_message *m, const struct prefix *p)
{
	const struct rtmsg *r = nlmsg_data((struct nlmsghdr *)m->data);
	struct nlattr *dst;

	if (m->rank != NET_ROUTE || m->index != p->index || r->rtm_family != p->family ||
		r->rtm_dst_len != p->bits || r->rtm_protocol != RTPROT_KERNEL ||
		r->rtm_table != RT_TABLE_MAIN)
		return false;
	dst = nlmsg_find_attr(m->data, sizeof(*r), RTA_DST);
	return dst && memcmp(nla_data(dst), p->net, (size_t)nla_len(dst)) == 0;
}

static int add_gone_prefix(struct net_view *view, const struct prefix *p, struct err *err)
{
	struct rtmsg route = {.rtm_family = (unsigned char)p->family,
		.rtm_dst_len = (unsigned char)p->bits,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_KERNEL,
		.rtm_scope = RT_SCOPE_NOWHERE, /* any */
		.rtm_type = RTN_UNICAST};
	_cleanup_(nl_msg) struct nl_msg *msg = net_message_new(RTM_DELROUTE, 0);

	net_must(nlmsg_append(msg, &route, sizeof(route), NLMSG_ALIGNTO) == 0);
	net_must(nla_put(msg, RTA_DST, p->family == AF_INET ? 4 : 16, p->net) == 0);
	net_put_u32(msg, RTA_OIF, (uint32_t)p->index);
	return net_view_add(view, NET_PREFIX_GONE, p->index, msg, err);
}

static bool is_prefix_there(const struct net_view *view, const struct prefix *p)
{
	for (size_t i = 0; i < view->n_messages; i++)
		if (is_route_of(&view->messages[i], p))
			return true;
	return false;
}

int net_add_gone_prefixes(struct net_view *view, struct err *err)
{
	size_t n = view->n_messages;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct net_message *m = &view->messages[i];
		const struct net_interface *on = net_view_find(view, m->index);
		struct prefix p;

		/* lo's are in the local table. */
		if ((m->rank == NET_ADDRESS || m->rank == NET_ADDRESS_V6) && on->is_up &&
			strcmp(on->name, "lo") != 0 && prefix_of_address(m->data, &p) &&
			!is_prefix_there(view, &p))
			r = add_gone_prefix(view, &p, err);
	}
	return r;
}

/* ---- neighbours and rules ---- */

int net_add_neighbour(struct net_view *view, struct nlmsghdr *dumped, struct err *err)
{
	const struct ndmsg *neigh = nlmsg_data(dumped);
	_cleanup_(nl_msg) struct nl_msg *msg = NULL;

	if (!is_ip(neigh->ndm_family) || !(neigh->ndm_state & NUD_PERMANENT) ||
		!net_view_find(view, neigh->ndm_ifindex))
		return 0;
	msg = copy_message(dumped, sizeof(*neigh), NLM_F_CREATE | NLM_F_REPLACE,
		A(NDA_DST) | A(NDA_LLADDR));
	return net_view_add(view, NET_NEIGHBOUR, neigh->ndm_ifindex, msg, err);
}

int net_add_rule(struct net_view *view, struct nlmsghdr *dumped, struct err *err)
{
	const uint64_t types =
		A(FRA_DST) | A(FRA_SRC) | A(FRA_IIFNAME) | A(FRA_GOTO) | A(FRA_PRIORITY) |
		A(FRA_FWMARK) | A(FRA_FLOW) | A(FRA_TUN_ID) | A(FRA_SUPPRESS_IFGROUP) |
		A(FRA_SUPPRESS_PREFIXLEN) | A(FRA_TABLE) | A(FRA_FWMASK) |
		A(FRA_OIFNAME) | A(FRA_L3MDEV) | A(FRA_UID_RANGE) | A(FRA_PROTOCOL) |
		A(FRA_IP_PROTO) | A(FRA_SPORT_RANGE) | A(FRA_DPORT_RANGE);
	struct fib_rule_hdr *rule = nlmsg_data(dumped);
	_cleanup_(nl_msg) struct nl_msg *msg = NULL;

	if (!is_ip(rule->family))
		return 0;
	msg = copy_message(dumped, sizeof(*rule), NLM_F_CREATE | NLM_F_EXCL, types);
	rule = nlmsg_data(nlmsg_hdr(msg));
	rule->flags &= FIB_RULE_INVERT;
	/* Priority 0 is not told, and without one a new rule gets one of the last. */
	if (!nlmsg_find_attr(nlmsg_hdr(msg), sizeof(*rule), FRA_PRIORITY))
		net_put_u32(msg, FRA_PRIORITY, 0);
	return net_view_add(view, NET_RULE, 0, msg, err);
}
