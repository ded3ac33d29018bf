/* SPDX-License-Identifier: Apache-2.0 */
/* guest/network_update on the kernel's own words, in a network namespace. */
#include "tests/unit/guest_nics.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

/* The indices of the pod's namespace on its host. */
#define HOST_A 71
#define HOST_B 72

struct words {
	struct nl_msg *msg[8];
	size_t n;
};

static struct nl_msg *say(
	struct words *w, int type, int flags, const void *header, size_t size)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	assert_int_equal(nlmsg_append(msg, (void *)header, size, NLMSG_ALIGNTO), 0);
	assert_true(w->n < ARRAY_SIZE(w->msg));
	w->msg[w->n++] = msg;
	return msg;
}

static void put_ip(struct nl_msg *msg, int type, const char *text)
{
	struct in_addr ip;

	assert_int_equal(inet_pton(AF_INET, text, &ip), 1);
	assert_int_equal(nla_put(msg, type, sizeof(ip), &ip), 0);
}

static void say_address(struct words *w, int type, const char *text, unsigned int index)
{
	struct ifaddrmsg a = {
		.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = index};
	int flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0;
	struct nl_msg *msg = say(w, type, flags, &a, sizeof(a));

	put_ip(msg, IFA_LOCAL, text);
	put_ip(msg, IFA_ADDRESS, text);
}

static struct nl_msg *say_route(struct words *w, int type, const char *to)
{
	struct rtmsg r = {.rtm_family = AF_INET,
		.rtm_dst_len = 24,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_type = RTN_UNICAST};
	int flags = type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_APPEND : 0;
	struct nl_msg *msg = say(w, type, flags, &r, sizeof(r));

	put_ip(msg, RTA_DST, to);
	return msg;
}

/* Two hops, one by each of the two. */
static void say_hops(struct words *w, const char *to, const char *a, const char *b)
{
	struct nl_msg *msg = say_route(w, RTM_NEWROUTE, to);
	struct {
		struct rtnexthop hop;
		struct nlattr attr;
		struct in_addr ip;
	} hops[2] = {0};

	for (int i = 0; i < 2; i++) {
		hops[i].hop.rtnh_len = sizeof(hops[i]);
		hops[i].hop.rtnh_ifindex = i == 0 ? HOST_A : HOST_B;
		hops[i].attr.nla_len = NLA_HDRLEN + 4;
		hops[i].attr.nla_type = RTA_GATEWAY;
		assert_int_equal(inet_pton(AF_INET, i == 0 ? a : b, &hops[i].ip), 1);
	}
	assert_int_equal(nla_put(msg, RTA_MULTIPATH, sizeof(hops), hops), 0);
}

static int update_network(Grpc__NetworkDevice *devices, struct words *w, struct err *err)
{
	Grpc__UpdateNetworkRequest req = GRPC__UPDATE_NETWORK_REQUEST__INIT;
	Grpc__NetworkDevice *list[] = {&devices[0], &devices[1]};
	ProtobufCBinaryData bytes[ARRAY_SIZE(w->msg)];
	int r;

	for (size_t i = 0; i < w->n; i++)
		bytes[i] = (ProtobufCBinaryData){.data = (void *)nlmsg_hdr(w->msg[i]),
			.len = nlmsg_hdr(w->msg[i])->nlmsg_len};
	req.devices = list;
	req.n_devices = 2;
	req.messages = bytes;
	req.n_messages = w->n;
	r = agent_update_network(guest.agent, &req, soon(), err);
	for (size_t i = 0; i < w->n; i++)
		nlmsg_free(w->msg[i]);
	w->n = 0;
	return r;
}

static void make_devices(Grpc__NetworkDevice devices[2])
{
	grpc__network_device__init(&devices[0]);
	grpc__network_device__init(&devices[1]);
	devices[0].index = HOST_A;
	devices[0].name = "eth0";
	devices[1].index = HOST_B;
	devices[1].name = "eth1";
}

static void assert_routes(const char *wanted)
{
	Grpc__ListRoutesRequest req = GRPC__LIST_ROUTES_REQUEST__INIT;
	Grpc__Routes *out = NULL;
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(agent_list_routes(guest.agent, &req, &out, soon(), &err), 0);
	text = routes_text(out);
	grpc__routes__free_unpacked(out, NULL);
	assert_string_equal(text, wanted);
}

/* Indices are translated wherever the kernel has them; twice does no harm. */
static void test_words(void **state)
{
	struct ndmsg neigh = {
		.ndm_family = AF_INET, .ndm_state = NUD_PERMANENT, .ndm_ifindex = HOST_A};
	struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	Grpc__NetworkDevice devices[2];
	struct err err = ERR_INIT;
	struct words w = {0};

	(void)state;
	make_devices(devices);
	for (int turn = 0; turn < 2; turn++) {
		struct nl_msg *msg;

		up.ifi_index = HOST_A;
		say(&w, RTM_NEWLINK, 0, &up, sizeof(up));
		up.ifi_index = HOST_B;
		say(&w, RTM_NEWLINK, 0, &up, sizeof(up));
		say_address(&w, RTM_NEWADDR, "192.0.2.5", HOST_A);
		say_address(&w, RTM_NEWADDR, "198.51.100.5", HOST_B);
		msg = say_route(&w, RTM_NEWROUTE, "203.0.113.0");
		assert_int_equal(nla_put_u32(msg, RTA_OIF, HOST_B), 0);
		say_hops(&w, "10.1.1.0", "192.0.2.1", "198.51.100.1");
		msg = say(&w, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &neigh,
			sizeof(neigh));
		put_ip(msg, NDA_DST, "192.0.2.1");
		assert_int_equal(nla_put(msg, NDA_LLADDR, 6, "\2\0\0\0\0\1"), 0);
		if (update_network(devices, &w, &err) < 0)
			fail_msg("%s", err.text);
	}
	assert_routes("10.1.1.0/24 192.0.2.1 eth0;192.0.2.0/24 - eth0;"
		      "198.51.100.0/24 - eth1;203.0.113.0/24 - eth1;");
	for (int turn = 0; turn < 2; turn++) {
		say_route(&w, RTM_DELROUTE, "203.0.113.0");
		say_route(&w, RTM_DELROUTE, "10.1.1.0");
		say_address(&w, RTM_DELADDR, "192.0.2.5", HOST_A);
		if (update_network(devices, &w, &err) < 0)
			fail_msg("%s", err.text);
	}
	assert_routes("198.51.100.0/24 - eth1;");
}

/* A NIC is found by its address, an interface that was there by its name. */
static void test_words_names(void **state)
{
	Grpc__NetworkDevice devices[2];
	struct err err = ERR_INIT;
	struct words w = {0};
	int index;

	(void)state;
	make_devices(devices);
	devices[0].name = "front";
	devices[0].hwaddr = MAC_A;
	devices[1].name = "back";
	devices[1].was = "eth1";
	say_address(&w, RTM_NEWADDR, "192.0.2.5", HOST_A);
	if (update_network(devices, &w, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(net_index("front", &index, &err), 0);
	assert_int_equal(net_index("back", &index, &err), 0);
	assert_int_equal(net_index("eth1", &index, &err), -ENOENT);
}

/* What fails is told, and the rest is done all the same. */
static void test_words_refused(void **state)
{
	struct rtgenmsg any = {.rtgen_family = AF_INET};
	Grpc__NetworkDevice devices[2];
	struct err err = ERR_INIT;
	struct words w = {0};

	(void)state;
	make_devices(devices);
	say_address(&w, RTM_NEWADDR, "192.0.2.5", 5);
	say_address(&w, RTM_NEWADDR, "192.0.2.6", HOST_B);
	assert_error(update_network(devices, &w, &err), -EINVAL,
		"UpdateNetwork: address 192.0.2.5 to add: there is no device of index 5");
	devices[0].name = "eth9";
	say_address(&w, RTM_DELADDR, "192.0.2.5", HOST_A);
	assert_int_equal(update_network(devices, &w, &err), 0);
	say_address(&w, RTM_NEWADDR, "192.0.2.5", HOST_A);
	assert_error(update_network(devices, &w, &err), -ENOENT,
		"UpdateNetwork: address 192.0.2.5 to add: the interface of index 71 is not "
		"there");
	say(&w, RTM_GETLINK, NLM_F_DUMP, &any, sizeof(any));
	assert_error(update_network(devices, &w, &err), -EINVAL,
		"UpdateNetwork: a message that is none of the kernel's");
	say(&w, RTM_NEWADDR, 0, &any, sizeof(any));
	nlmsg_hdr(w.msg[0])->nlmsg_len = NLMSG_HDRLEN;
	assert_error(update_network(devices, &w, &err), -EINVAL,
		"UpdateNetwork: a message that is none of the kernel's");
	devices[0].name = "a/b";
	assert_error_names(update_network(devices, &w, &err), -EINVAL,
		"a/b is not an interface's name");
	devices[0].name = "x";
	devices[0].was = "eth9";
	assert_error(update_network(devices, &w, &err), -ENOENT,
		"UpdateNetwork: there is no interface eth9");
	assert_routes("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_nics, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_words),
		TEST(test_words_names),
		TEST(test_words_refused),
	};

	world_enter(0);
	return cmocka_run_group_tests_name("guest/words", tests, NULL, NULL);
}
