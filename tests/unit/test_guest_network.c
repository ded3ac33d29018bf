/* SPDX-License-Identifier: Apache-2.0 */
/* guest/network, guest/routes and guest/netlink on the kernel's,
 * in a network namespace. */
#include "tests/unit/guest_nics.h"

#include <arpa/inet.h>
#include <netlink/route/neighbour.h>

#include "guest/netlink.h"

/* ---- text ---- */

static void test_macs(void **state)
{
	static const char *const bad[] = {"", "02:00:00:00:00", "02:00:00:00:00:0",
		"02:00:00:00:00:0a:", "02:00:00:00:00:0g", "02-00-00-00-00-0a",
		" 2: 0: 0: 0: 0: a", "+2:+0:+0:+0:+0:+a", "-1:00:00:00:00:00",
		"0x:00:00:00:00:00", "02:00:00:00:00:0a "};
	struct err err = ERR_INIT;
	uint8_t mac[6] = {0};

	(void)state;
	assert_int_equal(net_parse_mac("02:aB:00:ff:7f:0a", mac, &err), 0);
	assert_memory_equal(mac, "\x02\xab\x00\xff\x7f\x0a", 6);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_error_names(net_parse_mac(bad[i], mac, &err), -EINVAL,
			"is not a hardware address");
	assert_memory_equal(mac, "\x02\xab\x00\xff\x7f\x0a", 6);
}

static void assert_address(struct nl_addr *a, const char *text)
{
	char found[64];

	assert_string_equal(nl_addr2str(a, found, sizeof(found)), text);
	nl_addr_put(a);
}

static void test_addresses(void **state)
{
	static const struct {
		int family;
		const char *address, *prefix;
	} bad[] = {
		{AF_INET, "10.0.0", "8"},
		{AF_INET, "10.0.0.1 ", "8"},
		{AF_INET, "10.0.0.1", "33"},
		{AF_INET, "10.0.0.1", "-1"},
		{AF_INET, "10.0.0.1", "+8"},
		{AF_INET, "10.0.0.1", " 8"},
		{AF_INET, "10.0.0.1", "8x"},
		{AF_INET, "10.0.0.1", "4294967304"},
		{AF_INET, "10.0.0.1", "99999999999999999999999"},
		{AF_INET, "::1", "8"},
		{AF_INET6, "10.0.0.1", "8"},
		{AF_INET6, "::1", "129"},
		{AF_INET6, "fe80::1%lo", "64"},
		{AF_INET, "", ""},
	};
	struct err err = ERR_INIT;
	struct nl_addr *a = NULL;

	(void)state;
	assert_int_equal(net_parse_address(AF_INET, "10.0.0.1", "8", &a, &err), 0);
	assert_address(a, "10.0.0.1/8");
	assert_int_equal(net_parse_address(AF_INET, "10.0.0.1", NULL, &a, &err), 0);
	assert_int_equal(nl_addr_get_prefixlen(a), 32);
	nl_addr_put(a);
	assert_int_equal(net_parse_address(AF_INET6, "fd00::1", "", &a, &err), 0);
	assert_int_equal(nl_addr_get_prefixlen(a), 128);
	nl_addr_put(a);
	a = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_error_names(net_parse_address(bad[i].family, bad[i].address,
					   bad[i].prefix, &a, &err),
			-EINVAL, "is not a");
		assert_null(a);
	}
}

static void test_destinations(void **state)
{
	static const char *const bad[] = {"10.0.0.0/", "/8", "10.0.0.0/33", "x",
		"default/0", "10.0.0.0/8/8",
		"1111111111111111111111111111111111111111111111111111111111111111/8"};
	struct err err = ERR_INIT;
	struct nl_addr *a = NULL;

	(void)state;
	assert_int_equal(net_parse_destination(AF_INET, "10.0.0.0/8", &a, &err), 0);
	assert_address(a, "10.0.0.0/8");
	assert_int_equal(net_parse_destination(AF_INET6, "default", &a, &err), 0);
	assert_int_equal(nl_addr_get_prefixlen(a), 0);
	nl_addr_put(a);
	assert_int_equal(net_parse_destination(AF_INET, "", &a, &err), 0);
	assert_int_equal(nl_addr_get_prefixlen(a), 0);
	nl_addr_put(a);
	a = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_error_names(net_parse_destination(AF_INET, bad[i], &a, &err),
			-EINVAL, "is not a");
		assert_null(a);
	}
}

/* ---- interfaces ---- */

/* The interface as the agent says it is now; the caller's. */
static Types__Interface *update_interface(
	Types__Interface *want, int64_t deadline, struct err *err)
{
	Grpc__UpdateInterfaceRequest req = GRPC__UPDATE_INTERFACE_REQUEST__INIT;
	Types__Interface *out = NULL;

	req.interface = want;
	agent_update_interface(guest.agent, &req, &out, deadline, err);
	return out;
}

static void update_ok(const char *name, const char *mac, const char *address)
{
	Types__IPAddress ip = TYPES__IPADDRESS__INIT, *ips[] = {&ip};
	Types__Interface want = TYPES__INTERFACE__INIT, *out;
	struct err err = ERR_INIT;

	want.name = (char *)name;
	want.hwaddr = (char *)mac;
	if (address) {
		ip.family =
			strchr(address, ':') ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
		ip.address = (char *)address;
		ip.mask = strchr(address, ':') ? "64" : "24";
		want.ipaddresses = ips;
		want.n_ipaddresses = 1;
	}
	out = update_interface(&want, soon(), &err);
	if (!out)
		fail_msg("%s", err.text);
	assert_string_equal(out->name, name);
	types__interface__free_unpacked(out, NULL);
}

static void test_interface(void **state)
{
	Types__IPAddress four = TYPES__IPADDRESS__INIT, six = TYPES__IPADDRESS__INIT;
	Types__IPAddress *ips[] = {&four, &six};
	Types__Interface want = TYPES__INTERFACE__INIT, *out;
	struct err err = ERR_INIT;

	(void)state;
	update_ok("old", MAC_A, "192.0.2.77");
	want.name = "net0";
	want.hwaddr = MAC_A;
	want.mtu = 1400;
	four.address = "192.0.2.5";
	four.mask = "24";
	six.family = TYPES__IPFAMILY__v6;
	six.address = "2001:db8::5";
	six.mask = "64";
	want.ipaddresses = ips;
	want.n_ipaddresses = has_ipv6() ? 2 : 1;
	out = update_interface(&want, soon(), &err);
	if (!out)
		fail_msg("%s", err.text);
	assert_string_equal(out->name, "net0");
	assert_string_equal(out->hwaddr, MAC_A);
	assert_string_equal(out->type, "veth");
	assert_int_equal(out->mtu, 1400);
	assert_true(out->raw_flags & IFF_UP);
	/* The one before is gone; a link-local one may have come. */
	assert_true(out->n_ipaddresses >= want.n_ipaddresses);
	assert_string_equal(out->ipaddresses[0]->address, "192.0.2.5");
	assert_string_equal(out->ipaddresses[0]->mask, "24");
	assert_int_equal(out->ipaddresses[0]->family, TYPES__IPFAMILY__v4);
	types__interface__free_unpacked(out, NULL);
	/* Nothing is given up over a second time. */
	out = update_interface(&want, soon(), &err);
	assert_non_null(out);
	types__interface__free_unpacked(out, NULL);
}

/* The names that are wanted were given by the kernel to the other one. */
static void test_names_crossed(void **state)
{
	struct err err = ERR_INIT;
	int index;

	(void)state;
	update_ok("eth1", MAC_A, "192.0.2.1");
	update_ok("eth0", MAC_B, "198.51.100.1");
	assert_int_equal(net_index("eth0", &index, &err), 0);
	assert_int_equal(net_index("eth1", &index, &err), 0);
}

static void *plug_later(void *arg)
{
	(void)arg;
	plug("late", "peer0", MAC_A);
	return NULL;
}

/* The request may come before the interface. */
static void test_waits(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(thread_start(plug_later, NULL, 1 << 20, false, &thread), 0);
	update_ok("eth0", MAC_A, "192.0.2.1");
	pthread_join(thread, NULL);
}

static void test_waits_in_vain(void **state)
{
	Types__Interface want = TYPES__INTERFACE__INIT;
	struct err err = ERR_INIT;

	(void)state;
	want.name = "eth0";
	want.hwaddr = "02:00:00:00:00:ee";
	assert_null(update_interface(&want, deadline_after_ms(1), &err));
	assert_int_equal(err.code, -ETIMEDOUT);
}

static void test_interface_refused(void **state)
{
	static const char *const names[] = {
		"", ".", "..", "a/b", "a b", "a:1", "sixteen-and-more"};
	Types__IPAddress ip = TYPES__IPADDRESS__INIT, *ips[] = {&ip};
	Types__Interface want = TYPES__INTERFACE__INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_null(update_interface(NULL, soon(), &err));
	assert_error(err.code, -EINVAL, "UpdateInterface: no interface is given");
	want.hwaddr = MAC_A;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		want.name = (char *)names[i];
		assert_null(update_interface(&want, soon(), &err));
		assert_error_names(err.code, -EINVAL, "is not an interface's name");
	}
	want.name = "eth0";
	want.mtu = 65536;
	assert_null(update_interface(&want, soon(), &err));
	assert_error_names(err.code, -EINVAL, "too large an MTU");
	want.mtu = 0;
	want.hwaddr = "0";
	assert_null(update_interface(&want, soon(), &err));
	assert_error(err.code, -EINVAL, "UpdateInterface: 0 is not a hardware address");
	want.hwaddr = MAC_A;
	want.ipaddresses = ips;
	want.n_ipaddresses = 1;
	ip.address = "192.0.2.256";
	assert_null(update_interface(&want, soon(), &err));
	assert_error(
		err.code, -EINVAL, "UpdateInterface: 192.0.2.256 is not an IPv4 address");
}

static void test_list_interfaces(void **state)
{
	Grpc__ListInterfacesRequest req = GRPC__LIST_INTERFACES_REQUEST__INIT;
	Grpc__Interfaces *out = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(agent_list_interfaces(guest.agent, &req, &out, soon(), &err), 0);
	/* lo, and two with two ends. */
	assert_int_equal(out->n_interfaces, 5);
	assert_string_equal(out->interfaces[0]->name, "lo");
	grpc__interfaces__free_unpacked(out, NULL);
}

/* ---- routes ---- */

static int update_routes(
	Types__Route **routes, size_t n, char **ret_text, struct err *err)
{
	Grpc__UpdateRoutesRequest req = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__Routes list = GRPC__ROUTES__INIT, *out = NULL;
	int r;

	list.routes = routes;
	list.n_routes = n;
	req.routes = routes ? &list : NULL;
	r = agent_update_routes(guest.agent, &req, &out, soon(), err);
	if (r < 0)
		return r;
	if (ret_text)
		*ret_text = routes_text(out);
	grpc__routes__free_unpacked(out, NULL);
	return 0;
}

static void test_routes(void **state)
{
	Types__Route far = TYPES__ROUTE__INIT, all = TYPES__ROUTE__INIT,
		     near = TYPES__ROUTE__INIT, *routes[] = {&all, &far, &near};
	_cleanup_free_ char *text = NULL, *again = NULL;
	struct err err = ERR_INIT;

	(void)state;
	update_ok("eth0", MAC_A, "192.0.2.5");
	/* Its gateway is on a network that is named after it. */
	all.device = far.device = near.device = "eth0";
	all.gateway = "203.0.113.1";
	far.dest = "10.0.0.0/8";
	far.gateway = "192.0.2.1";
	far.source = "192.0.2.5";
	near.dest = "203.0.113.0/24";
	near.scope = RT_SCOPE_LINK;
	if (update_routes(routes, 3, &text, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(text, "- 203.0.113.1 eth0;10.0.0.0/8 192.0.2.1 eth0;"
				  "192.0.2.0/24 - eth0;203.0.113.0/24 - eth0;");
	/* All are replaced, but for the kernel's own. */
	assert_int_equal(update_routes(&routes[1], 1, &again, &err), 0);
	assert_string_equal(again, "10.0.0.0/8 192.0.2.1 eth0;192.0.2.0/24 - eth0;");
}

static void test_route_on_link(void **state)
{
	Types__Route route = TYPES__ROUTE__INIT, *routes[] = {&route};
	_cleanup_free_ char *text = NULL;
	struct err err = ERR_INIT;

	(void)state;
	update_ok("eth0", MAC_A, "192.0.2.5");
	route.device = "eth0";
	route.gateway = "169.254.1.1";
	assert_error_names(update_routes(routes, 1, NULL, &err), -EIO,
		"UpdateRoutes: add the route to everywhere by 169.254.1.1 on eth0: ");
	route.flags = 4 /* RTNH_F_ONLINK */ | 0xfffffff0;
	if (update_routes(routes, 1, &text, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(text, "- 169.254.1.1 eth0;192.0.2.0/24 - eth0;");
}

static void test_routes_refused(void **state)
{
	Types__Route route = TYPES__ROUTE__INIT, *routes[] = {&route};
	struct err err = ERR_INIT;

	(void)state;
	update_ok("eth0", MAC_A, "192.0.2.5");
	assert_error(update_routes(NULL, 0, NULL, &err), -EINVAL,
		"UpdateRoutes: no routes are given");
	route.device = "eth9";
	route.dest = "10.0.0.0/8";
	assert_error(update_routes(routes, 1, NULL, &err), -ENOENT,
		"UpdateRoutes: there is no interface eth9");
	route.device = "eth0";
	route.dest = "10.0.0.0/99";
	assert_error(update_routes(routes, 1, NULL, &err), -EINVAL,
		"UpdateRoutes: 99 is not a prefix length of 0 to 32");
	route.dest = "10.0.0.0/8";
	route.source = "::1";
	assert_error(update_routes(routes, 1, NULL, &err), -EINVAL,
		"UpdateRoutes: ::1 is not an IPv4 address");
	route.source = "";
	route.scope = 256 + RT_SCOPE_LINK;
	assert_error(update_routes(routes, 1, NULL, &err), -EINVAL,
		"UpdateRoutes: 509 is not a route's scope");
}

/* ---- neighbours ---- */

static int add_neighbor(
	const char *ip, const char *mac, const char *device, struct err *err)
{
	Grpc__AddARPNeighborsRequest req = GRPC__ADD_ARPNEIGHBORS_REQUEST__INIT;
	Types__ARPNeighbor neighbor = TYPES__ARPNEIGHBOR__INIT, *list[] = {&neighbor};
	Grpc__ARPNeighbors neighbors = GRPC__ARPNEIGHBORS__INIT;
	Types__IPAddress address = TYPES__IPADDRESS__INIT;

	address.family =
		ip && strchr(ip, ':') ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
	address.address = (char *)ip;
	neighbor.toipaddress = ip ? &address : NULL;
	neighbor.lladdr = (char *)mac;
	neighbor.device = (char *)device;
	neighbors.arpneighbors = list;
	neighbors.n_arpneighbors = 1;
	req.neighbors = &neighbors;
	return agent_add_arp_neighbors(guest.agent, &req, soon(), err);
}

static void test_neighbors(void **state)
{
	_cleanup_(nl_cache) struct nl_cache *cache = NULL;
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	_cleanup_(nl_addr) struct nl_addr *ip = NULL;
	struct err err = ERR_INIT;
	struct rtnl_neigh *found;
	int index;

	(void)state;
	update_ok("eth0", MAC_A, "192.0.2.5");
	assert_int_equal(add_neighbor("192.0.2.1", MAC_B, "eth0", &err), 0);
	assert_int_equal(add_neighbor("192.0.2.1", MAC_B, "eth0", &err), 0);
	if (has_ipv6())
		assert_int_equal(add_neighbor("2001:db8::1", MAC_B, "eth0", &err), 0);
	assert_int_equal(net_open(&sock, &err), 0);
	assert_int_equal(rtnl_neigh_alloc_cache(sock, &cache), 0);
	assert_int_equal(net_index("eth0", &index, &err), 0);
	assert_int_equal(net_parse_address(AF_INET, "192.0.2.1", NULL, &ip, &err), 0);
	found = rtnl_neigh_get(cache, index, ip);
	assert_non_null(found);
	assert_int_equal(rtnl_neigh_get_state(found), NUD_PERMANENT);
	rtnl_neigh_put(found);
	assert_error(add_neighbor(NULL, MAC_B, "eth0", &err), -EINVAL,
		"AddARPNeighbors: a neighbour without an address");
	assert_error(add_neighbor("192.0.2.1", "x", "eth0", &err), -EINVAL,
		"AddARPNeighbors: x is not a hardware address");
	assert_error(add_neighbor("192.0.2.1", MAC_B, "eth9", &err), -ENOENT,
		"AddARPNeighbors: there is no interface eth9");
}

#define TEST(name)      cmocka_unit_test_setup_teardown(name, begin_with_nics, end)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_macs),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_destinations),
		TEST(test_interface),
		TEST(test_names_crossed),
		TEST_BARE(test_waits),
		TEST_BARE(test_waits_in_vain),
		TEST(test_interface_refused),
		TEST(test_list_interfaces),
		TEST(test_routes),
		TEST(test_route_on_link),
		TEST(test_routes_refused),
		TEST(test_neighbors),
	};

	world_enter(0);
	return cmocka_run_group_tests_name("guest/network", tests, NULL, NULL);
}
