/* SPDX-License-Identifier: Apache-2.0 */
/* hotplug/qmp against a QEMU that says much: what is looked at of it, and kept. */
#include "hotplug/qmp_internal.h"

#include <errno.h>

#include "tests/unit/qmp_peer.h"

static struct peer peer;

static int command(struct qmp *q, const char *name, struct err *err)
{
	return qmp_command(q, name, NULL, soon(), err);
}

#define STAMP "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": "

/* As many as a guest likes: none takes a place, and what is in them is not looked at. */
/* A wall's proof: docs/security.md. */
static void test_guests_events(void **state)
{
	_cleanup_free_ char *flood = NULL;
	_cleanup_(qmp) struct qmp *q = NULL;
	struct peer_step steps[] = {
		HELLO, {"{\"execute\":\"a\",\"id\":2}", NULL, PEER_NONE}};
	size_t size;
	FILE *out = open_memstream(&flood, &size);

	(void)state;
	fputs(STAMP "\"SHUTDOWN\", \"data\": {}}\n", out);
	for (int i = 0; i < 100000; i++)
		fputs(STAMP "\"ACPI_DEVICE_OST\", \"data\": [}\n", out);
	fputs(STAMP "\"ACPI_DEVICE_OSTX\", \"data\": {}}\n", out);
	fputs(OK(2), out);
	fclose(out);
	steps[2].reply = flood;
	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	assert_ok(command(q, "a", err));
	assert_int_equal(qmp_mark(q), 2);
	assert_int_equal(dropped(q), 0);
	peer_end(&peer);
}

/* Of an event that has too many nothing is kept. */
/* A wall's proof: docs/security.md. */
static void test_many_values(void **state)
{
	_cleanup_free_ char *list = xzalloc(3 * QMP_NODES_MAX + 1), *event = NULL;
	_cleanup_free_ char *answer = NULL;
	_cleanup_(qmp) struct qmp *q = NULL;
	struct peer_step steps[] = {HELLO,
		{"{\"execute\":\"a\",\"id\":2}", NULL, PEER_NONE},
		{"{\"execute\":\"b\",\"id\":3}", NULL, PEER_NONE}};

	(void)state;
	for (size_t i = 0; i < QMP_NODES_MAX; i++)
		memcpy(list + 3 * i, "{},", 3);
	event = xasprintf("{\"event\": \"E\", \"data\": {\"x\": [%.*s{}]}}\n" OK(2),
		3 * QMP_EVENT_NODES_MAX, list);
	answer = xasprintf("{\"id\": 3, \"return\": [%s{}]}\n", list);
	steps[2].reply = event;
	steps[3].reply = answer;
	assert_ok(qmp_new(peer_start(&peer, steps, ARRAY_SIZE(steps)), soon(), &q, err));
	assert_ok(command(q, "a", err));
	assert_int_equal(dropped(q), 1);
	assert_int_equal(qmp_mark(q), 0);
	assert_err(command(q, "b", err), -EBADMSG,
		"QMP b: a QMP message has more than 32768 values");
	peer_end(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guests_events),
		cmocka_unit_test(test_many_values),
	};

	return cmocka_run_group_tests_name("qmp bounds", tests, NULL, NULL);
}
