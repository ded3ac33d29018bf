/* SPDX-License-Identifier: Apache-2.0 */
/* shim/net without a kernel: names of taps, libnl's errors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <netlink/errno.h>

#include "shim/net_internal.h"

static void test_tap_names(void **state)
{
	(void)state;
	assert_true(net_is_tap_name("tap0_stncl"));
	assert_true(net_is_tap_name("tap123456_stncl"));
	assert_false(net_is_tap_name("tap_stncl"));
	assert_false(net_is_tap_name("tap1_stncl2"));
	assert_false(net_is_tap_name("tap1x_stncl"));
	assert_false(net_is_tap_name("tap1"));
	assert_false(net_is_tap_name("xtap1_stncl"));
	assert_false(net_is_tap_name(""));
}

static void test_errors(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(netlink_err(&err, -NLE_NODEV, "cannot find %s", "x"), -ENODEV);
	assert_int_equal(err.code, -ENODEV);
	assert_string_equal(err.text, "cannot find x: No such device");
	assert_int_equal(netlink_err(NULL, -NLE_OBJ_NOTFOUND, "x"), -ENOENT);
	assert_int_equal(netlink_err(NULL, -NLE_EXIST, "x"), -EEXIST);
	assert_int_equal(netlink_err(NULL, -NLE_NOADDR, "x"), -EINVAL);
	/* What has no errno of its own. */
	assert_int_equal(netlink_err(NULL, -NLE_DUMP_INTR, "x"), -EIO);
}

/* Nothing was joined: nothing to leave, and no namespace to look into. */
static void test_nothing(void **state)
{
	struct net net = {.netns_fd = -1, .n_interfaces = 1};
	struct err err = ERR_INIT;

	(void)state;
	net.interfaces[0].tap_fd = -1;
	assert_int_equal(net_leave(&net, &err), 0);
	assert_int_equal(err.code, 0);
	net_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tap_names),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
