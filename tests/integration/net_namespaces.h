/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces for the tests of shim/net: the host's end of veth pairs, and a pod's. */
#pragma once

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
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "base/util.h"
#include "tests/lib/patience.h"

/* The test runs in a namespace of its own, which is the host's end of the veth pairs. The
 * pod's is held by a child and ends with it. */
struct pod {
	pid_t pid;
	char path[64];
};

static struct pod pod, twin;

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

static inline void start_namespace(struct pod *p)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	p->pid = fork();
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	snprintf(p->path, sizeof(p->path), "/proc/%d/ns/net", (int)p->pid);
}

static inline void end_namespace(struct pod *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		assert_int_equal(waitpid(p->pid, NULL, 0), p->pid);
	}
	p->pid = 0;
}

static inline int start_pod(void **state)
{
	(void)state;
	/* What the test before left goes when the kernel gets to it; here it is gone. */
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	start_namespace(&pod);
	return 0;
}

static inline int end_pod(void **state)
{
	(void)state;
	end_namespace(&pod);
	end_namespace(&twin);
	return 0;
}

static inline struct net *open_pod(void)
{
	_cleanup_close_ int fd = -1;
	struct net *net;

	assert_ok(net_open_path(pod.path, &fd, err));
	assert_ok(net_new(fd, &net, err));
	return net;
}

static inline struct net_view *scan(struct net *net)
{
	struct net_view *view;

	assert_ok(net_scan(net, &view, err));
	return view;
}

/* All NICs that the pod has. */
static inline struct net *join_pod(void)
{
	struct net *net = open_pod();
	struct net_view *view = scan(net);
	struct net_nic *nic;

	for (unsigned int i = 0; i < view->n_interfaces; i++)
		if (view->interfaces[i].is_nic)
			assert_ok(net_join(net, &view->interfaces[i], &nic, err));
	net_view_free(view);
	return net;
}

/* A shell command in our namespace; "$POD" is the pod's pid
 * and "pod" runs what follows there, "twin" in the twin's. */
static inline char *run(const char *command)
{
	_cleanup_free_ char *line =
		xasprintf("set -e; POD=%d; pod() { nsenter --net=%s \"$@\"; }; "
			  "twin() { nsenter --net=%s \"$@\"; }; %s",
			(int)pod.pid, pod.path, twin.path, command);
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

static inline void do_run(const char *command)
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

static inline bool is_running(int fd, const char *interface)
{
	struct ifreq request = {0};

	str_copy(request.ifr_name, interface);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	return request.ifr_flags & IFF_RUNNING;
}

/* The kernel notices up to a second later that both ends of a pair are up; until then `ip
 * -d` says NO-CARRIER, and there is a route less. The last command waits for the kernel's
 * lock, under which it adds that. */
static inline void wait_running(const char *interface)
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

#define POD_TEST(name) cmocka_unit_test_setup_teardown(name, start_pod, end_pod)
