/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of a view: see net_view.h.
 *
 * Some are NICs of the guest's. A tap takes all that comes to such an interface, before
 * the kernel gives it to what is made of it: a VLAN's frames, those for a macvlan, a
 * bridge's. So whatever lies over interfaces of the namespace, or over none, is made
 * again in the guest.
 */
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

#include "shim/net_internal.h"

#define A NET_ATTRIBUTE

/* What the guest can make, and which of the attributes are settings. */
static const struct made {
	const char *kind;
	bool over_another;
	bool has_address; /* of its own to set */
	uint64_t settings;
} made_kinds[] = {
	{"dummy", false, true, 0},
	{"bridge", false, true,
		A(IFLA_BR_FORWARD_DELAY) | A(IFLA_BR_HELLO_TIME) | A(IFLA_BR_MAX_AGE) |
			A(IFLA_BR_AGEING_TIME) | A(IFLA_BR_STP_STATE) |
			A(IFLA_BR_PRIORITY) | A(IFLA_BR_VLAN_FILTERING) |
			A(IFLA_BR_VLAN_PROTOCOL) | A(IFLA_BR_GROUP_FWD_MASK) |
			A(IFLA_BR_MCAST_SNOOPING)},
	{"vrf", false, true, A(IFLA_VRF_TABLE)},
	{"vlan", true, true,
		A(IFLA_VLAN_ID) | A(IFLA_VLAN_FLAGS) | A(IFLA_VLAN_PROTOCOL) |
			A(IFLA_VLAN_EGRESS_QOS) | A(IFLA_VLAN_INGRESS_QOS)},
	{"macvlan", true, true, A(IFLA_MACVLAN_MODE) | A(IFLA_MACVLAN_FLAGS)},
	{"ipvlan", true, false, A(IFLA_IPVLAN_MODE) | A(IFLA_IPVLAN_FLAGS)},
};

/* One of a dump. */
struct link {
	struct nlmsghdr *message;
	const struct ifinfomsg *info;
	struct nlattr *attr[IFLA_MAX + 1], *kind_attr[IFLA_INFO_MAX + 1];
	const char *name;
};

static bool parse_link(struct nl_msg *msg, struct link *ret)
{
	ret->message = nlmsg_hdr(msg);
	ret->info = nlmsg_data(ret->message);
	if (nlmsg_parse(ret->message, sizeof(*ret->info), ret->attr, IFLA_MAX, NULL) <
			0 ||
		!ret->attr[IFLA_IFNAME])
		return false;
	ret->name = nla_get_string(ret->attr[IFLA_IFNAME]);
	memset(ret->kind_attr, 0, sizeof(ret->kind_attr));
	return !ret->attr[IFLA_LINKINFO] ||
	       nla_parse_nested(ret->kind_attr, IFLA_INFO_MAX, ret->attr[IFLA_LINKINFO],
		       NULL) == 0;
}

static bool is_lo(const struct link *l)
{
	return l->info->ifi_flags & IFF_LOOPBACK;
}

/* Not the address-less devices that tunnel modules put into every namespace. */
static bool is_wanted(const struct link *l)
{
	static const unsigned char none[6];
	struct nlattr *mac = l->attr[IFLA_ADDRESS];

	return is_lo(l) || (l->info->ifi_type == ARPHRD_ETHER && mac &&
				   nla_len(mac) == sizeof(none) &&
				   memcmp(nla_data(mac), none, sizeof(none)) != 0 &&
				   !net_is_tap_name(l->name));
}

/* NULL: it is a NIC. */
static const struct made *find_made(const struct link *l)
{
	struct nlattr *kind = l->kind_attr[IFLA_INFO_KIND];

	for (size_t i = 0; kind && i < ARRAY_SIZE(made_kinds); i++) {
		if (strcmp(nla_get_string(kind), made_kinds[i].kind) != 0)
			continue;
		/* Over one that is in another namespace. */
		if (made_kinds[i].over_another &&
			(!l->attr[IFLA_LINK] || l->attr[IFLA_LINK_NETNSID]))
			return NULL;
		return &made_kinds[i];
	}
	return NULL;
}

static int add_interface(struct net_view *view, const struct link *l, struct err *err)
{
	unsigned int at = view->n_interfaces, nics = 0;
	struct nlattr *mac = l->attr[IFLA_ADDRESS], *mtu = l->attr[IFLA_MTU];
	bool is_nic = !is_lo(l) && !find_made(l);
	struct net_interface *i;

	for (unsigned int k = 0; k < at; k++)
		nics += view->interfaces[k].is_nic;
	if (at == NET_INTERFACES_MAX || (is_nic && nics == NET_NICS_MAX))
		return err_set(err, -E2BIG, "it has more than %d interfaces",
			is_nic ? NET_NICS_MAX : NET_INTERFACES_MAX);
	view->interfaces = xreallocarray(view->interfaces, at + 1, sizeof(*i));
	/* In the order of their indices, whatever the order of the dump. */
	for (; at > 0 && view->interfaces[at - 1].index > l->info->ifi_index; at--)
		view->interfaces[at] = view->interfaces[at - 1];
	view->n_interfaces++;
	i = &view->interfaces[at];
	*i = (struct net_interface){.index = l->info->ifi_index,
		.mtu = mtu ? nla_get_u32(mtu) : 0,
		.is_up = l->info->ifi_flags & IFF_UP,
		.is_nic = is_nic};
	snprintf(i->name, sizeof(i->name), "%s", l->name);
	if (mac)
		memcpy(i->mac, nla_data(mac), sizeof(i->mac));
	return 0;
}

static struct nl_msg *link_message(const struct link *l, int flags, uint64_t types)
{
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC,
		.ifi_index = l->info->ifi_index,
		.ifi_flags = l->info->ifi_flags & (IFF_UP | IFF_NOARP),
		.ifi_change = IFF_UP | IFF_NOARP};
	struct nl_msg *msg = net_message_new(RTM_NEWLINK, flags);

	if (flags & NLM_F_CREATE)
		info.ifi_flags = info.ifi_change = 0;
	net_must(nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) == 0);
	net_copy_attributes(msg, nlmsg_attrdata(l->message, sizeof(info)),
		nlmsg_attrlen(l->message, sizeof(info)), types);
	return msg;
}

static void put_kind(struct nl_msg *msg, const struct link *l, const struct made *made)
{
	struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO), *data;

	net_must(info && nla_put_string(msg, IFLA_INFO_KIND, made->kind) == 0);
	data = l->kind_attr[IFLA_INFO_DATA];
	if (data && made->settings) {
		struct nlattr *nest = nla_nest_start(msg, IFLA_INFO_DATA);

		net_must(nest);
		net_copy_attributes(msg, nla_data(data), nla_len(data), made->settings);
		nla_nest_end(msg, nest);
	}
	nla_nest_end(msg, info);
}

static int add_new(struct net_view *view, const struct link *l, const struct made *made,
	struct err *err)
{
	_cleanup_(nl_msg) struct nl_msg *msg = link_message(l, NLM_F_CREATE | NLM_F_EXCL,
		A(IFLA_IFNAME) | A(IFLA_MTU) | (made->has_address ? A(IFLA_ADDRESS) : 0) |
			(made->over_another ? A(IFLA_LINK) : 0));

	put_kind(msg, l, made);
	return net_view_add(view, NET_LINK_NEW, l->info->ifi_index, msg, err);
}

/* lo is up in the guest, and has its MTU. */
static int add_set(struct net_view *view, const struct link *l, struct err *err)
{
	struct nlattr *master = l->attr[IFLA_MASTER];
	_cleanup_(nl_msg) struct nl_msg *msg = link_message(l, 0,
		A(IFLA_MTU) | A(IFLA_IFALIAS) | A(IFLA_GROUP) |
			(find_made(l) ? 0 : A(IFLA_ADDRESS)));

	if (is_lo(l))
		return 0;
	net_put_u32(msg, IFLA_MASTER,
		master && net_view_find(view, (int)nla_get_u32(master))
			? nla_get_u32(master)
			: 0);
	return net_view_add(view, NET_LINK_SET, l->info->ifi_index, msg, err);
}

/* In the order of the view: what is over another came after it. */
static int add_messages(struct net_view *view, struct nl_msg *const *dumped, size_t n,
	int index, struct err *err)
{
	const struct made *made;
	struct link l;
	size_t i = 0;
	int r = 0;

	while (i < n && (!parse_link(dumped[i], &l) || l.info->ifi_index != index))
		i++;
	if (i == n)
		return 0;
	made = find_made(&l);
	if (made)
		r = add_new(view, &l, made, err);
	return r < 0 ? r : add_set(view, &l, err);
}

int net_add_links(
	struct net_view *view, struct nl_msg *const *dumped, size_t n, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct link l;

		if (parse_link(dumped[i], &l) && is_wanted(&l))
			r = add_interface(view, &l, err);
	}
	for (unsigned int i = 0; r == 0 && i < view->n_interfaces; i++)
		r = add_messages(view, dumped, n, view->interfaces[i].index, err);
	return r;
}
