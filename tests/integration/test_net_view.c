/* SPDX-License-Identifier: Apache-2.0 */
/* Views of a network namespace, asked of the kernel of another one. */
#include "tests/integration/net_namespaces.h"

/*
 * What a view says is asked of the kernel of another namespace, as the guest's would be.
 * The interfaces there have the same indices, so nothing has to be translated. Then the
 * two have to look alike to `ip`.
 */
static bool skip_nothing(void *user, int index)
{
	(void)user, (void)index;
	return false;
}

static struct nl_sock *open_twin(void)
{
	_cleanup_close_ int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
			    ns = open(twin.path, O_RDONLY | O_CLOEXEC);
	struct nl_sock *sock = nl_socket_alloc();

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	assert_int_equal(nl_connect(sock, NETLINK_ROUTE), 0);
	assert_int_equal(setns(host, CLONE_NEWNET), 0);
	return sock;
}

/* What is so already is no error. */
static void ask_twin(struct nl_sock *sock, const struct net_change *change)
{
	static const int fine[] = {-NLE_EXIST, -NLE_OBJ_NOTFOUND, -NLE_NOADDR};

	for (size_t i = 0; i < change->n_messages; i++) {
		struct nl_msg *msg = nlmsg_convert(
			(struct nlmsghdr *)(void *)change->messages[i].data);
		int r;

		assert_non_null(msg);
		assert_true(nl_send_auto(sock, msg) > 0);
		r = nl_wait_for_ack(sock);
		if (r < 0 && r != fine[0] && r != fine[1] && r != fine[2])
			fail_msg("message %zu of type %d: %s", i,
				nlmsg_hdr(msg)->nlmsg_type, nl_geterror(r));
		nlmsg_free(msg);
	}
}

static size_t follow(const struct net_view *from, const struct net_view *to)
{
	const struct net_comparison c = {.from = from, .to = to, .skip = skip_nothing};
	struct nl_sock *sock = open_twin();
	struct net_change gone, new;
	size_t n;

	net_compare(&c, &gone, &new);
	ask_twin(sock, &gone);
	ask_twin(sock, &new);
	n = gone.n_messages + new.n_messages;
	net_change_done(&gone);
	net_change_done(&new);
	nl_socket_free(sock);
	return n;
}

/* The kernel makes ff00::/8, and the local routes of addresses, when it gets to it. */
#define LOOK(where)                                                                         \
	where " ip -o addr | sed 's/@[^ ]*//; s/ valid_lft.*//; s/ noprefixroute//';" where \
	      " ip -4 route show table all;" where                                          \
	      " ip -6 route show table all | sed '/ff00::.8/d; /table local/d';" where      \
	      " ip rule;" where " ip -6 rule;" where                                        \
	      " ip neigh show nud permanent;" where                                         \
	      " ip -o link | sed 's/@[^ ]*//; s/ qdisc.*//; s/LOWER_UP//; s/<.*UP.*>/up/; " \
	      "s/<.*>/down/';" where " ip -d -o link show type vlan;" where                 \
	      " ip -d -o link show type macvlan"

static void assert_alike(void)
{
	_cleanup_free_ char *saw = run(LOOK("twin")), *wanted = run(LOOK("pod"));

	assert_string_equal(saw, wanted);
}

/* What comes with an interface that goes up comes later. */
static void settle(void)
{
	static const char *const names[] = {"eth0", "eth1"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *look =
			xasprintf("pod ip -o link show up dev %s", names[i]);
		_cleanup_free_ char *up = run(look);

		if (*up)
			wait_running(names[i]);
	}
}

/* The pod's eth0 and eth1, and in the twin NICs of their indices that know nothing. */
static void start_twin(void)
{
	start_namespace(&twin);
	do_run("pod ip link set lo up; twin ip link set lo up;" MAKE_ETH0 MAKE_ETH1
	       "for i in 0 1; do "
	       "twin ip link add eth$i index $(pod ip -o link show eth$i | cut -d: -f1) "
	       "address 02:00:00:00:00:0$i type veth peer name twin$i netns $$;"
	       "twin ip link set eth$i addrgenmode none; ip link set twin$i up;"
	       "done");
	settle();
}

/* One after the other, each the whole of a pod's configuration or a change of it. */
static void check_follows(const char *const *commands, size_t n)
{
	_cleanup_(net_view) struct net_view *told = NULL;
	struct net *net;

	start_twin();
	net = open_pod();
	for (size_t i = 0; i < n; i++) {
		struct net_view *view;

		do_run(commands[i]);
		settle();
		view = scan(net);
		assert_true(follow(told, view) > 0);
		assert_alike();
		net_view_free(told);
		told = view;
	}
	/* Nothing has changed since. */
	_cleanup_(net_view) struct net_view *again = scan(net);
	assert_int_equal(follow(told, again), 0);
	net_free(net);
}
#define CHECK_FOLLOWS(...)                                                               \
	do {                                                                             \
		static const char *const commands[] = {__VA_ARGS__};                     \
                                                                                         \
		check_follows(commands, ARRAY_SIZE(commands));                           \
	} while (0)

static void test_addresses(void **state)
{
	(void)state;
	CHECK_FOLLOWS("pod ip addr add 10.1.2.3/24 dev eth0;"
		      "pod ip addr add 10.1.2.4/24 dev eth0 label eth0:1;"
		      "pod ip addr add 10.77.0.1/20 dev eth0;"
		      "pod ip -6 addr add fd00:1::3/64 dev eth0 nodad;"
		      "pod ip -6 addr add fd00:2::3/128 dev eth0 nodad;"
		      "pod ip -6 addr add fd00:3::3/64 dev eth0 nodad noprefixroute;"
		      "pod ip -6 addr add fd00:4::3/64 dev eth0 nodad preferred_lft 0;"
		      "pod ip addr add 10.5.5.1 peer 10.5.5.2/32 dev eth1;"
		      "pod ip addr add 10.255.0.1/32 dev lo",
		/* The first one takes the second with it. */
		"pod ip addr del 10.1.2.3/24 dev eth0; pod ip addr del 10.255.0.1/32 dev "
		"lo",
		"pod ip addr flush dev eth0; pod ip addr flush dev eth1",
		"pod ip addr add 10.1.2.3/24 dev eth0; pod ip link set eth1 down");
}

/* A second address of a network stays if the kernel is told so, and not in the twin. */
static void test_promoted(void **state)
{
	(void)state;
	CHECK_FOLLOWS("pod sh -c 'echo 1 "
		      ">/proc/sys/net/ipv4/conf/eth0/promote_secondaries';"
		      "pod ip addr add 10.1.2.3/24 dev eth0;"
		      "pod ip addr add 10.1.2.4/24 dev eth0;"
		      "pod ip route add 10.3.0.0/16 via 10.1.2.1",
		"pod ip addr del 10.1.2.3/24 dev eth0");
}

static void test_routes(void **state)
{
	(void)state;
	CHECK_FOLLOWS(
		"pod ip addr add 10.1.2.3/24 dev eth0;"
		"pod ip addr add 10.77.0.1/20 dev eth0;"
		"pod ip addr add 10.5.5.1/32 dev eth1;"
		"pod ip -6 addr add fd00:1::3/64 dev eth0 nodad;"
		"pod ip -6 addr add fd00:5::3/64 dev eth1 nodad;"
		"pod ip route add default via 10.1.2.1 metric 100 mtu 1400 advmss 1300;"
		"pod ip route add default via 10.1.2.2 metric 50;"
		"pod ip route add 10.9.0.0/16 dev eth0 src 10.77.0.1;"
		"pod ip route add 192.168.7.0/24 via 172.16.0.1 dev eth1 onlink;"
		"pod ip route add 169.254.1.1 dev eth1;"
		"pod ip route add 192.168.6.0/24 via 169.254.1.1 dev eth1;"
		"pod ip route add 10.4.0.0/16 nexthop via 10.1.2.1 weight 3 nexthop "
		"via 169.254.1.1 dev eth1;"
		"pod ip route add 10.6.0.0/16 via inet6 fd00:1::9 dev eth0;"
		"pod ip route add blackhole 10.66.0.0/16;"
		"pod ip route add unreachable 10.65.0.0/16;"
		"pod ip route add local 10.64.0.0/16 dev lo table 100;"
		"pod ip route add 10.67.0.0/16 dev eth0 table 1000;"
		"pod ip -6 route add default via fd00:1::1;"
		"pod ip -6 route add fd00:9::/64 nexthop via fd00:1::1 nexthop via "
		"fd00:5::1;"
		"pod ip -6 route add prohibit fd00:a::/64;"
		"pod ip -6 route add fd00:b::/64 dev eth1 metric 7 table 100",
		"pod ip route del default metric 50;"
		"pod ip route change 10.4.0.0/16 via 10.1.2.1;"
		"pod ip -6 route change default via fd00:1::2;"
		"pod ip -6 route del fd00:9::/64 via fd00:5::1",
		"pod ip link set eth1 down",
		"pod ip link set eth1 up; pod ip route add 10.4.4.0/24 dev eth1");
}

/* The route that came with an address is another's now, or nobody's (CNI's ptp). */
static void test_prefix_gone(void **state)
{
	(void)state;
	CHECK_FOLLOWS("pod ip addr add 10.1.2.3/24 dev eth0;"
		      "pod ip -6 addr add fd00:1::3/64 dev eth0 nodad;"
		      "pod ip addr add 10.5.5.1/24 dev eth1;"
		      "pod ip route del 10.1.2.0/24;"
		      "pod ip route add 10.1.2.1 dev eth0;"
		      "pod ip route add 10.1.2.0/24 via 10.1.2.1;"
		      "pod ip -6 route del fd00:1::/64",
		"pod ip route del 10.5.5.0/24",
		"pod ip link set eth1 down; pod ip link set eth1 up");
}

static void test_rules_and_neighbours(void **state)
{
	(void)state;
	CHECK_FOLLOWS(
		"pod ip addr add 10.1.2.3/24 dev eth0;"
		"pod ip rule add from 10.1.2.3 lookup 100 priority 50;"
		"pod ip rule add not fwmark 0x5/0xf iif eth1 lookup 1000 priority 60;"
		"pod ip rule add uidrange 5-10 ipproto tcp dport 80-90 lookup 100 priority "
		"70;"
		"pod ip rule add lookup main suppress_prefixlength 0 priority 80;"
		"pod ip -6 rule add to fd00::/8 blackhole priority 90;"
		"pod ip neigh add 10.1.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent;"
		"pod ip neigh add fd00::1 lladdr 02:00:00:00:00:02 dev eth1 nud permanent;"
		"pod ip neigh add 10.1.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud stale",
		"pod ip rule del priority 60; pod ip neigh del 10.1.2.1 dev eth0;"
		"pod ip neigh change fd00::1 lladdr 02:00:00:00:00:03 dev eth1");
}

/* Not each kernel has all. */
static bool lacks_kind(const char *kind)
{
	_cleanup_free_ char *command = xasprintf(
		"ip link add host0 type veth peer name host1; "
		"ip link add link host0 name try type %s 2>/dev/null && echo yes; "
		"ip link del host0",
		kind);
	_cleanup_free_ char *answer = run(command);

	if (!*answer)
		print_message("# not looked at: this kernel has no %s\n", kind);
	return !*answer;
}

/* What lies over the pod's interfaces, or over none, is made again. */
static void test_made_interfaces(void **state)
{
	(void)state;
	if (lacks_kind("vlan id 1") || lacks_kind("macvlan"))
		return;
	CHECK_FOLLOWS("pod ip link add link eth0 name eth0.5 type vlan id 5;"
		      "pod ip link set eth0.5 mtu 1400 addrgenmode none up;"
		      "pod ip addr add 10.5.0.1/24 dev eth0.5;"
		      "pod ip route add default via 10.5.0.2",
		"pod ip link add mac0 link eth1 address 02:00:00:00:00:21 type macvlan mode "
		"bridge; pod ip link set eth0.5 down",
		"pod ip link del eth0.5",
		"pod ip link del mac0; pod ip link set eth0 mtu 1300 alias two\\ words");
}

static void test_bridge(void **state)
{
	_cleanup_(net_view) struct net_view *view = NULL;
	_cleanup_free_ char *text = NULL;
	struct net *net;

	(void)state;
	if (lacks_kind("bridge vlan_filtering 1"))
		return;
	start_twin();
	do_run("pod ip link add br0 address 02:00:00:00:00:30 type bridge ageing_time 700;"
	       "pod ip link set eth0 master br0; pod ip link set br0 addrgenmode none up;"
	       "pod ip addr add 10.1.0.2/24 dev br0");
	net = open_pod();
	view = scan(net);
	follow(NULL, view);
	text = run("twin ip -d -o link show br0 | grep -o 'ageing_time 7..'; "
		   "twin ip -o link show master br0 | grep -o eth0; "
		   "twin ip -o addr show br0 | grep -o 10.1.0.2/24");
	assert_string_equal(text, "ageing_time 700\neth0\n10.1.0.2/24\n");
	net_free(net);
}

/* Over an interface of another namespace there is nothing to make it of. */
static void test_nics(void **state)
{
	_cleanup_(net_view) struct net_view *view = NULL;
	struct net *net;

	(void)state;
	if (lacks_kind("vlan id 1") || lacks_kind("macvlan"))
		return;
	do_run(MAKE_ETH0 "ip link add link host0 name mac0 netns $POD type macvlan;"
			 "pod ip link add link eth0 name eth0.5 type vlan id 5;"
			 "pod ip link add br0 type bridge");
	net = open_pod();
	view = scan(net);
	assert_int_equal(view->n_interfaces, 5);
	for (unsigned int i = 0; i < view->n_interfaces; i++) {
		const struct net_interface *in = &view->interfaces[i];

		assert_int_equal(in->is_nic,
			strcmp(in->name, "eth0") == 0 || strcmp(in->name, "mac0") == 0);
	}
	assert_string_equal(view->interfaces[0].name, "lo");
	assert_int_equal(view->interfaces[0].index, 1);
	net_free(net);
}

static void test_too_much(void **state)
{
	struct net_view *view = NULL;
	struct net *net;

	(void)state;
	do_run(MAKE_ETH0 "for i in $(seq 8000); do "
			 "echo route add 10.$((i / 256)).$((i % 256)).0/24 dev eth0; "
			 "done | pod ip -batch -");
	net = open_pod();
	net_view_free(scan(net));
	do_run("for i in $(seq 200); do "
	       "echo route add 10.200.$i.0/24 dev eth0; done | pod ip -batch -");
	assert_err(net_scan(net, &view, err), -E2BIG,
		"it has more than 8192 addresses, routes, rules and neighbours");
	assert_null(view);
	net_free(net);
}

static void test_too_many_nics(void **state)
{
	struct net_view *view = NULL;
	struct net *net;

	(void)state;
	do_run("for i in $(seq 17); do pod ip link add a$i type veth peer name b$i; "
	       "done");
	net = open_pod();
	assert_err(net_scan(net, &view, err), -E2BIG, "it has more than 32 interfaces");
	net_free(net);
}

/* Whatever changes is heard of, and what was forgotten is not heard of again. */
static void test_events(void **state)
{
	static const char *const changes[] = {"pod ip link set eth0 mtu 1400",
		"pod ip addr add 10.1.2.3/24 dev eth0",
		"pod ip route add 10.3.0.0/16 dev eth0",
		"pod ip -6 addr add fd00::1/64 dev eth0 nodad",
		"pod ip -6 route add fd01::/64 dev eth0", "pod ip rule add lookup 5",
		"pod ip -6 rule add lookup 5",
		"pod ip neigh add 10.1.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
		"ip link add host1 type veth peer name eth1 netns $POD",
		"ip link del host1"};
	struct net *net;

	(void)state;
	do_run(MAKE_ETH0);
	wait_running("eth0");
	net = open_pod();
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		net_forget_events(net);
		do_run(changes[i]);
		assert_int_equal(wait_fd(net_events_fd(net), POLLIN, soon()), 0);
	}
	/* More than the socket holds. */
	do_run("for i in $(seq 4000); do echo route add 11.$((i / 256)).$((i % 256)).0/24 "
	       "dev eth0; done | pod ip -batch -");
	net_forget_events(net);
	assert_int_equal(wait_fd(net_events_fd(net), POLLIN, now_ms()), -ETIMEDOUT);
	net_free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POD_TEST(test_addresses),
		POD_TEST(test_promoted),
		POD_TEST(test_routes),
		POD_TEST(test_prefix_gone),
		POD_TEST(test_rules_and_neighbours),
		POD_TEST(test_made_interfaces),
		POD_TEST(test_bridge),
		POD_TEST(test_nics),
		POD_TEST(test_too_much),
		POD_TEST(test_too_many_nics),
		POD_TEST(test_events),
	};

	return cmocka_run_group_tests_name("net/view", tests, NULL, NULL);
}
