/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's network in the kernel's words: see UpdateNetwork in agent.proto. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

#include "agent-client/proto/agent.pb-c.h"
#include "guest/netlink.h"
#include "guest/nic.h"
#include "guest/service.h"

DEFINE_CLEANUP(nl_msg, struct nl_msg *, nlmsg_free);

/* ---- names ---- */

static int rename_by_name(
	struct nl_sock *sock, const Grpc__NetworkDevice *device, struct err *err)
{
	_cleanup_(link) struct rtnl_link *link = NULL;

	if (rtnl_link_get_kernel(sock, 0, device->was, &link) < 0)
		return err_set(err, -ENOENT, "there is no interface %s",
			err_quote(device->was, 32));
	return nic_rename(sock, link, device->name, err);
}

static int rename_by_mac(struct nl_sock *sock, const Grpc__NetworkDevice *device,
	struct ttrpc_request *request, struct err *err)
{
	_cleanup_(link) struct rtnl_link *link = NULL;
	uint8_t mac[6];
	int r = net_parse_mac(device->hwaddr, mac, err);

	if (r == 0)
		r = nic_wait(sock, mac, device->hwaddr, request, &link, err);
	return r < 0 ? r : nic_rename(sock, link, device->name, err);
}

static int name_device(struct nl_sock *sock, const Grpc__NetworkDevice *device,
	struct ttrpc_request *request, struct err *err)
{
	int r = nic_check_name(device->name, err);

	if (r == 0 && *device->hwaddr)
		r = rename_by_mac(sock, device, request, err);
	else if (r == 0 && *device->was)
		r = rename_by_name(sock, device, err);
	return r;
}

/* ---- indices ---- */

/* A device that is yet to be made, or has gone, has none: 0. */
static int map_index(const Grpc__UpdateNetworkRequest *req, uint32_t index, uint32_t *ret,
	struct err *err)
{
	for (size_t i = 0; i < req->n_devices; i++)
		if (req->devices[i]->index == index) {
			*ret = if_nametoindex(req->devices[i]->name);
			return 0;
		}
	return err_set(err, -EINVAL, "there is no device of index %u", index);
}

/* One that must be there, in place; 0 stands for none. */
static int map_place(const Grpc__UpdateNetworkRequest *req, void *index, struct err *err)
{
	uint32_t host, guest = 0;
	int r = 0;

	memcpy(&host, index, sizeof(host));
	if (host != 0)
		r = map_index(req, host, &guest, err);
	if (r == 0 && host != 0 && guest == 0)
		r = err_set(err, -ENODEV, "the interface of index %u is not there", host);
	if (r == 0)
		memcpy(index, &guest, sizeof(guest));
	return r;
}

static int map_attribute(const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m,
	int header_len, int type, struct err *err)
{
	struct nlattr *a = nlmsg_find_attr(m, header_len, type);

	if (!a)
		return 0;
	if (nla_len(a) != 4)
		return err_set(err, -EINVAL, "an index of %d bytes", nla_len(a));
	return map_place(req, nla_data(a), err);
}

static int map_hops(
	const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m, struct err *err)
{
	struct nlattr *a = nlmsg_find_attr(m, sizeof(struct rtmsg), RTA_MULTIPATH);
	struct rtnexthop *hop = a ? nla_data(a) : NULL;
	int left = a ? nla_len(a) : 0, r = 0;

	for (; r == 0 && left >= (int)sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) &&
		hop->rtnh_len <= left;
		hop = RTNH_NEXT(hop)) {
		r = map_place(req, &hop->rtnh_ifindex, err);
		left -= (int)NLMSG_ALIGN(hop->rtnh_len);
	}
	return r;
}

/* A new one is not there; what is over another is. */
static int map_link(
	const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m, struct err *err)
{
	struct ifinfomsg *link = nlmsg_data(m);
	int r = 0;

	if (m->nlmsg_flags & NLM_F_CREATE)
		link->ifi_index = 0;
	else
		r = map_place(req, &link->ifi_index, err);
	if (r == 0)
		r = map_attribute(req, m, sizeof(*link), IFLA_LINK, err);
	return r < 0 ? r : map_attribute(req, m, sizeof(*link), IFLA_MASTER, err);
}

static int map_address(
	const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m, struct err *err)
{
	return map_place(req, &((struct ifaddrmsg *)nlmsg_data(m))->ifa_index, err);
}

static int map_route(
	const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m, struct err *err)
{
	int r = map_attribute(req, m, sizeof(struct rtmsg), RTA_OIF, err);

	return r < 0 ? r : map_hops(req, m, err);
}

static int map_neighbour(
	const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m, struct err *err)
{
	return map_place(req, &((struct ndmsg *)nlmsg_data(m))->ndm_ifindex, err);
}

/* Of interfaces a rule has names. */
static int map_nothing(
	const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m, struct err *err)
{
	(void)req, (void)m, (void)err;
	return 0;
}

/* ---- requests of the kernel ---- */

static const struct kind {
	int type;
	const char *what;
	int (*map)(const Grpc__UpdateNetworkRequest *req, struct nlmsghdr *m,
		struct err *err);
	size_t header_len;
} kinds[] = {
	{RTM_NEWLINK, "interface", map_link, sizeof(struct ifinfomsg)},
	{RTM_NEWADDR, "address", map_address, sizeof(struct ifaddrmsg)},
	{RTM_NEWROUTE, "route", map_route, sizeof(struct rtmsg)},
	{RTM_NEWNEIGH, "neighbour", map_neighbour, sizeof(struct ndmsg)},
	{RTM_NEWRULE, "rule", map_nothing, sizeof(struct rtmsg)},
};

/* NULL: none that may be asked. RTM_DEL… are one above RTM_NEW…. */
static const struct kind *find_kind(const ProtobufCBinaryData *m)
{
	const struct nlmsghdr *header = (const void *)m->data;

	if (m->len < sizeof(*header) || header->nlmsg_len != m->len)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (header->nlmsg_type - kinds[i].type <= 1 &&
			header->nlmsg_type >= kinds[i].type &&
			m->len >= NLMSG_HDRLEN + kinds[i].header_len)
			return &kinds[i];
	return NULL;
}

static bool is_done_already(const struct kind *kind, int type, int nl_error)
{
	if (type == kind->type)
		return nl_error == -NLE_EXIST;
	return nl_error == -NLE_OBJ_NOTFOUND || nl_error == -NLE_NODEV ||
	       nl_error == -NLE_NOADDR;
}

/* "route 10.0.0.0 to add": what a message is about, as far as one word says it. */
static void describe_message(
	const struct kind *kind, struct nlmsghdr *m, char *ret, size_t size)
{
	/* The first attribute of each but interfaces is the address that it is about. */
	struct nlattr *a = nlmsg_find_attr(m, (int)kind->header_len, RTA_DST);
	int family = *(unsigned char *)nlmsg_data(m);
	char text[INET6_ADDRSTRLEN] = "";

	if (kind->type == RTM_NEWLINK)
		snprintf(text, sizeof(text), "%d",
			((struct ifinfomsg *)nlmsg_data(m))->ifi_index);
	else if (a && nla_len(a) == (family == AF_INET ? 4 : 16))
		inet_ntop(family, nla_data(a), text, sizeof(text));
	snprintf(ret, size, "%s%s%s to %s", kind->what, *text ? " " : "", text,
		m->nlmsg_type == kind->type ? "add" : "remove");
}

static int ask_kernel(struct nl_sock *sock, const Grpc__UpdateNetworkRequest *req,
	const ProtobufCBinaryData *bytes, struct err *err)
{
	const struct kind *kind = find_kind(bytes);
	_cleanup_(nl_msg) struct nl_msg *msg = NULL;
	char what[96];
	int type, r;

	if (!kind)
		return err_set(err, -EINVAL, "a message that is none of the kernel's");
	msg = nlmsg_convert((struct nlmsghdr *)(void *)bytes->data);
	if (!msg)
		return err_set(err, -ENOMEM, "no memory for a message");
	type = nlmsg_hdr(msg)->nlmsg_type;
	describe_message(kind, nlmsg_hdr(msg), what, sizeof(what));
	r = kind->map(req, nlmsg_hdr(msg), err);
	/* What was on it has gone with it. */
	if (r == -ENODEV && type != kind->type)
		return 0;
	if (r < 0)
		return err_wrap(err, "%s", what);
	r = nl_send_auto(sock, msg);
	if (r >= 0)
		r = nl_wait_for_ack(sock);
	if (r >= 0 || is_done_already(kind, type, r))
		return 0;
	return netlink_err(err, r, "%s", what);
}

SERVICE_HANDLER(handle_update_network)
{
	const Grpc__UpdateNetworkRequest *req = (const Grpc__UpdateNetworkRequest *)in;
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	struct err first = ERR_INIT, e = ERR_INIT;
	int r = net_open(&sock, err);

	(void)user, (void)ret_out;
	if (r < 0)
		return r;
	for (size_t i = 0; i < req->n_devices; i++)
		if (name_device(sock, req->devices[i], request, &e) < 0)
			err_keep_first(&first, &e);
	for (size_t i = 0; i < req->n_messages; i++)
		if (ask_kernel(sock, req, &req->messages[i], &e) < 0)
			err_keep_first(&first, &e);
	return first.code < 0 ? err_copy(err, &first) : 0;
}
