/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dial: connections to the guest's loopback, over the agent's protocol. */
#include "tests/unit/guest_agent.h"

#include <netinet/in.h>
#include <sys/socket.h>

static struct guest guest;
static uint8_t v4[4] = {127, 0, 0, 1};
static uint8_t v6[16] = {[15] = 1};

static int begin(void **state)
{
	(void)state;
	guest_start(&guest);
	return 0;
}

static int end(void **state)
{
	(void)state;
	guest_stop(&guest);
	return 0;
}

/* ---- the guest's side ---- */

/* A listener on loopback, at any port, with room for `queue` that nobody accepted. */
static int listen_on(int family, int queue, uint32_t *ret_port)
{
	struct sockaddr_in6 a6 = {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in a4 = {
		.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, a, len), 0);
	assert_int_equal(listen(fd, queue), 0);
	assert_int_equal(getsockname(fd, a, &len), 0);
	*ret_port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
	return fd;
}

/* ---- asking ---- */

static int dial_until(const uint8_t *ip, size_t len, uint32_t port, int64_t deadline,
	uint64_t *ret_id, struct err *err)
{
	Grpc__DialPortRequest req = GRPC__DIAL_PORT_REQUEST__INIT;
	Grpc__DialPortResponse *out = NULL;
	int r;

	req.address = (ProtobufCBinaryData){len, (uint8_t *)ip};
	req.port = port;
	r = agent_dial_port(guest.agent, &req, &out, deadline, err);
	if (r < 0)
		return r;
	*ret_id = out->id;
	grpc__dial_port_response__free_unpacked(out, NULL);
	return 0;
}

static uint64_t dial_ok(const uint8_t *ip, size_t len, uint32_t port)
{
	struct err err = ERR_INIT;
	uint64_t id = 0;

	if (dial_until(ip, len, port, soon(), &id, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(id != 0);
	return id;
}

/* The bytes that came, 0 at the end; buf has 100. */
static int read_port(uint64_t id, char *buf, struct err *err)
{
	Grpc__ReadPortRequest req = GRPC__READ_PORT_REQUEST__INIT;
	Grpc__ReadStreamResponse *out = NULL;
	int r;

	req.id = id;
	req.len = 100;
	r = agent_read_port(guest.agent, &req, &out, soon(), err);
	if (r < 0)
		return r;
	r = (int)out->data.len;
	assert_true(r <= 100);
	memcpy(buf, out->data.data, (size_t)r);
	grpc__read_stream_response__free_unpacked(out, NULL);
	return r;
}

static int write_port(uint64_t id, const char *text, struct err *err)
{
	Grpc__WritePortRequest req = GRPC__WRITE_PORT_REQUEST__INIT;

	req.id = id;
	req.data = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
	return agent_write_port(guest.agent, &req, soon(), err);
}

static void close_port(uint64_t id)
{
	Grpc__ClosePortRequest req = GRPC__CLOSE_PORT_REQUEST__INIT;
	struct err err = ERR_INIT;

	req.id = id;
	if (agent_close_port(guest.agent, &req, soon(), &err) < 0)
		fail_msg("%s", err.text);
}

/* ---- tests ---- */

/* Both directions, each with an end of its own. */
static void check_streams(int listen_fd, uint64_t id)
{
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct err err = ERR_INIT;
	char buf[100];

	assert_true(fd >= 0);
	assert_int_equal(write_port(id, "asked", &err), 0);
	assert_int_equal(recv(fd, buf, 5, MSG_WAITALL), 5);
	assert_memory_equal(buf, "asked", 5);
	assert_int_equal(write_port(id, "", &err), 0);
	assert_int_equal(recv(fd, buf, 1, 0), 0);
	assert_int_equal(send(fd, "told", 4, 0), 4);
	assert_int_equal(read_port(id, buf, &err), 4);
	assert_memory_equal(buf, "told", 4);
	shutdown(fd, SHUT_WR);
	assert_int_equal(read_port(id, buf, &err), 0);
	close_port(id);
	assert_error(read_port(id, buf, &err), -ENOENT,
		"ReadPort: there is no such connection");
}

static void test_streams(void **state)
{
	uint32_t port4, port6;
	_cleanup_close_ int fd4 = listen_on(AF_INET, 8, &port4);
	_cleanup_close_ int fd6 = listen_on(AF_INET6, 8, &port6);

	(void)state;
	check_streams(fd4, dial_ok(v4, sizeof(v4), port4));
	check_streams(fd6, dial_ok(v6, sizeof(v6), port6));
	/* Who means localhost has dialled one of its addresses. */
	check_streams(fd6, dial_ok(v4, sizeof(v4), port6));
	check_streams(fd4, dial_ok(v6, sizeof(v6), port4));
}

static void test_refused(void **state)
{
	struct err err = ERR_INIT;
	uint32_t port;
	uint64_t id;

	(void)state;
	close(listen_on(AF_INET, 1, &port));
	assert_error_names(dial_until(v4, sizeof(v4), port, soon(), &id, &err),
		-ECONNRESET, "Connection refused");
	assert_error(dial_until(v4, sizeof(v4), 0, soon(), &id, &err), -EINVAL,
		"DialPort: no address, or no port");
	assert_error(dial_until(v4, sizeof(v4), 65536, soon(), &id, &err), -EINVAL,
		"DialPort: no address, or no port");
	assert_error(dial_until(v4, 3, 80, soon(), &id, &err), -EINVAL,
		"DialPort: no address, or no port");
	assert_error(write_port(77, "x", &err), -ENOENT,
		"WritePort: there is no such connection");
	close_port(77);
}

/* A listener that accepts nobody: the kernel answers no more once its queue is full.
 * Who dials waits no longer than he said, and holds up nobody else. */
static void test_full_queue(void **state)
{
	uint32_t port, free_port;
	_cleanup_close_ int fd = listen_on(AF_INET, 0, &port);
	_cleanup_close_ int free_fd = listen_on(AF_INET, 8, &free_port);
	uint64_t first = dial_ok(v4, sizeof(v4), port), id;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(
		dial_until(v4, sizeof(v4), port, deadline_after_ms(1), &id, &err),
		-ETIMEDOUT);
	check_streams(free_fd, dial_ok(v4, sizeof(v4), free_port));
	check_streams(fd, first);
}

struct reader {
	uint64_t id;
	struct err err;
	int r;
};

static void *read_for_ever(void *arg)
{
	struct reader *reader = arg;
	char buf[100];

	reader->r = read_port(reader->id, buf, &reader->err);
	return NULL;
}

/* Whoever reads a connection that is closed hears of it. */
static void test_close_ends_read(void **state)
{
	uint32_t port;
	_cleanup_close_ int fd = listen_on(AF_INET, 8, &port);
	struct reader reader = {.id = dial_ok(v4, sizeof(v4), port)};
	pthread_t thread;

	(void)state;
	assert_int_equal(thread_start(read_for_ever, &reader, 0, false, &thread), 0);
	close_port(reader.id);
	pthread_join(thread, NULL);
	/* It came before, or after. */
	assert_true(reader.r == 0 || reader.r == -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_streams),
		TEST(test_refused),
		TEST(test_full_queue),
		TEST(test_close_ends_read),
	};

	world_enter(0);
	if (loopback_raise() < 0)
		world_skip("lo can't be set up");
	return cmocka_run_group_tests_name("guest/dial", tests, NULL, NULL);
}
