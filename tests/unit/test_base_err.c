/* SPDX-License-Identifier: Apache-2.0 */
/* base/err: codes, texts, context, cutting, quoting. */
#include "tests/lib/test.h"

#include <errno.h>

static void test_set(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_error(err_set(&err, -EINVAL, "key %s", "k"), -EINVAL, "key k");
	assert_error(
		err_set(&err, EINVAL, "a positive code"), -EINVAL, "a positive code");
	assert_int_equal(err_set(NULL, -EIO, "nobody reads it"), -EIO);
}

static void test_sys(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_error(err_sys(&err, ENOENT, "cannot open %s", "/x"), -ENOENT,
		"cannot open /x: No such file or directory");
	assert_int_equal(err_sys(NULL, ENOENT, "x"), -ENOENT);
}

static void test_wrap(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, -EPIPE, "QEMU is gone");
	assert_int_equal(err_wrap(&err, "restore %d", 1), -EPIPE);
	assert_error(err_wrap(&err, "clone"), -EPIPE, "clone: restore 1: QEMU is gone");
	assert_int_equal(err_wrap(NULL, "clone"), 0);
}

static void test_copy(void **state)
{
	struct err err = ERR_INIT, kept = ERR_INIT;

	(void)state;
	err_set(&kept, -EIO, "kept");
	assert_int_equal(err_copy(NULL, &kept), -EIO);
	assert_error(err_copy(&err, &kept), -EIO, "kept");
}

/* A text that is too long ends with the ellipsis and stays inside its buffer. */
static void test_cut(void **state)
{
	static const char ellipsis[] = "…";
	char big[3000];
	struct err err = ERR_INIT;
	size_t end = sizeof(err.text) - sizeof(ellipsis);

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(err_set(&err, -E2BIG, "%s", big), -E2BIG);
	assert_string_equal(err.text + end, ellipsis);
	assert_int_equal(err_wrap(&err, "before"), -E2BIG);
	assert_memory_equal(err.text, "before: xxx", 11);
	assert_string_equal(err.text + end, ellipsis);
	assert_int_equal(err_sys(&err, EIO, "%s", big), -EIO);
	assert_string_equal(err.text + end, ellipsis);
}

static void test_quote(void **state)
{
	char big[3000];
	const char *q[4];

	(void)state;
	assert_string_equal(err_quote("plain text", 64), "plain text");
	assert_string_equal(err_quote("a\nb\x7f\\\xff", 64), "a\\x0ab\\x7f\\x5c\\xff");
	assert_string_equal(err_quote("abcdef", 3), "abc…");
	assert_string_equal(err_quote("abc", 3), "abc");
	assert_string_equal(err_quote("", 3), "");
	memset(big, '\1', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_true(strlen(err_quote(big, sizeof(big))) < 1024);
	/* Four results are valid side by side. */
	for (int i = 0; i < 4; i++) {
		char text[2] = {(char)('a' + i), '\0'};

		q[i] = err_quote(text, 1);
	}
	assert_string_equal(q[0], "a");
	assert_string_equal(q[3], "d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_sys),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_quote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
