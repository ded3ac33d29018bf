/* SPDX-License-Identifier: Apache-2.0 */
/* files/change: changes that wait, merged, bounded, taken in rounds. */
#include "tests/lib/test.h"

#include <sys/fanotify.h>

#include "base/util.h"
#include "files/change.h"
#include "files/watch.h"

static struct changes changes;

static int setup(void **state)
{
	(void)state;
	changes_init(&changes);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	changes_done(&changes);
	return 0;
}

/* True: the guest is to be told. */
static bool add(uint64_t mask, uint64_t folder, const char *name)
{
	struct change *change = change_new(mask, name, mask & FAN_RENAME ? "to" : NULL);
	bool lost, tell;

	change->folder = folder;
	tell = changes_add(&changes, change, &lost);
	assert_false(lost);
	return tell;
}

static void assert_next(uint64_t mask, const char *name)
{
	_cleanup_free_ struct change *change = changes_take(&changes);

	assert_non_null(change);
	assert_int_equal(change->mask, mask);
	assert_string_equal(change->name, name);
}

static void test_rounds(void **state)
{
	(void)state;
	assert_true(add(FAN_CREATE, 1, "a"));
	assert_false(add(FAN_CREATE, 1, "b"));
	assert_int_equal(changes_begin(&changes), 2);
	/* It comes in the next round, which nobody has to be told of. */
	assert_false(add(FAN_DELETE, 1, "a"));
	assert_next(FAN_CREATE, "a");
	assert_next(FAN_CREATE, "b");
	assert_null(changes_take(&changes));
	assert_int_equal(changes_begin(&changes), 1);
	assert_next(FAN_DELETE, "a");
	assert_int_equal(changes_begin(&changes), 0);
	assert_true(add(FAN_CREATE, 1, "c"));
	changes_clear(&changes);
	assert_int_equal(changes_begin(&changes), 0);
}

static void test_merged(void **state)
{
	(void)state;
	add(FAN_CREATE, 1, "a");
	add(FAN_MODIFY, 1, "b");
	add(FAN_MODIFY, 2, "a");
	add(FAN_MODIFY, 1, "a");
	add(FAN_CLOSE_WRITE, 1, "a");
	add(FAN_ATTRIB | FAN_ONDIR, 1, "a"); /* of another kind */
	assert_int_equal(changes_begin(&changes), 4);
	assert_next(FAN_CREATE | FAN_MODIFY | FAN_CLOSE_WRITE, "a");
	assert_next(FAN_MODIFY, "b");
	assert_next(FAN_MODIFY, "a");
	assert_next(FAN_ATTRIB | FAN_ONDIR, "a");
}

/* What has happened to the name meanwhile is told in its place. */
static void test_not_merged(void **state)
{
	(void)state;
	add(FAN_MODIFY, 1, "a");
	add(FAN_RENAME, 1, "other");
	add(FAN_MODIFY, 1, "a");
	add(FAN_DELETE, 1, "a");
	add(FAN_CREATE, 1, "a");
	add(FAN_MODIFY, 1, "a");
	assert_int_equal(changes_begin(&changes), 5);
	assert_next(FAN_MODIFY, "a");
	assert_next(FAN_RENAME, "other");
	assert_next(FAN_MODIFY, "a");
	assert_next(FAN_DELETE, "a");
	assert_next(FAN_CREATE | FAN_MODIFY, "a");
}

/* A wall's proof: docs/security.md. */
static void test_bounded(void **state)
{
	bool lost;

	(void)state;
	for (unsigned int i = 0; i < CHANGES_MAX; i++)
		add(FAN_CREATE, i, "a");
	assert_false(changes_add(&changes, change_new(FAN_CREATE, "b", NULL), &lost));
	assert_true(lost);
	assert_int_equal(changes_begin(&changes), CHANGES_MAX);
	assert_next(FAN_CREATE, "a");
	assert_false(changes_add(&changes, change_new(FAN_CREATE, "b", NULL), &lost));
	assert_false(lost);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_rounds),
		CASE(test_merged),
		CASE(test_not_merged),
		CASE(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
