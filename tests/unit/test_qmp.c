/* SPDX-License-Identifier: Apache-2.0 */
/* hotplug/qmp against a scripted QEMU: sorting, bounds, deadlines, ends. */
#include "hotplug/qmp_internal.h"

#include <errno.h>
#include <fcntl.h>

#include "tests/unit/qmp_peer.h"

static struct peer peer;

/* A session over the steps given. */
#define START(...)                                                                       \
	static const struct peer_step steps_[] = {__VA_ARGS__};                          \
	_cleanup_(qmp) struct qmp *q = NULL;                                             \
	assert_ok(qmp_new(peer_start(&peer, steps_, ARRAY_SIZE(steps_)), soon(), &q, err))

/* One that does not come to be. */
#define START_FAILS(deadline, code, text, ...)                                           \
	do {                                                                             \
		static const struct peer_step steps_[] = {__VA_ARGS__};                  \
		struct qmp *q_ = NULL;                                                   \
		assert_err(qmp_new(peer_start(&peer, steps_, ARRAY_SIZE(steps_)),        \
				   deadline, &q_, err),                                  \
			code, text);                                                     \
		assert_null(q_);                                                         \
		peer_end(&peer);                                                         \
	} while (0)

static int command(struct qmp *q, const char *name, struct err *err)
{
	return qmp_command(q, name, NULL, soon(), err);
}

/* ---- the beginning ---- */

static void test_greeting(void **state)
{
	(void)state;
	START(HELLO);
	assert_int_equal(qmp_version(q), 70222);
	assert_int_equal(dropped(q), 0);
	peer_end(&peer);
}

static void test_bad_greetings(void **state)
{
	(void)state;
	START_FAILS(deadline_after_ms(20), -ETIMEDOUT,
		"waiting for QMP's greeting: no answer from QEMU in time",
		{NULL, "{\"QMP\": {\"version\"", PEER_NONE});
	START_FAILS(soon(), -EBADMSG,
		"waiting for QMP's greeting: the QMP stream does not begin with a "
		"greeting",
		{NULL, OK(1), PEER_NONE});
	START_FAILS(soon(), -EBADMSG,
		"waiting for QMP's greeting: QMP greeting: \"version\" is missing",
		{NULL, "{\"QMP\": {}}\n", PEER_NONE});
	START_FAILS(soon(), -EBADMSG,
		"waiting for QMP's greeting: QMP greeting: no QEMU has this version",
		{NULL, GREETING_VERSION(7, 100, 0), PEER_NONE});
	START_FAILS(soon(), -EREMOTEIO,
		"QMP qmp_capabilities: QEMU refused: \"no\" (GenericError)",
		{NULL, GREETING, PEER_NONE},
		{CAPABILITIES, REFUSED(1, "GenericError", "no"), PEER_NONE});
}

static void test_gone_at_once(void **state)
{
	int fds[2];
	struct qmp *q = NULL;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	close(fds[1]);
	assert_err(qmp_new(fds[0], soon(), &q, err), -ECONNRESET,
		"waiting for QMP's greeting: QEMU closed its QMP connection");
	assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* taken, also on failure */
}

/* ---- commands ---- */

static void test_answers(void **state)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct json_object *args = json_object_new_object();

	(void)state;
	START(HELLO,
		{"{\"execute\":\"a\",\"arguments\":{\"x\":\"\xc3\xb6\"},\"id\":2}",
			"{\"return\": {\"y\": 18446744073709551615}, \"id\": 2}\r\n",
			PEER_NONE},
		{"{\"execute\":\"b\",\"id\":3}", "{\"id\": 3, \"return\": []}\n",
			PEER_NONE},
		{"{\"execute\":\"c\",\"id\":4}", REFUSED(4, "CommandNotFound", "what?"),
			PEER_NONE},
		{"{\"execute\":\"d\",\"id\":5}", REFUSED(5, "DeviceNotFound", "where?"),
			PEER_NONE},
		{"{\"execute\":\"e\",\"id\":6}",
			REFUSED(6, "GenericError", "a\\nb\\u0007"), PEER_NONE},
		{"{\"execute\":\"f\",\"id\":7}",
			"{\"error\": {\"class\": \"x\"}, \"id\": 7}\n", PEER_NONE},
		{"{\"execute\":\"g\",\"id\":8}", "{\"error\": 3, \"id\": 8}\n",
			PEER_NONE});
	json_set_string(args, "x", "ö");
	assert_ok(qmp_ask(q,
		&(struct qmp_request){.name = "a", .args = args, .deadline = soon()},
		&answer, err));
	assert_string_equal(
		json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN),
		"{\"y\":18446744073709551615}");
	assert_ok(command(q, "b", err));
	assert_err(command(q, "c", err), -ENOSYS,
		"QMP c: QEMU refused: \"what?\" (CommandNotFound)");
	assert_err(command(q, "d", err), -ENODEV,
		"QMP d: QEMU refused: \"where?\" (DeviceNotFound)");
	assert_err(command(q, "e", err), -EREMOTEIO,
		"QMP e: QEMU refused: \"a\\x0ab\\x07\" (GenericError)");
	/* An answer that is none is its command's failure only. */
	assert_err(
		command(q, "f", err), -EBADMSG, "QMP f: QMP error: \"desc\" is missing");
	assert_err(command(q, "g", err), -EBADMSG,
		"QMP g: QMP error: \"error\" is int where object is wanted");
	peer_end(&peer);
}

/* In the place of an answer that did not come in time. */
static void test_not_asked_for(void **state)
{
	(void)state;
	START(HELLO, {"{\"execute\":\"a\",\"id\":2}", NULL, PEER_NONE},
		{"{\"execute\":\"b\",\"id\":3}",
			"{\"return\": {}, \"id\": \"3\"}\n" OK(3), PEER_NONE});
	assert_err(qmp_command(q, "a", NULL, deadline_after_ms(20), err), -ETIMEDOUT,
		"QMP a: no answer from QEMU in time");
	assert_ok(command(q, "b", err));
	assert_int_equal(dropped(q), 1);
	peer_end(&peer);
}

/* One more than there were commands: capabilities, and this one. */
static void test_too_many_answers(void **state)
{
	(void)state;
	START(HELLO, {"{\"execute\":\"a\",\"id\":2}", OK(9) OK(2), PEER_NONE});
	assert_err(command(q, "a", err), -EBADMSG,
		"QMP a: QEMU sends more answers than commands");
	peer_end(&peer);
}

static void test_late_answer(void **state)
{
	(void)state;
	START(HELLO, {"{\"execute\":\"a\",\"id\":2}", NULL, PEER_NONE},
		{"{\"execute\":\"b\",\"id\":3}", OK(2) OK(3), PEER_NONE});
	assert_err(qmp_command(q, "a", NULL, deadline_after_ms(20), err), -ETIMEDOUT,
		"QMP a: no answer from QEMU in time");
	assert_ok(command(q, "b", err));
	assert_int_equal(dropped(q), 1);
	peer_end(&peer);
}

struct caller {
	struct qmp *q;
	pthread_t thread;
	int r;
	struct err err;
	struct json_object *answer;
};

static void *call_in_thread(void *arg)
{
	struct caller *c = arg;

	c->r = qmp_ask(c->q, &(struct qmp_request){.name = "first", .deadline = soon()},
		&c->answer, &c->err);
	return NULL;
}

/* The second command's answer comes before the first's. */
static void test_two_callers(void **state)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct caller c = {0};

	(void)state;
	START(HELLO, {"{\"execute\":\"first\",\"id\":2}", EVENT("SEEN", "{}"), PEER_NONE},
		{"{\"execute\":\"second\",\"id\":3}",
			"{\"return\": \"to 3\", \"id\": 3}\n{\"return\": \"to 2\", "
			"\"id\": 2}\n",
			PEER_NONE});
	c.q = q;
	assert_int_equal(
		thread_start(call_in_thread, &c, 256 << 10, false, &c.thread), 0);
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){.name = "SEEN", .deadline = soon()}, NULL, err));
	assert_ok(qmp_ask(q, &(struct qmp_request){.name = "second", .deadline = soon()},
		&answer, err));
	pthread_join(c.thread, NULL);
	assert_int_equal(c.r, 0);
	assert_string_equal(json_object_get_string(answer), "to 3");
	assert_string_equal(json_object_get_string(c.answer), "to 2");
	json_object_put(c.answer);
	peer_end(&peer);
}

static void test_free_in_flight(void **state)
{
	static const struct peer_step steps[] = {HELLO,
		{"{\"execute\":\"first\",\"id\":2}", EVENT("SEEN", "{}"), PEER_NONE}};
	struct qmp *q = NULL;
	struct caller c = {0};

	(void)state;
	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	c.q = q;
	assert_int_equal(
		thread_start(call_in_thread, &c, 256 << 10, false, &c.thread), 0);
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){.name = "SEEN", .deadline = soon()}, NULL, err));
	qmp_free(q);
	pthread_join(c.thread, NULL);
	assert_int_equal(c.r, -ECONNRESET);
	assert_string_equal(c.err.text, "QMP first: the QMP session was closed");
	peer_end(&peer);
	qmp_free(NULL);
}

static void test_fd(void **state)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	START(HELLO, {"{\"execute\":\"a\",\"id\":2}", OK(2), PEER_FD},
		{"{\"execute\":\"b\",\"id\":3}", OK(3), PEER_NONE});
	assert_ok(qmp_ask(q,
		&(struct qmp_request){.name = "a", .fd = &fd, .deadline = soon()}, NULL,
		err));
	assert_ok(command(q, "b", err));
	assert_true(fcntl(fd, F_GETFD) >= 0); /* not taken */
	peer_end(&peer);
}

/* A QEMU that reads nothing: the line does not fit into the socket. */
static void test_write_blocks(void **state)
{
	_cleanup_free_ char *big = xmalloc(4 << 20);
	struct json_object *args = json_object_new_object();

	(void)state;
	START(HELLO);
	pthread_join(peer.thread, NULL);
	memset(big, 'x', (4 << 20) - 1);
	big[(4 << 20) - 1] = '\0';
	json_set_string(args, "x", big);
	assert_err(qmp_command(q, "a", args, deadline_after_ms(20), err), -ETIMEDOUT,
		"QMP a: cannot write to QMP: Connection timed out");
	/* Half a line is out: nothing can follow. */
	assert_err(command(q, "b", err), -ETIMEDOUT,
		"QMP b: cannot write to QMP: Connection timed out");
	close(peer.fd);
}

/* ---- events ---- */

static bool is_number(void *user, struct json_object *data)
{
	int64_t n;

	return json_get_i64(data, "n", &n, NULL) == 0 && n == *(int *)user;
}

static void test_events(void **state)
{
	_cleanup_json_ struct json_object *data = NULL;
	uint64_t mark;
	int n = 2;

	(void)state;
	START(HELLO,
		{"{\"execute\":\"a\",\"id\":2}", EVENT("E", "{\"n\": 1}") OK(2),
			PEER_NONE},
		{"{\"execute\":\"b\",\"id\":3}",
			EVENT("E", "{\"n\": 3}") "{\"event\": \"BARE\"}\r\n" EVENT(
				"F", "{\"n\": 2}") EVENT("E", "{\"n\": 2, \"x\": \"y\"}")
				OK(3),
			PEER_NONE});
	assert_ok(command(q, "a", err));
	mark = qmp_mark(q);
	assert_ok(command(q, "b", err));
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){.mark = mark,
			.name = "E",
			.match = is_number,
			.user = &n,
			.deadline = soon()},
		&data, err));
	assert_string_equal(json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN),
		"{\"n\":2,\"x\":\"y\"}");
	json_object_put(data);
	data = (struct json_object *)1;
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){
			.mark = mark, .name = "BARE", .deadline = soon()},
		&data, err));
	assert_null(data);
	/* What came before the mark is not seen. */
	n = 1;
	assert_err(qmp_wait_event(q,
			   &(struct qmp_event_wait){.mark = mark,
				   .name = "E",
				   .match = is_number,
				   .user = &n,
				   .deadline = deadline_after_ms(20)},
			   NULL, err),
		-ETIMEDOUT,
		"waiting for QMP event E: it did not come in time (0 others lost)");
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){
			.name = "E", .match = is_number, .user = &n, .deadline = soon()},
		NULL, err));
	peer_end(&peer);
}

/* 70 events: the first six are gone, and so is one that is too long. */
static void test_event_ring(void **state)
{
	_cleanup_free_ char *flood = NULL, *filler = xzalloc(QMP_EVENT_MAX + 1);
	_cleanup_(qmp) struct qmp *q = NULL;
	struct peer_step steps[] = {
		HELLO, {"{\"execute\":\"a\",\"id\":2}", NULL, PEER_NONE}};
	size_t size;
	FILE *out = open_memstream(&flood, &size);
	int n = 5;

	(void)state;
	memset(filler, 'x', QMP_EVENT_MAX);
	fprintf(out, "{\"event\": \"E\", \"data\": {\"n\": 6, \"x\": \"%s\"}}\n", filler);
	for (int i = 0; i < 70; i++)
		fprintf(out, "{\"event\": \"E\", \"data\": {\"n\": %d}}\n", i);
	fputs(OK(2), out);
	fclose(out);
	steps[2].reply = flood;
	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	assert_ok(command(q, "a", err));
	assert_int_equal(dropped(q), 1);
	assert_int_equal(qmp_mark(q), 70);
	assert_err(qmp_wait_event(q,
			   &(struct qmp_event_wait){.name = "E",
				   .match = is_number,
				   .user = &n,
				   .deadline = deadline_after_ms(20)},
			   NULL, err),
		-ETIMEDOUT,
		"waiting for QMP event E: it did not come in time (6 others lost)");
	n = 6;
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){
			.name = "E", .match = is_number, .user = &n, .deadline = soon()},
		NULL, err));
	n = 69;
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){
			.name = "E", .match = is_number, .user = &n, .deadline = soon()},
		NULL, err));
	peer_end(&peer);
}

/* ---- ends ---- */

static void test_closed(void **state)
{
	(void)state;
	START(HELLO,
		{"{\"execute\":\"a\",\"id\":2}", EVENT("LAST", "{}"), PEER_HANGS_UP});
	assert_err(command(q, "a", err), -ECONNRESET,
		"QMP a: QEMU closed its QMP connection");
	assert_err(command(q, "b", err), -ECONNRESET,
		"QMP b: QEMU closed its QMP connection");
	/* What it said before it went is still to be had. */
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){.name = "LAST", .deadline = soon()}, NULL, err));
	assert_err(qmp_wait_event(q,
			   &(struct qmp_event_wait){.name = "MORE", .deadline = soon()},
			   NULL, err),
		-ECONNRESET,
		"waiting for QMP event MORE: QEMU closed its QMP connection");
	peer_end(&peer);
}

/* A command whose "answer" ends the session, with the reason told to all who come
 * later. */
static void check_broken(const char *reply, const char *why)
{
	struct peer_step steps[] = {
		HELLO, {"{\"execute\":\"a\",\"id\":2}", reply, PEER_NONE}};
	_cleanup_free_ char *text = xasprintf("QMP a: %s", why);
	_cleanup_(qmp) struct qmp *q = NULL;

	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	assert_err(command(q, "a", err), -EBADMSG, text);
	assert_err(command(q, "a", err), -EBADMSG, text);
	peer_end(&peer);
}

static void test_broken_streams(void **state)
{
	_cleanup_free_ char *deep = NULL;
	char brackets[QMP_DEPTH_MAX + 1] = {0};

	(void)state;
	check_broken("{\"return\": {}, \"id\": 2\n",
		"a QMP message is not valid JSON: unexpected end of data at byte 22");
	check_broken("[]\n", "a QMP message is not an object");
	check_broken("{\"id\": 2}\n",
		"a QMP message is neither event nor answer: { \"id\": 2 }");
	check_broken(
		"{\"event\": 5}\n", "QMP event: \"event\" is int where string is wanted");
	check_broken("nonsense\n" OK(2),
		"a QMP message is not valid JSON: null expected at byte 1");
	memset(brackets, '[', QMP_DEPTH_MAX);
	deep = xasprintf("{\"return\": %s\n", brackets);
	check_broken(
		deep, "a QMP message is not valid JSON: nesting too deep at byte 42");
}

/* A return value of `bytes` in all, without the line's end. */
static char *long_answer(size_t bytes)
{
	char *text = xmalloc(bytes + 2);
	static const char head[] = "{\"id\": 2, \"return\": \"";

	memset(text, 'x', bytes);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + bytes - 2, "\"}\n", 4);
	return text;
}

static void test_longest(void **state)
{
	_cleanup_free_ char *fits = long_answer(QMP_MESSAGE_MAX);
	_cleanup_free_ char *too_long = long_answer(QMP_MESSAGE_MAX + 1);
	struct peer_step steps[] = {HELLO,
		{"{\"execute\":\"a\",\"id\":2}", fits, PEER_NONE},
		{"{\"execute\":\"b\",\"id\":3}", OK(3), PEER_NONE}};
	_cleanup_(qmp) struct qmp *q = NULL;

	(void)state;
	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	assert_ok(command(q, "a", err));
	assert_ok(command(q, "b", err));
	peer_end(&peer);
	check_broken(too_long, "a QMP message is longer than 1048576 bytes");
	/* And without any end of line. */
	too_long[QMP_MESSAGE_MAX + 1] = 'x';
	check_broken(too_long, "a QMP message is longer than 1048576 bytes");
}

/* One byte a write; empty lines between. */
static void test_trickle(void **state)
{
	static const char all[] = GREETING " \r\n\n" OK(1) "\t\n" OK(2);
	struct peer_step steps[sizeof(all)] = {0};
	char bytes[sizeof(all)][2] = {0};
	_cleanup_(qmp) struct qmp *q = NULL;
	size_t n = sizeof(all) - 1;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		bytes[i][0] = all[i];
		steps[i].reply = bytes[i];
	}
	/* Answers may not come before their commands. */
	steps[sizeof(GREETING) + 2].expect = CAPABILITIES;
	steps[n - sizeof(OK(2)) + 1].expect = "{\"execute\":\"a\",\"id\":2}";
	assert_ok(qmp_new(peer_start(&peer, steps, n), soon(), &q, err));
	assert_ok(command(q, "a", err));
	assert_int_equal(dropped(q), 0);
	peer_end(&peer);
}

/* ---- moving to another process ---- */

/* What came before is the first session's, what comes later the second's; ids begin
 * anew. */
static void test_detach(void **state)
{
	struct qmp *old;
	int fd = -1;

	(void)state;
	START(HELLO,
		{"{\"execute\":\"a\",\"id\":2}", OK(2) EVENT("STOP", "{}"), PEER_NONE});
	assert_ok(command(q, "a", err));
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){.name = "STOP", .deadline = soon()}, NULL, err));
	assert_ok(qmp_quiesce(q, err));
	assert_err(command(q, "b", err), -ECANCELED,
		"QMP b: the QMP session was handed over");
	assert_err(qmp_wait_event(q,
			   &(struct qmp_event_wait){.name = "X", .deadline = soon()},
			   NULL, err),
		-ECANCELED, "waiting for QMP event X: the QMP session was handed over");
	old = steal_ptr(q);
	assert_ok(qmp_detach(old, soon(), &fd, err));
	assert_int_equal(
		0, write_full(peer.fd, EVENT("LATE", "{}"), strlen(EVENT("LATE", "{}"))));
	assert_ok(qmp_adopt(fd, 70222, &q, err));
	assert_int_equal(70222, qmp_version(q));
	assert_ok(qmp_wait_event(q,
		&(struct qmp_event_wait){.name = "LATE", .deadline = soon()}, NULL, err));
	assert_int_equal(1, qmp_mark(q));
	peer_end(&peer);
}

static void *wait_in_thread(void *arg)
{
	return qmp_wait_event(arg,
		       &(struct qmp_event_wait){.name = "X", .deadline = DEADLINE_NONE},
		       NULL, NULL) == -ECANCELED
		       ? arg
		       : NULL;
}

/* One who waits for an event leaves at the first step. */
static void test_detach_wakes(void **state)
{
	pthread_t thread;
	void *woken;
	int fd = -1;

	(void)state;
	START(HELLO);
	assert_int_equal(0, thread_start(wait_in_thread, q, 0, false, &thread));
	assert_ok(qmp_quiesce(q, err));
	pthread_join(thread, &woken);
	assert_ptr_equal(woken, q);
	assert_ok(qmp_detach(steal_ptr(q), soon(), &fd, err));
	close(fd);
	peer_end(&peer);
}

/* A command without an answer, also one that nobody waits for any more. */
static void test_detach_busy(void **state)
{
	(void)state;
	START(HELLO, {"{\"execute\":\"a\",\"id\":2}", NULL, PEER_NONE});
	assert_err(qmp_command(q, "a", NULL, deadline_after_ms(20), err), -ETIMEDOUT,
		"QMP a: no answer from QEMU in time");
	assert_err(qmp_quiesce(q, err), -EBUSY, "a QMP command is unanswered");
	assert_int_equal(0, write_full(peer.fd, OK(2) EVENT("X", "{}"),
				    strlen(OK(2) EVENT("X", "{}"))));
	assert_ok(qmp_wait_event(
		q, &(struct qmp_event_wait){.name = "X", .deadline = soon()}, NULL, err));
	assert_ok(qmp_quiesce(q, err));
	peer_end(&peer);
}

/* In the middle of a line: the reader stays for its rest, and no longer than that. */
static void test_detach_torn(void **state)
{
	static const char begun[] = EVENT("X", "{}") "{\"event\": ";
	int fd = -1;

	(void)state;
	START(HELLO);
	assert_int_equal(0, write_full(peer.fd, begun, strlen(begun)));
	assert_ok(qmp_wait_event(
		q, &(struct qmp_event_wait){.name = "X", .deadline = soon()}, NULL, err));
	assert_ok(qmp_quiesce(q, err));
	assert_err(qmp_detach(steal_ptr(q), deadline_after_ms(20), &fd, err), -ETIMEDOUT,
		"hand the QMP session over: QEMU stays in the middle of a line");
	assert_int_equal(-1, fd);
	peer_end(&peer);
}

/* What is said between the two steps would be lost. */
static void test_detach_not_quiet(void **state)
{
	static const char begun[] = EVENT("X", "{}") "{\"event\": ";
	static const char rest[] = "\"SHUTDOWN\"}\n";
	int fd = -1;

	(void)state;
	START(HELLO);
	assert_int_equal(0, write_full(peer.fd, begun, strlen(begun)));
	assert_ok(qmp_wait_event(
		q, &(struct qmp_event_wait){.name = "X", .deadline = soon()}, NULL, err));
	assert_ok(qmp_quiesce(q, err));
	assert_int_equal(0, write_full(peer.fd, rest, strlen(rest)));
	assert_err(qmp_detach(steal_ptr(q), soon(), &fd, err), -EBUSY,
		"hand the QMP session over: QEMU said something meanwhile");
	peer_end(&peer);
}

static void test_detach_gone(void **state)
{
	int fd = -1;

	(void)state;
	START(HELLO, {NULL, "{", PEER_HANGS_UP});
	assert_err(qmp_wait_event(q,
			   &(struct qmp_event_wait){.name = "X", .deadline = soon()},
			   NULL, err),
		-ECONNRESET, "waiting for QMP event X: QEMU closed its QMP connection");
	assert_err(qmp_quiesce(q, err), -ECONNRESET, "QEMU closed its QMP connection");
	assert_int_equal(-1, fd);
	peer_end(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_bad_greetings),
		cmocka_unit_test(test_gone_at_once),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_not_asked_for),
		cmocka_unit_test(test_too_many_answers),
		cmocka_unit_test(test_late_answer),
		cmocka_unit_test(test_two_callers),
		cmocka_unit_test(test_free_in_flight),
		cmocka_unit_test(test_fd),
		cmocka_unit_test(test_write_blocks),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_event_ring),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_broken_streams),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_detach_wakes),
		cmocka_unit_test(test_detach_busy),
		cmocka_unit_test(test_detach_torn),
		cmocka_unit_test(test_detach_not_quiet),
		cmocka_unit_test(test_detach_gone),
	};

	return cmocka_run_group_tests_name("qmp", tests, NULL, NULL);
}
