/* SPDX-License-Identifier: Apache-2.0 */
/* shim/net on real interfaces: a pod's namespace, a veth pair, packets through a tap. */
#include "shim/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/io.h"
#include "base/util.h"
#include "tests/lib/patience.h"

/* The test runs in a namespace of its own, which is the host's end of the veth pairs. The
 * pod's is held by a child and ends with it. */
struct pod {
	pid_t pid;
	char path[64];
};

static struct pod pod;

#define FRAME_TYPE 0x88b5 /* IEEE 802 local experimental: nobody else sends it */

#define assert_ok(expr)                                                                  \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		int r_ = (expr);                                                         \
		if (r_ < 0)                                                              \
			fail_msg("%s: %d %s", #expr, r_, err->text);                     \
	} while (0)

#define assert_err(expr, code_, wanted)                                                  \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		int r_ = (expr);                                                         \
		assert_int_equal(r_, code_);                                             \
		assert_int_equal(err->code, code_);                                      \
		assert_string_equal(err->text, wanted);                                  \
	} while (0)

/* ---- the world ---- */

static int start_pod(void **state)
{
	int ready[2];
	char byte;

	(void)state;
	/* What the test before left goes when the kernel gets to it; here it is gone. */
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pod.pid = fork();
	if (pod.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	snprintf(pod.path, sizeof(pod.path), "/proc/%d/ns/net", (int)pod.pid);
	return 0;
}

static int end_pod(void **state)
{
	(void)state;
	if (pod.pid > 0) {
		kill(pod.pid, SIGKILL);
		assert_int_equal(waitpid(pod.pid, NULL, 0), pod.pid);
	}
	pod.pid = 0;
	return 0;
}

/* A shell command in our namespace; "$POD" is the pod's pid
 * and "pod" runs what follows there. */
static char *run(const char *command)
{
	_cleanup_free_ char *line =
		xasprintf("set -e; POD=%d; pod() { nsenter --net=%s \"$@\"; }; %s",
			(int)pod.pid, pod.path, command);
	char *text = xzalloc(65536);
	int out[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", line, NULL);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], text + len, 65535 - len)) > 0)
		len += (size_t)n;
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("failed: %s: %s", command, text);
	return text;
}

static void do_run(const char *command)
{
	free(run(command));
}

/* Without a link-local address: ip -d calls it tentative first,
 * and its route comes later. */
#define POD_UP(interface)                                                                \
	"pod ip link set " interface " addrgenmode none; pod ip link set " interface " up; "
#define MAKE_ETH0                                                                        \
	"ip link add host0 type veth peer name eth0 address 02:00:00:00:00:0a mtu 1450 " \
	"netns $POD; ip link set host0 up; " POD_UP("eth0")
#define MAKE_ETH1                                                                        \
	"ip link add host1 type veth peer name eth1 address 02:00:00:00:00:0b netns "    \
	"$POD; "                                                                         \
	"ip link set host1 up; " POD_UP("eth1")

static bool is_running(int fd, const char *interface)
{
	struct ifreq request = {0};

	str_copy(request.ifr_name, interface);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	return request.ifr_flags & IFF_RUNNING;
}

/* The kernel notices up to a second later that both ends of a pair are up; until then `ip
 * -d` says NO-CARRIER, and there is a route less. The last command waits for the kernel's
 * lock, under which it adds that. */
static void wait_running(const char *interface)
{
	struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	_cleanup_close_ int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
			    ns = open(pod.path, O_RDONLY | O_CLOEXEC), fd = -1;
	int64_t deadline = deadline_after_ms(60000);
	_cleanup_free_ char *again = xasprintf("pod ip link set %s up", interface);
	char message[8192];

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	assert_int_equal(setns(host, CLONE_NEWNET), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&links, sizeof(links)), 0);
	while (!is_running(fd, interface)) {
		assert_int_equal(wait_fd(fd, POLLIN, deadline), 0);
		assert_true(recv(fd, message, sizeof(message), 0) > 0);
	}
	do_run(again);
}

/* All that a join may touch, in the pod's namespace. */
static char *snapshot(void)
{
	return run(
		"pod ip -d addr; pod ip route show table all; pod ip -6 route show table "
		"all; "
		"pod tc qdisc; pod tc filter show dev eth0 ingress; "
		"pod tc filter show dev eth0 egress");
}

/* ---- scan ---- */

static void describe_interface(FILE *out, const Types__Interface *i)
{
	fprintf(out, "%s %s mtu %llu mac %s type %s flags %u\n", i->device, i->name,
		(unsigned long long)i->mtu, i->hwaddr, i->type, i->raw_flags);
	for (size_t a = 0; a < i->n_ipaddresses; a++)
		fprintf(out, "  v%d %s/%s\n", i->ipaddresses[a]->family ? 6 : 4,
			i->ipaddresses[a]->address, i->ipaddresses[a]->mask);
}

static char *describe(const struct net *net)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned int i = 0; i < net->n_interfaces; i++)
		describe_interface(out, net->agent_interfaces[i]);
	for (size_t i = 0; i < net->n_agent_routes; i++) {
		const Types__Route *r = net->agent_routes[i];

		fprintf(out,
			"route v%d '%s' via '%s' dev %s src '%s' scope %u flags %u\n",
			r->family ? 6 : 4, r->dest, r->gateway, r->device, r->source,
			r->scope, r->flags);
	}
	for (size_t i = 0; i < net->n_agent_neighbors; i++) {
		const Types__ARPNeighbor *n = net->agent_neighbors[i];

		fprintf(out, "neighbour v%d %s dev %s lladdr %s state %d flags %d\n",
			n->toipaddress->family ? 6 : 4, n->toipaddress->address,
			n->device, n->lladdr, n->state, n->flags);
	}
	fclose(out);
	return text;
}

static void test_scan(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct net *net = NULL;

	(void)state;
	do_run("pod ip link set lo up; " MAKE_ETH0 MAKE_ETH1
	       "pod ip addr add 10.1.2.3/24 dev eth0;"
	       "pod ip addr add 10.77.0.1/20 dev eth0;"
	       "pod ip -6 addr add fd00:1::3/64 dev eth0 nodad;"
	       "pod ip addr add 10.5.5.1 peer 10.5.5.2/32 dev eth1;"
	       "pod ip route add default via 10.1.2.1;"
	       "pod ip route add 10.9.0.0/16 dev eth0 src 10.77.0.1;"
	       "pod ip route add 192.168.7.0/24 via 172.16.0.1 dev eth1 onlink;"
	       "pod ip route add 192.168.8.8/32 dev eth1;"
	       "pod ip -6 route add default via fd00:1::1;"
	       "pod ip route add blackhole 10.66.0.0/16;"
	       "pod ip route add 10.67.0.0/16 dev eth0 table 100;"
	       "pod ip neigh add 10.1.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud "
	       "permanent;"
	       "pod ip neigh add fd00:1::1 lladdr 02:00:00:00:00:02 dev eth0 nud "
	       "permanent;"
	       "pod ip neigh add 10.1.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud stale");
	assert_ok(net_scan(pod.path, &net, err));
	text = describe(net);
	assert_string_equal(text,
		"eth0 eth0 mtu 1450 mac 02:00:00:00:00:0a type veth flags 0\n"
		"  v4 10.1.2.3/24\n"
		"  v4 10.77.0.1/20\n"
		"  v6 fd00:1::3/64\n"
		"eth1 eth1 mtu 1500 mac 02:00:00:00:00:0b type veth flags 0\n"
		"  v4 10.5.5.1/32\n"
		"route v4 '10.5.5.2/32' via '' dev eth1 src '10.5.5.1' scope 253 flags "
		"0\n"
		"route v4 '10.9.0.0/16' via '' dev eth0 src '10.77.0.1' scope 253 flags "
		"0\n"
		"route v4 '192.168.8.8/32' via '' dev eth1 src '' scope 253 flags 0\n"
		"route v4 '' via '10.1.2.1' dev eth0 src '' scope 0 flags 0\n"
		"route v4 '192.168.7.0/24' via '172.16.0.1' dev eth1 src '' scope 0 "
		"flags 4\n"
		"route v6 '' via 'fd00:1::1' dev eth0 src '' scope 0 flags 0\n"
		"neighbour v4 10.1.2.1 dev eth0 lladdr 02:00:00:00:00:01 state 128 flags "
		"0\n"
		"neighbour v6 fd00:1::1 dev eth0 lladdr 02:00:00:00:00:02 state 128 "
		"flags 0\n");
	assert_int_equal(net->n_interfaces, 2);
	assert_string_equal(net->interfaces[0].name, "eth0");
	assert_memory_equal(net->interfaces[0].mac, "\2\0\0\0\0\n", 6);
	assert_int_equal(net->interfaces[0].mtu, 1450);
	assert_int_equal(net->interfaces[1].tap_fd, -1);
	net_free(net);
}

/* The agent's protocol has no metric, so of routes to one destination the guest gets the
 * best; a connected network's own route is best where it is in the pod. */
static void test_scan_metrics(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct net *net = NULL;

	(void)state;
	do_run(MAKE_ETH0 MAKE_ETH1
		"pod ip addr add 10.1.2.3/24 dev eth0;"
		"pod ip -6 addr add fd00:1::3/64 dev eth0 nodad;"
		"pod ip route add default via 10.1.2.1 metric 100;"
		"pod ip route add default via 10.1.2.2 metric 50;"
		"pod ip route add default via 10.1.2.4 metric 200;"
		"pod ip route add 10.1.2.0/24 dev eth1 metric 10;"
		"pod ip -6 route add default via fd00:1::1 metric 2000;"
		"pod ip -6 route add default via fd00:1::2 metric 1500;"
		"pod ip -6 route add fd00:1::/64 dev eth1 metric 1024");
	assert_ok(net_scan(pod.path, &net, err));
	text = describe(net);
	assert_string_equal(strstr(text, "route "),
		"route v4 '' via '10.1.2.2' dev eth0 src '' scope 0 flags 0\n"
		"route v6 '' via 'fd00:1::2' dev eth0 src '' scope 0 flags 0\n");
	net_free(net);
}

static void test_scan_many_routes(void **state)
{
	_cleanup_free_ char *wanted =
		xasprintf("network namespace %s: it has more than 1024 routes", pod.path);
	struct net *net = NULL;

	(void)state;
	do_run(MAKE_ETH0 "for i in $(seq 1000); do "
			 "echo route add 10.$((i / 256)).$((i % 256)).0/24 dev eth0; "
			 "done | pod ip -batch -");
	assert_ok(net_scan(pod.path, &net, err));
	assert_int_equal(net->n_agent_routes, 1000);
	net_free(steal_ptr(net));
	do_run("for i in $(seq 25); do pod ip route add 10.200.$i.0/24 dev eth0; done");
	assert_err(net_scan(pod.path, &net, err), -E2BIG, wanted);
}

static void test_scan_empty(void **state)
{
	struct net *net = NULL;

	(void)state;
	assert_ok(net_scan(pod.path, &net, err));
	assert_int_equal(net->n_interfaces, 0);
	assert_int_equal(net->n_agent_routes, 0);
	assert_ok(net_join(net, err));
	assert_ok(net_leave(net, err));
	net_free(net);
}

static void test_scan_errors(void **state)
{
	_cleanup_free_ char *gone = NULL;
	struct net *net = NULL;

	(void)state;
	assert_err(net_scan("/nowhere/at/all", &net, err), -ENOENT,
		"network namespace /nowhere/at/all: cannot open it: No such file or "
		"directory");
	assert_err(net_scan("/proc/self/status", &net, err), -ENOENT,
		"network namespace /proc/self/status: there is no namespace");
	assert_err(net_scan("/proc/self/ns/net", &net, err), -EPERM,
		"network namespace /proc/self/ns/net: /proc/self/ns/net is the host's "
		"network namespace, and a VM can't use that; give the container a "
		"namespace of its own (without a path it gets lo only)");
	assert_ok(net_cleanup("/proc/self/ns/net", err));
	assert_err(net_scan("/proc/self/ns/mnt", &net, err), -EINVAL,
		"network namespace /proc/self/ns/mnt: cannot enter it: Invalid argument");
	end_pod(NULL);
	gone = xasprintf(
		"network namespace %s: cannot open it: No such file or directory",
		pod.path);
	assert_err(net_scan(pod.path, &net, err), -ENOENT, gone);
	assert_null(net);
	assert_ok(net_cleanup(pod.path, err));
	assert_ok(net_cleanup("/proc/self/status", err));
}

static void test_too_many(void **state)
{
	struct net *net = NULL;
	_cleanup_free_ char *text = xasprintf(
		"network namespace %s: it has more than 32 interfaces", pod.path);

	(void)state;
	do_run("for i in $(seq 17); do pod ip link add a$i type veth peer name b$i; "
	       "done");
	assert_err(net_scan(pod.path, &net, err), -E2BIG, text);
}

/* ---- join ---- */

static int packet_socket(const char *interface)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
		.sll_protocol = htons(FRAME_TYPE),
		.sll_ifindex = (int)if_nametoindex(interface)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(FRAME_TYPE));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

#define VNET_HDR 10 /* struct virtio_net_hdr, what a new tap begins with */

/* vnet header, Ethernet header, text. */
static size_t make_frame(char *frame, const char *text)
{
	size_t len = VNET_HDR + 14 + strlen(text) + 1;

	memset(frame, 0, len);
	memcpy(frame + VNET_HDR, "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\x0c\x88\xb5", 14);
	memcpy(frame + VNET_HDR + 14, text, strlen(text) + 1);
	return len;
}

/* Reads from a tap until our kind of frame comes. */
static void assert_from_tap(int tap_fd, const char *text)
{
	int64_t deadline = soon();
	char frame[2048];
	ssize_t n;

	do {
		assert_int_equal(wait_fd(tap_fd, POLLIN, deadline), 0);
		n = read(tap_fd, frame, sizeof(frame));
		assert_true(n > VNET_HDR + 14);
	} while (memcmp(frame + VNET_HDR + 12, "\x88\xb5", 2) != 0);
	assert_string_equal(frame + VNET_HDR + 14, text);
}

static void assert_passes(int tap_fd, const char *host)
{
	_cleanup_close_ int fd = packet_socket(host);
	char frame[256], got[256];
	size_t len = make_frame(frame, "from the guest");

	assert_int_equal(write(tap_fd, frame, len), (ssize_t)len);
	assert_int_equal(wait_fd(fd, POLLIN, soon()), 0);
	assert_int_equal(read(fd, got, sizeof(got)), (ssize_t)(len - VNET_HDR));
	assert_string_equal(got + 14, "from the guest");

	len = make_frame(frame, "to the guest");
	assert_int_equal(
		write(fd, frame + VNET_HDR, len - VNET_HDR), (ssize_t)(len - VNET_HDR));
	assert_from_tap(tap_fd, "to the guest");
}

static void test_join(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *taps = NULL,
			    *addresses = NULL;
	struct net *net = NULL;

	(void)state;
	do_run(MAKE_ETH0 MAKE_ETH1 "pod ip addr add 10.1.2.3/24 dev eth0;"
				   "pod ip route add default via 10.1.2.1");
	wait_running("eth0");
	wait_running("eth1");
	before = snapshot();
	assert_ok(net_scan(pod.path, &net, err));
	assert_ok(net_join(net, err));
	/* QEMU has it, and may have CAP_FOWNER: the host's device stays as it is. */
	assert_int_equal(fchmod(net->interfaces[0].tap_fd, 0600), -1);
	assert_int_equal(errno, EROFS);
	assert_passes(net->interfaces[0].tap_fd, "host0");
	assert_passes(net->interfaces[1].tap_fd, "host1");
	taps = run(
		"pod ip -o link show up type tun | grep -o 'tap.*_stncl.*mtu [0-9]*' | "
		"sed 's/<.*>//; s/tap[0-9]*/tap/'");
	assert_string_equal(taps, "tap_stncl:  mtu 1450\ntap_stncl:  mtu 1500\n");
	addresses = run("pod ip -o addr show | grep stncl || :");
	assert_string_equal(addresses, "");

	/* A second scan sees the pod's interfaces only. */
	struct net *again = NULL;
	assert_ok(net_scan(pod.path, &again, err));
	assert_int_equal(again->n_interfaces, 2);
	net_free(again);

	assert_ok(net_leave(net, err));
	assert_ok(net_leave(net, err));
	assert_int_equal(net->interfaces[0].tap_fd, -1);
	after = snapshot();
	assert_string_equal(before, after);
	net_free(net);
}

/* The tap is closed, as when the shim and QEMU were killed; or it is held by somebody. */
static void check_crash(bool held)
{
	_cleanup_free_ char *before = NULL, *between = NULL, *after = NULL;
	_cleanup_close_ int holder = -1;
	struct net *net = NULL;

	do_run(MAKE_ETH0 "pod ip addr add 10.1.2.3/24 dev eth0");
	wait_running("eth0");
	before = snapshot();
	assert_ok(net_scan(pod.path, &net, err));
	assert_ok(net_join(net, err));
	if (held)
		holder = fcntl(net->interfaces[0].tap_fd, F_DUPFD_CLOEXEC, 0);
	net_free(net);
	between = snapshot();
	assert_non_null(strstr(between, "qdisc ingress ffff: dev eth0"));
	assert_int_equal(!!strstr(between, "_stncl"), held);
	assert_ok(net_cleanup(pod.path, err));
	assert_ok(net_cleanup(pod.path, err));
	after = snapshot();
	assert_string_equal(before, after);
}

static void test_crash(void **state)
{
	(void)state;
	check_crash(false);
}

static void test_crash_tap_held(void **state)
{
	(void)state;
	check_crash(true);
}

/* Somebody else's filters stay, whoever's turn it is;
 * what was made before is taken back. */
static void test_foreign_qdisc(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct net *net = NULL;

	(void)state;
	do_run(MAKE_ETH0 MAKE_ETH1 "pod tc qdisc add dev eth1 clsact");
	wait_running("eth0");
	wait_running("eth1");
	before = snapshot();
	assert_ok(net_scan(pod.path, &net, err));
	assert_err(net_join(net, err), -EEXIST,
		"cannot join interface eth1 to a tap: eth1 has an ingress or clsact "
		"qdisc already: "
		"its packets are another's");
	assert_int_equal(net->interfaces[0].tap_fd, -1);
	assert_ok(net_leave(net, err));
	assert_ok(net_cleanup(pod.path, err));
	after = snapshot();
	assert_string_equal(before, after);
	net_free(net);
}

static void test_interface_gone(void **state)
{
	_cleanup_free_ char *left = NULL;
	struct net *net = NULL, *late = NULL;

	(void)state;
	do_run(MAKE_ETH0 MAKE_ETH1);
	assert_ok(net_scan(pod.path, &net, err));
	assert_ok(net_scan(pod.path, &late, err));
	assert_ok(net_join(net, err));
	do_run("ip link del host0");
	assert_ok(net_leave(net, err));
	left = run("pod ip -o link | grep -c stncl || :");
	assert_string_equal(left, "0\n");
	/* Between scan and join: the tap made for it is taken back. */
	assert_err(net_join(late, err), -ENODEV,
		"cannot join interface eth0 to a tap: cannot add the ingress qdisc to "
		"eth0 "
		"(sch_ingress): No such device");
	free(left);
	left = run("pod ip -o link | grep -c stncl || :");
	assert_string_equal(left, "0\n");
	net_free(net);
	net_free(late);
}

/* The pod's processes are gone, our descriptor keeps the namespace. */
static void test_namespace_gone(void **state)
{
	struct net *net = NULL;

	(void)state;
	do_run(MAKE_ETH0);
	assert_ok(net_scan(pod.path, &net, err));
	assert_ok(net_join(net, err));
	end_pod(NULL);
	assert_passes(net->interfaces[0].tap_fd, "host0");
	assert_ok(net_leave(net, err));
	net_free(net);
}

#define POD_TEST(name) cmocka_unit_test_setup_teardown(name, start_pod, end_pod)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POD_TEST(test_scan),
		POD_TEST(test_scan_metrics),
		POD_TEST(test_scan_many_routes),
		POD_TEST(test_scan_empty),
		POD_TEST(test_scan_errors),
		POD_TEST(test_too_many),
		POD_TEST(test_join),
		POD_TEST(test_crash),
		POD_TEST(test_crash_tap_held),
		POD_TEST(test_foreign_qdisc),
		POD_TEST(test_interface_gone),
		POD_TEST(test_namespace_gone),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
