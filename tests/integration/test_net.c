/* SPDX-License-Identifier: Apache-2.0 */
/* shim/net on real interfaces: a pod's namespace, a veth pair, packets through a tap. */
#include "tests/integration/net_namespaces.h"

#define FRAME_TYPE 0x88b5 /* IEEE 802 local experimental: nobody else sends it */

/* All that a join may touch, in the pod's namespace. */
static char *snapshot(void)
{
	return run(
		"pod ip -d addr; pod ip route show table all; pod ip -6 route show table "
		"all; "
		"pod tc qdisc; pod tc filter show dev eth0 ingress; "
		"pod tc filter show dev eth0 egress");
}

static void test_path_errors(void **state)
{
	int fd = -1;

	(void)state;
	assert_err(net_open_path("/nowhere/at/all", &fd, err), -ENOENT,
		"cannot open it: No such file or directory");
	assert_err(net_open_path("/proc/self/status", &fd, err), -ENOENT,
		"there is no namespace");
	assert_err(net_open_path("/proc/self/ns/net", &fd, err), -EPERM,
		"/proc/self/ns/net is the host's network namespace, and a VM can't use "
		"that; give the container a namespace of its own (without a path it gets lo "
		"only)");
	assert_ok(net_cleanup("/proc/self/ns/net", err));
	end_pod(NULL);
	assert_err(net_open_path(pod.path, &fd, err), -ENOENT,
		"cannot open it: No such file or directory");
	assert_int_equal(fd, -1);
	assert_ok(net_cleanup(pod.path, err));
	assert_ok(net_cleanup("/proc/self/status", err));
}

static void test_no_network_namespace(void **state)
{
	_cleanup_close_ int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct net *net = NULL;

	(void)state;
	assert_err(net_new(fd, &net, err), -EINVAL, "cannot enter it: Invalid argument");
	assert_null(net);
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
	net = join_pod();
	/* QEMU has it, and may have CAP_FOWNER: the host's device stays as it is. */
	assert_int_equal(fchmod(net->nics[0].tap_fd, 0600), -1);
	assert_int_equal(errno, EROFS);
	assert_passes(net->nics[0].tap_fd, "host0");
	assert_passes(net->nics[1].tap_fd, "host1");
	taps = run(
		"pod ip -o link show up type tun | grep -o 'tap.*_stncl.*mtu [0-9]*' | "
		"sed 's/<.*>//; s/tap[0-9]*/tap/'");
	assert_string_equal(taps, "tap_stncl:  mtu 1450\ntap_stncl:  mtu 1500\n");
	addresses = run("pod ip -o addr show | grep stncl || :");
	assert_string_equal(addresses, "");

	/* A view has the pod's interfaces only: lo and two. */
	struct net_view *again = scan(net);
	assert_int_equal(again->n_interfaces, 3);
	net_view_free(again);
	assert_ok(net_follow_mtu(net, &net->nics[1], 1400, err));
	free(run("pod ip -o link show up type tun | grep -q 'mtu 1400'"));

	assert_ok(net_leave(net, err));
	assert_ok(net_leave(net, err));
	assert_int_equal(net->n_nics, 0);
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
	net = join_pod();
	if (held)
		holder = fcntl(net->nics[0].tap_fd, F_DUPFD_CLOEXEC, 0);
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
	struct net_view *view;
	struct net_nic *nic;
	struct net *net;

	(void)state;
	do_run(MAKE_ETH0 MAKE_ETH1 "pod tc qdisc add dev eth1 clsact");
	wait_running("eth0");
	wait_running("eth1");
	before = snapshot();
	net = open_pod();
	view = scan(net);
	assert_ok(net_join(net, &view->interfaces[1], &nic, err));
	assert_err(net_join(net, &view->interfaces[2], &nic, err), -EEXIST,
		"cannot join interface eth1 to a tap: eth1 has an ingress or clsact "
		"qdisc already: "
		"its packets are another's");
	net_view_free(view);
	assert_int_equal(net->n_nics, 1);
	assert_ok(net_leave(net, err));
	assert_ok(net_cleanup(pod.path, err));
	after = snapshot();
	assert_string_equal(before, after);
	net_free(net);
}

static void test_interface_gone(void **state)
{
	_cleanup_free_ char *left = NULL;
	struct net_view *view;
	struct net_nic *nic;
	struct net *net;

	(void)state;
	do_run(MAKE_ETH0 MAKE_ETH1);
	net = join_pod();
	view = scan(net);
	do_run("ip link del host0");
	assert_ok(net_leave(net, err));
	left = run("pod ip -o link | grep -c stncl || :");
	assert_string_equal(left, "0\n");
	/* Between scan and join: the tap made for it is taken back. */
	assert_err(net_join(net, &view->interfaces[1], &nic, err), -ENODEV,
		"cannot join interface eth0 to a tap: cannot add the ingress qdisc to "
		"eth0 "
		"(sch_ingress): No such device");
	free(left);
	left = run("pod ip -o link | grep -c stncl || :");
	assert_string_equal(left, "0\n");
	net_view_free(view);
	net_free(net);
}

/* The pod's processes are gone, our descriptor keeps the namespace. */
static void test_namespace_gone(void **state)
{
	struct net *net = NULL;

	(void)state;
	do_run(MAKE_ETH0);
	net = join_pod();
	end_pod(NULL);
	assert_passes(net->nics[0].tap_fd, "host0");
	assert_ok(net_leave(net, err));
	net_free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POD_TEST(test_path_errors),
		POD_TEST(test_no_network_namespace),
		POD_TEST(test_join),
		POD_TEST(test_crash),
		POD_TEST(test_crash_tap_held),
		POD_TEST(test_foreign_qdisc),
		POD_TEST(test_interface_gone),
		POD_TEST(test_namespace_gone),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
