/* SPDX-License-Identifier: Apache-2.0 */
/* shim/port_steer in a network namespace: whatever is dialled on loopback comes to it. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/util.h"
#include "shim/port_steer.h"

static int netns_fd;

static int enter_namespace(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0 || loopback_raise() < 0)
		return -1;
	netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return netns_fd < 0 ? -1 : 0;
}

static int leave_namespace(void **state)
{
	(void)state;
	return close(netns_fd);
}

/* 0 or a negative errno. */
static int dial(int family, const char *address, uint16_t port, int *ret_fd)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	bool is_v4 = family == AF_INET;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(family, address,
				 is_v4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr),
		1);
	if (connect(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		    is_v4 ? sizeof(v4) : sizeof(v6)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static void assert_accepted(int listen_fd, const char *address, uint16_t port)
{
	struct sockaddr_in6 a = {0};
	socklen_t len = sizeof(a);
	char text[INET6_ADDRSTRLEN];
	int fd = accept(listen_fd, NULL, NULL);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	assert_string_equal(
		inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof(text)), address);
	assert_int_equal(ntohs(a.sin6_port), port);
	close(fd);
}

static void test_steer(void **state)
{
	int listen_fd, link_fd, fd;
	struct err err = ERR_INIT;

	(void)state;
	if (port_steer(netns_fd, &listen_fd, &link_fd, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(dial(AF_INET, "127.0.0.1", 80, &fd), 0);
	assert_accepted(listen_fd, "::ffff:127.0.0.1", 80);
	close(fd);
	assert_int_equal(dial(AF_INET, "127.9.8.7", 65535, &fd), 0);
	assert_accepted(listen_fd, "::ffff:127.9.8.7", 65535);
	close(fd);
	assert_int_equal(dial(AF_INET6, "::1", 1, &fd), 0);
	assert_accepted(listen_fd, "::1", 1);
	close(fd);
	close(link_fd);
	assert_int_equal(dial(AF_INET, "127.0.0.1", 80, &fd), -ECONNREFUSED);
	close(listen_fd);
}

/* Another address of the namespace is none of loopback's. */
static void test_others(void **state)
{
	int listen_fd, link_fd, fd;
	struct err err = ERR_INIT;

	(void)state;
	if (port_steer(netns_fd, &listen_fd, &link_fd, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(dial(AF_INET, "0.0.0.0", 81, &fd), 0);
	assert_accepted(listen_fd, "::ffff:127.0.0.1", 81);
	close(fd);
	assert_int_equal(dial(AF_INET, "10.1.1.1", 80, &fd), -ENETUNREACH);
	close(link_fd);
	close(listen_fd);
}

static void test_no_namespace(void **state)
{
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int listen_fd = -1, link_fd = -1;
	struct err err = ERR_INIT;

	(void)state;
	assert_error(port_steer(null_fd, &listen_fd, &link_fd, &err), -EINVAL,
		"cannot listen in the network namespace: Invalid argument");
	assert_int_equal(listen_fd, -1);
	assert_int_equal(link_fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steer),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_no_namespace),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root: network namespaces and BPF\n");
		return 0;
	}
	return cmocka_run_group_tests_name(
		"integration/port_steer", tests, enter_namespace, leave_namespace);
}
