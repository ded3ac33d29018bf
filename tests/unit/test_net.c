/* SPDX-License-Identifier: Apache-2.0 */
/* shim/net without a kernel: names of taps, libnl's errors, views compared. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <linux/rtnetlink.h>
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
	struct net net = {.netns_fd = -1};
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(net_leave(&net, &err), 0);
	assert_int_equal(err.code, 0);
	net_free(NULL);
	net_view_free(NULL);
}

/* ---- views compared ---- */

/* A message that is told from others by one word. */
struct word {
	struct nlmsghdr header;
	uint32_t word;
};

struct made_view {
	struct word words[8];
	struct net_message messages[8];
	struct net_view view;
};

static void say(
	struct made_view *v, enum net_rank rank, int index, int type, uint32_t word)
{
	size_t at = v->view.n_messages++;

	v->words[at] = (struct word){.header = {.nlmsg_len = sizeof(struct word),
					     .nlmsg_type = (uint16_t)type,
					     .nlmsg_flags = NLM_F_CREATE},
		.word = word};
	v->messages[at] = (struct net_message){.rank = rank,
		.index = index,
		.size = sizeof(struct word),
		.data = &v->words[at]};
	v->view.messages = v->messages;
}

static bool skip_index_9(void *user, int index)
{
	(void)user;
	return index == 9;
}

/* "+1" is a request that adds what has the word 1, "-1" one that takes it away. */
static void assert_compared(
	const struct net_view *from, const struct net_view *to, const char *wanted)
{
	const struct net_comparison c = {.from = from, .to = to, .skip = skip_index_9};
	struct net_change changes[2];
	char text[128] = "";
	size_t len = 0;

	net_compare(&c, &changes[0], &changes[1]);
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < changes[k].n_messages; i++) {
			const struct word *w = (const void *)changes[k].messages[i].data;
			bool removes = w->header.nlmsg_type % 4 == 1;

			/* RTM_NEWADDR is 20, RTM_DELADDR 21, and so on by fours. */
			assert_int_equal(w->header.nlmsg_flags & NLM_F_CREATE,
				removes ? 0 : NLM_F_CREATE);
			assert_int_equal(changes[k].messages[i].len, sizeof(*w));
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%c%u",
				removes ? '-' : '+', w->word);
		}
		net_change_done(&changes[k]);
	}
	assert_string_equal(text, wanted);
}

static void test_compared(void **state)
{
	struct made_view a = {0}, b = {0};

	(void)state;
	say(&a, NET_LINK_SET, 2, RTM_NEWLINK, 1);
	say(&a, NET_ADDRESS, 2, RTM_NEWADDR, 2);
	say(&a, NET_ROUTE, 2, RTM_NEWROUTE, 3);
	say(&a, NET_ROUTE, 3, RTM_NEWROUTE, 4);
	say(&a, NET_ROUTE, 9, RTM_NEWROUTE, 5);
	say(&a, NET_RULE, 0, RTM_NEWRULE, 6);
	assert_compared(NULL, &a.view, "+1+2+3+4+6");
	assert_compared(&a.view, &a.view, "");

	/* A route is one route more, or less. */
	b = a;
	for (size_t i = 0; i < ARRAY_SIZE(b.messages); i++)
		b.messages[i].data = &b.words[i];
	b.view.messages = b.messages;
	say(&b, NET_ROUTE, 3, RTM_NEWROUTE, 7);
	assert_compared(&a.view, &b.view, "+7");
	assert_compared(&b.view, &a.view, "-7");

	/* An interface that changes has all told again that is its own. */
	b.words[0].word = 8;
	assert_compared(&a.view, &b.view, "+8+2+3+7");
	b.view.n_messages = 0;
	assert_compared(&a.view, &b.view, "-6-4-3-2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tap_names),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_compared),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
