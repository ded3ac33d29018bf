/* SPDX-License-Identifier: Apache-2.0 */
/* base/ttrpc, the calling end: against a peer that answers byte by byte as told. */
#include <fcntl.h>

#include "tests/lib/test.h"
#include "tests/unit/ttrpc_peer.h"

/* A client on one end of a socket pair, the test on the other. */
static struct ttrpc_client *client_new(int *ret_peer)
{
	struct ttrpc_client *client = NULL;
	struct err err = ERR_INIT;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(ttrpc_client_new(fds[0], &client, &err), 0);
	*ret_peer = fds[1];
	return client;
}

static void test_call(void **state)
{
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	client = client_new(&peer);
	caller_start(&c, client, "M", "ask", soon());
	assert_int_equal(expect_request(peer, "M", "ask"), 1);
	send_answer(peer, 1, "told");
	caller_end(&c, 0, "told");
	caller_start(&c, client, "M", "", DEADLINE_NONE);
	assert_int_equal(expect_request(peer, "M", ""), 3);
	send_frame(peer, 3, RESPONSE, 0, "", 0);
	caller_end(&c, 0, "");
	ttrpc_client_free(client);
	assert_end_of_stream(peer);
	close(peer);
}

static void test_timeout_is_sent(void **state)
{
	int64_t deadline = soon(), before_ms, after_ms;
	struct ttrpc_client *client;
	Ttrpc__Request *r;
	struct caller c;
	struct raw f;
	int peer;

	(void)state;
	client = client_new(&peer);
	before_ms = now_ms();
	caller_start(&c, client, "M", "ask", deadline);
	f = recv_frame(peer);
	after_ms = now_ms();
	r = ttrpc__request__unpack(NULL, f.len, f.data);
	assert_non_null(r);
	/* What was left of it at some time in between. */
	assert_in_range(
		r->timeout_nano / 1000000, deadline - after_ms, deadline - before_ms);
	ttrpc__request__free_unpacked(r, NULL);
	free(f.data);
	send_answer(peer, f.stream, "ok");
	caller_end(&c, 0, "ok");
	ttrpc_client_free(client);
	close(peer);
}

static void test_answers_out_of_order(void **state)
{
	static const char *const texts[] = {"a", "b", "c", "d"};
	struct ttrpc_client *client;
	struct caller c[4];
	uint32_t ids[4];
	int peer;

	(void)state;
	client = client_new(&peer);
	for (int i = 0; i < 4; i++) {
		caller_start(&c[i], client, "M", texts[i], soon());
		ids[i] = expect_request(peer, "M", texts[i]);
	}
	for (int i = 3; i >= 0; i--)
		send_answer(peer, ids[i], texts[i]);
	for (int i = 0; i < 4; i++)
		caller_end(&c[i], 0, texts[i]);
	ttrpc_client_free(client);
	close(peer);
}

static void test_status(void **state)
{
	static const struct {
		int code, r;
		const char *message, *text;
	} cases[] = {
		{TTRPC_NOT_FOUND, -ENOENT, "no such", "M: no such"},
		{TTRPC_UNIMPLEMENTED, -EOPNOTSUPP, "",
			"M: refused with status 12 and no text"},
		{TTRPC_RESOURCE_EXHAUSTED, -ENOSPC, "full", "M: full"},
		{TTRPC_INTERNAL, -EIO, "a\nb\x1b[0m", "M: a\\x0ab\\x1b[0m"},
		{15, -EREMOTEIO, "lost", "M: lost"},
		{-7, -EREMOTEIO, "odd", "M: odd"},
	};
	struct ttrpc_client *client;
	int peer;

	(void)state;
	client = client_new(&peer);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct caller c;

		caller_start(&c, client, "M", "x", soon());
		send_status(peer, expect_request(peer, "M", "x"), cases[i].code,
			cases[i].message);
		caller_end(&c, cases[i].r, cases[i].text);
	}
	ttrpc_client_free(client);
	close(peer);
}

static void test_errno_table(void **state)
{
	static const int kept[] = {ECANCELED, EINVAL, ETIMEDOUT, ENOENT, EEXIST, EACCES,
		ENOSPC, EBUSY, EOPNOTSUPP, EIO, ECONNRESET};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		assert_int_equal(
			ttrpc_errno_of_code(ttrpc_code_of_errno(-kept[i])), -kept[i]);
	assert_int_equal(ttrpc_code_of_errno(-ESRCH), TTRPC_NOT_FOUND);
	assert_int_equal(ttrpc_code_of_errno(ENOSYS), TTRPC_UNIMPLEMENTED);
	assert_int_equal(ttrpc_code_of_errno(-EXDEV), TTRPC_UNKNOWN);
	assert_int_equal(ttrpc_errno_of_code(TTRPC_UNKNOWN), -EREMOTEIO);
	assert_int_equal(ttrpc_errno_of_code(TTRPC_OK), 0);
}

static void test_deadline_and_late_answer(void **state)
{
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	client = client_new(&peer);
	assert_call(client, "M", "slow", too_soon(), -ETIMEDOUT, "M: no answer in time");
	assert_int_equal(expect_request(peer, "M", "slow"), 1);
	assert_call(client, "M", "never", now_ms() - 1, -ETIMEDOUT,
		"M: the deadline has passed");
	caller_start(&c, client, "M", "next", soon());
	assert_int_equal(expect_request(peer, "M", "next"), 5);
	send_answer(peer, 1, "late");
	send_answer(peer, 5, "right");
	caller_end(&c, 0, "right");
	ttrpc_client_free(client);
	close(peer);
}

/* One late answer for each that did not come in time, and not one more. */
/* A wall's proof: docs/security.md. */
static void test_answers_for_ever(void **state)
{
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	client = client_new(&peer);
	assert_call(client, "M", "slow", too_soon(), -ETIMEDOUT, "M: no answer in time");
	assert_int_equal(expect_request(peer, "M", "slow"), 1);
	caller_start(&c, client, "M", "next", soon());
	assert_int_equal(expect_request(peer, "M", "next"), 3);
	send_answer(peer, 1, "late");
	send_answer(peer, 1, "again");
	send_answer(peer, 1, "and again");
	caller_end(&c, -EBADMSG, "M: the peer sent a frame that answers no call");
	ttrpc_client_free(client);
	close(peer);
}

/* A text whose request doesn't fit into the socket's buffers. */
static char *long_text(size_t len)
{
	char *text = xmalloc(len + 1);

	memset(text, 'x', len);
	text[len] = '\0';
	return text;
}

static void test_peer_that_does_not_read(void **state)
{
	_cleanup_free_ char *text = long_text(3000000);
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	client = client_new(&peer);
	assert_call(client, "M", text, too_soon(), -ETIMEDOUT,
		"M: the peer did not take the request in time");
	/* In the middle of its frame; another one must not get in between. */
	assert_call(client, "M", "short", too_soon(), -ETIMEDOUT,
		"M: the peer did not take the request in time");
	caller_start(&c, client, "M", "next", soon());
	assert_int_equal(expect_request(peer, "M", text), 1);
	assert_int_equal(expect_request(peer, "M", "next"), 5);
	send_answer(peer, 5, "whole");
	caller_end(&c, 0, "whole");
	ttrpc_client_free(client);
	close(peer);
}

/* While one sender is stuck another one's deadline still counts. */
static void test_turn_has_a_deadline(void **state)
{
	_cleanup_free_ char *text = long_text(3000000);
	struct ttrpc_client *client;
	struct caller c;
	char first;
	int peer;

	(void)state;
	client = client_new(&peer);
	caller_start(&c, client, "M", text, DEADLINE_NONE);
	/* Its first byte is here, so it has its turn and keeps it. */
	assert_int_equal(read_full(peer, &first, 1), 0);
	assert_call(client, "M", "x", too_soon(), -ETIMEDOUT,
		"M: the peer did not take the request in time");
	ttrpc_client_free(client);
	caller_end(&c, -ECONNRESET, "M: the connection was closed on this side");
	close(peer);
}

static void test_sizes(void **state)
{
	_cleanup_free_ char *large = long_text(TTRPC_FRAME_MAX);
	_cleanup_free_ char *fits = long_text(TTRPC_FRAME_MAX - 16);
	_cleanup_free_ char *answer = long_text(TTRPC_FRAME_MAX - 10);
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	client = client_new(&peer);
	assert_call(client, "M", large, DEADLINE_NONE, -EMSGSIZE,
		"M: a message of 4194320 bytes; the most is 4194304");
	assert_nothing_to_read(peer);
	/* Data of exactly 4 MiB, both ways. */
	caller_start(&c, client, "M", fits, DEADLINE_NONE);
	assert_int_equal(expect_request(peer, "M", fits), 3);
	send_answer(peer, 3, answer);
	caller_end(&c, 0, answer);
	ttrpc_client_free(client);
	close(peer);
}

/* The call fails, the connection does not. */
/* A wall's proof: docs/security.md. */
static void test_answer_too_large(void **state)
{
	_cleanup_free_ char *large = long_text(TTRPC_FRAME_MAX + 1);
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	client = client_new(&peer);
	caller_start(&c, client, "M", "x", soon());
	send_frame(
		peer, expect_request(peer, "M", "x"), RESPONSE, 0, large, strlen(large));
	caller_end(&c, -EMSGSIZE, "M: an answer of 4194305 bytes; the most is 4194304");
	caller_start(&c, client, "M", "y", soon());
	send_answer(peer, expect_request(peer, "M", "y"), "goes on");
	caller_end(&c, 0, "goes on");
	ttrpc_client_free(client);
	close(peer);
}

/* What a peer may do wrong while a call is in flight, and what the call then says. */
static void assert_broken(void (*act)(int peer, uint32_t id), int code, const char *text)
{
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	client = client_new(&peer);
	caller_start(&c, client, "M", "x", soon());
	act(peer, expect_request(peer, "M", "x"));
	caller_end(&c, code, text);
	/* It stays like that, for the same reason. */
	assert_call(client, "M", "x", soon(), code, text);
	ttrpc_client_free(client);
	assert_end_of_stream(peer);
	close(peer);
}

static void end_stream(int peer, uint32_t id)
{
	(void)id;
	shutdown(peer, SHUT_WR);
}

static void end_in_header(int peer, uint32_t id)
{
	(void)id;
	assert_int_equal(write_full(peer, "\0\0\0\1\0", 5), 0);
	shutdown(peer, SHUT_WR);
}

static void end_in_data(int peer, uint32_t id)
{
	send_header(peer, TTRPC_FRAME_MAX, id, RESPONSE, 0);
	assert_int_equal(write_full(peer, "abc", 3), 0);
	shutdown(peer, SHUT_WR);
}

static void end_before_data(int peer, uint32_t id)
{
	send_header(peer, 7, id, RESPONSE, 0);
	shutdown(peer, SHUT_WR);
}

static void end_in_thrown_away_data(int peer, uint32_t id)
{
	send_header(peer, TTRPC_FRAME_MAX + 1, id, RESPONSE, 0);
	shutdown(peer, SHUT_WR);
}

static void test_end_of_stream(void **state)
{
	static const char broke_off[] = "M: the connection broke off";

	(void)state;
	assert_broken(end_stream, -ECONNRESET, "M: the peer has closed the connection");
	assert_broken(end_in_header, -ECONNRESET, broke_off);
	assert_broken(end_before_data, -ECONNRESET, broke_off);
	assert_broken(end_in_data, -ECONNRESET, broke_off);
	assert_broken(end_in_thrown_away_data, -ECONNRESET, broke_off);
}

static void answer_unknown(int peer, uint32_t id)
{
	send_answer(peer, id + 2, "x");
}

static void answer_even(int peer, uint32_t id)
{
	send_answer(peer, id - 1, "x");
}

static void send_a_request(int peer, uint32_t id)
{
	send_frame(peer, id, REQUEST, 0, "", 0);
}

static void send_data(int peer, uint32_t id)
{
	send_frame(peer, id, DATA, 0, "", 0);
}

static void send_unknown_type(int peer, uint32_t id)
{
	send_header(peer, 0, id, 4, 0);
}

static void send_type_zero(int peer, uint32_t id)
{
	send_header(peer, 0, id, 0, 0);
}

static void send_huge_length(int peer, uint32_t id)
{
	send_header(peer, 1u << 24, id, RESPONSE, 0);
}

static void send_text(int peer, uint32_t id)
{
	(void)id;
	assert_int_equal(write_full(peer, "[    0.000000] Linux version", 28), 0);
}

static void send_malformed_envelope(int peer, uint32_t id)
{
	send_frame(peer, id, RESPONSE, 0, "\xff\xff\xff", 3);
}

/* Field 2 (payload), 2 bytes, that begin a field 1 of 5 bytes. */
static void send_malformed_payload(int peer, uint32_t id)
{
	send_frame(peer, id, RESPONSE, 0, "\x12\x02\x0a\x05", 4);
}

static void test_broken_protocol(void **state)
{
	static const char no_call[] = "M: the peer sent a frame that answers no call";
	static const char no_frame[] =
		"M: the peer sent something that is not a ttrpc frame";

	(void)state;
	assert_broken(answer_unknown, -EBADMSG, no_call);
	assert_broken(answer_even, -EBADMSG, no_call);
	assert_broken(send_a_request, -EBADMSG, no_call);
	assert_broken(send_data, -EBADMSG, no_call);
	assert_broken(send_unknown_type, -EBADMSG, no_frame);
	assert_broken(send_type_zero, -EBADMSG, no_frame);
	assert_broken(send_huge_length, -EBADMSG, no_frame);
	assert_broken(send_text, -EBADMSG, no_frame);
}

static void assert_malformed(void (*act)(int peer, uint32_t id), const char *text)
{
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	client = client_new(&peer);
	caller_start(&c, client, "M", "x", soon());
	act(peer, expect_request(peer, "M", "x"));
	caller_end(&c, -EBADMSG, text);
	assert_call(client, "M", "x", soon(), -EBADMSG, text);
	ttrpc_client_free(client);
	close(peer);
}

static void test_malformed_answers(void **state)
{
	(void)state;
	assert_malformed(send_malformed_envelope, "M: the peer's answer is malformed");
	assert_malformed(send_malformed_payload,
		"M: the peer's answer is not a grpc.VersionCheckResponse");
}

/* A million empty key-value pairs take 2 MiB on the wire and would take 80 when
 * unpacked. */
/* A wall's proof: docs/security.md. */
static void test_answer_that_would_grow(void **state)
{
	size_t len = 2000000;
	_cleanup_free_ uint8_t *data = xmalloc(len + 16);
	static const uint8_t head[] = {
		2 << 3 | 2, 0x80, 0x89, 0x7a}; /* payload, 2000000 bytes */
	struct ttrpc_client *client;
	struct caller c;
	int peer;

	(void)state;
	memcpy(data, head, sizeof(head));
	for (size_t i = 0; i < len; i += 2) {
		data[sizeof(head) + i] = 5 << 3 | 2; /* Request.metadata */
		data[sizeof(head) + i + 1] = 0;
	}
	client = client_new(&peer);
	c = (struct caller){.client = client,
		.method = "M",
		.text = "x",
		.deadline = soon(),
		.type = &ttrpc__request__descriptor};
	assert_int_equal(thread_start(caller_main, &c, 0, false, &c.thread), 0);
	send_frame(peer, expect_request(peer, "M", "x"), RESPONSE, 0, data,
		sizeof(head) + len);
	caller_end(&c, -EBADMSG, "M: the peer's answer is not a ttrpc.Request");
	ttrpc_client_free(client);
	close(peer);
}

static void test_free_ends_calls(void **state)
{
	static const char text[] = "M: the connection was closed on this side";
	struct ttrpc_client *client;
	struct caller c[3];
	int peer;

	(void)state;
	client = client_new(&peer);
	for (int i = 0; i < 3; i++) {
		caller_start(&c[i], client, "M", "x", DEADLINE_NONE);
		expect_request(peer, "M", "x");
	}
	ttrpc_client_free(client);
	assert_end_of_stream(peer);
	for (int i = 0; i < 3; i++)
		caller_end(&c[i], -ECONNRESET, text);
	close(peer);
	ttrpc_client_free(NULL);
}

static void test_too_many_calls(void **state)
{
	enum { MAX_CALLS = 1024 };
	struct ttrpc_client *client;
	struct caller *c = xmalloc(MAX_CALLS * sizeof(*c));
	int peer;

	(void)state;
	client = client_new(&peer);
	for (int i = 0; i < MAX_CALLS; i++)
		caller_start(&c[i], client, "M", "x", DEADLINE_NONE);
	for (int i = 0; i < MAX_CALLS; i++)
		expect_request(peer, "M", "x");
	assert_call(
		client, "M", "x", soon(), -EAGAIN, "M: 1024 calls are in flight already");
	shutdown(peer, SHUT_WR);
	for (int i = 0; i < MAX_CALLS; i++)
		caller_end(&c[i], -ECONNRESET, "M: the peer has closed the connection");
	ttrpc_client_free(client);
	close(peer);
	free(c);
}

/* A pipe is no socket: frames go by read and write alone, as on a virtio-serial port.
 * Opened for both, it gives back what the client sends. */
static void test_not_a_socket(void **state)
{
	struct ttrpc_client *client = NULL;
	struct err err = ERR_INIT;
	char path[32];
	int fds[2], both;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
	both = open(path, O_RDWR | O_CLOEXEC);
	close(fds[0]);
	send_header(fds[1], 0, 2, RESPONSE, 0);
	assert_int_equal(ttrpc_client_new(both, &client, &err), 0);
	assert_call(client, "M", "x", soon(), -EBADMSG,
		"M: the peer sent a frame that answers no call");
	ttrpc_client_free(client);
	close(fds[1]);
	client = NULL;
	assert_int_equal(ttrpc_client_new(-1, &client, &err), -EBADF);
	assert_string_equal(err.text, "connection -1: Bad file descriptor");
	assert_null(client);
}

/* The errno of a peer that is gone, without a signal. */
static void test_peer_is_gone(void **state)
{
	_cleanup_free_ char *text = long_text(3000000);
	struct ttrpc_client *client;
	struct caller c;
	char first;
	int peer;

	(void)state;
	client = client_new(&peer);
	caller_start(&c, client, "M", text, soon());
	assert_int_equal(read_full(peer, &first, 1), 0);
	close(peer);
	/* Bytes it had not read make it a reset; writer and reader see that in either
	 * order. */
	pthread_join(c.thread, NULL);
	assert_int_equal(c.r, -ECONNRESET);
	assert_true(strcmp(c.err.text, "M: the connection broke off") == 0 ||
		    strcmp(c.err.text, "M: the peer has closed the connection") == 0);
	free(c.answer);
	ttrpc_client_free(client);
}

/* The stream goes on with another client, which begins with the first id again. */
static void test_detach(void **state)
{
	struct ttrpc_client *client;
	struct err err = ERR_INIT;
	struct caller c;
	int peer, fd = -1;

	(void)state;
	client = client_new(&peer);
	caller_start(&c, client, "M", "one", soon());
	send_answer(peer, expect_request(peer, "M", "one"), "1");
	caller_end(&c, 0, "1");
	assert_int_equal(0, ttrpc_client_detach(client, &fd, &err));
	assert_int_equal(0, ttrpc_client_new(fd, &client, &err));
	caller_start(&c, client, "M", "two", soon());
	send_answer(peer, expect_request(peer, "M", "two"), "2");
	caller_end(&c, 0, "2");
	ttrpc_client_free(client);
	assert_end_of_stream(peer);
	close(peer);
}

/* An answer that is still to come, for a caller who has left. */
static void test_detach_busy(void **state)
{
	struct ttrpc_client *client;
	struct err err = ERR_INIT;
	int peer, fd = -1;

	(void)state;
	client = client_new(&peer);
	assert_call(client, "M", "x", too_soon(), -ETIMEDOUT, "M: no answer in time");
	assert_error(ttrpc_client_detach(client, &fd, &err), -EBUSY,
		"hand the agent's connection over: a call is unanswered");
	assert_int_equal(-1, fd);
	expect_request(peer, "M", "x");
	assert_end_of_stream(peer);
	close(peer);
}

static void test_detach_gone(void **state)
{
	struct ttrpc_client *client;
	struct err err = ERR_INIT;
	int peer, fd = -1;

	(void)state;
	client = client_new(&peer);
	close(peer);
	assert_call(client, "M", "x", soon(), -ECONNRESET,
		"M: the peer has closed the connection");
	assert_error(ttrpc_client_detach(client, &fd, &err), -ECONNRESET,
		"hand the agent's connection over: the peer has closed the connection");
	assert_int_equal(-1, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_timeout_is_sent),
		cmocka_unit_test(test_answers_out_of_order),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_errno_table),
		cmocka_unit_test(test_deadline_and_late_answer),
		cmocka_unit_test(test_answers_for_ever),
		cmocka_unit_test(test_peer_that_does_not_read),
		cmocka_unit_test(test_turn_has_a_deadline),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_answer_too_large),
		cmocka_unit_test(test_end_of_stream),
		cmocka_unit_test(test_broken_protocol),
		cmocka_unit_test(test_malformed_answers),
		cmocka_unit_test(test_answer_that_would_grow),
		cmocka_unit_test(test_free_ends_calls),
		cmocka_unit_test(test_too_many_calls),
		cmocka_unit_test(test_not_a_socket),
		cmocka_unit_test(test_peer_is_gone),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_detach_busy),
		cmocka_unit_test(test_detach_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
