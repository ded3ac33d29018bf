/* SPDX-License-Identifier: Apache-2.0 */
/* guest/pump_changes: which mount's changes are done once more, and when.
 * The replay itself is the test's. */
#include "tests/unit/pump_peer.h"

#include <fcntl.h>

#include "guest/pump_internal.h"
#include "guest/replay.h"

/* ---- the replay ---- */

/* It says which mount it was called for, and does as it is told. */
static int calls[2], orders[2];

enum order {
	ORDER_NOTHING = 'n',
	ORDER_REST = 'r', /* for longer than any test takes */
	ORDER_FAIL = 'f',
};

int replay_enter_thread(struct err *err)
{
	(void)err;
	return 0;
}

int replay_mount(const char *at, dev_t dev, struct replay_outcome *ret, struct err *err)
{
	char order = 0;

	(void)dev;
	if (write_full(calls[1], at, 1) < 0 || read_full(orders[0], &order, 1) < 0)
		abort();
	*ret = (struct replay_outcome){.again = order == ORDER_REST, .rest_ms = 3600000};
	return order == ORDER_FAIL ? err_set(err, -EIO, "as the test wants it") : 0;
}

static void assert_called(char at)
{
	char called = 0;

	assert_int_equal(wait_fd(calls[0], POLLIN, soon()), 0);
	assert_int_equal(read_full(calls[0], &called, 1), 0);
	assert_int_equal(called, at);
}

static void give_order(enum order order)
{
	char c = (char)order;

	assert_int_equal(write_full(orders[1], &c, 1), 0);
}

/* ---- the pump ---- */

struct rig {
	struct files_peer host;
	struct pump *pump;
	int window_fd;
	int kernel[4]; /* the kernel's end of each mount */
};

static int add_mount(
	struct rig *rig, unsigned int mount, const char *at, int64_t deadline)
{
	int pair[2], r;
	struct err err = ERR_INIT;
	struct pump_source source = {.at = at};

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	source.fuse_fd = pair[1];
	source.abort_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	r = pump_add(rig->pump, mount, &source, deadline, &err);
	if (r < 0) {
		close(source.fuse_fd);
		close(source.abort_fd);
		close(pair[0]);
		return r;
	}
	close_fd(rig->kernel[mount]);
	rig->kernel[mount] = pair[0];
	return 0;
}

static int setup(void **state)
{
	struct rig *rig = xnew0(struct rig);
	struct err err = ERR_INIT;
	int port;

	memset(rig->kernel, 0xff, sizeof(rig->kernel));
	assert_int_equal(pipe2(calls, O_CLOEXEC), 0);
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	peer_init(&rig->host, &port, &rig->window_fd);
	if (pump_new(port, &rig->pump, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(add_mount(rig, 1, "a", soon()), 0);
	assert_int_equal(add_mount(rig, 2, "b", soon()), 0);
	assert_int_equal(add_mount(rig, 3, NULL, soon()), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	/* A replay that no test waits for any more ends, and the test with it. */
	close(orders[1]);
	pump_free(rig->pump);
	peer_done(&rig->host);
	close(rig->window_fd);
	for (size_t i = 0; i < ARRAY_SIZE(rig->kernel); i++)
		close_fd(rig->kernel[i]);
	close(orders[0]);
	close(calls[0]);
	close(calls[1]);
	free(rig);
	return 0;
}

/* ---- tests ---- */

static void test_once(void **state)
{
	struct rig *rig = *state;

	/* Whose path is not known is let be. */
	pump_changed(rig->pump, 3);
	pump_changed(rig->pump, 1);
	assert_called('a');
	/* What comes while it is done is done after it. */
	pump_changed(rig->pump, 1);
	pump_changed(rig->pump, 1);
	give_order(ORDER_NOTHING);
	assert_called('a');
	give_order(ORDER_NOTHING);
	pump_changed(rig->pump, 2);
	assert_called('b');
	give_order(ORDER_NOTHING);
}

/* One that rests keeps no other waiting. */
static void test_rest(void **state)
{
	struct rig *rig = *state;

	pump_changed(rig->pump, 1);
	assert_called('a');
	/* Whether it is told of one before it rests, or while it does. */
	pump_changed(rig->pump, 1);
	give_order(ORDER_REST);
	pump_changed(rig->pump, 1);
	pump_changed(rig->pump, 2);
	assert_called('b');
	give_order(ORDER_NOTHING);
}

static void test_failed(void **state)
{
	struct rig *rig = *state;

	pump_changed(rig->pump, 1);
	assert_called('a');
	give_order(ORDER_FAIL);
	/* Nobody tells of it once more. */
	assert_called('a');
	give_order(ORDER_NOTHING);
}

/* Its number is free when the replay has ended, for which its path stays. */
static void test_forgotten(void **state)
{
	struct rig *rig = *state;

	pump_changed(rig->pump, 1);
	assert_called('a');
	pump_changed(rig->pump, 1);
	pump_forget(rig->pump, 1);
	assert_int_equal(add_mount(rig, 1, "c", now_ms()), -EBUSY);
	give_order(ORDER_FAIL);
	assert_int_equal(add_mount(rig, 1, "c", soon()), 0);
	pump_changed(rig->pump, 2);
	assert_called('b');
	give_order(ORDER_NOTHING);
	pump_changed(rig->pump, 1);
	assert_called('c');
	give_order(ORDER_NOTHING);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_once),
		TEST(test_rest),
		TEST(test_failed),
		TEST(test_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
