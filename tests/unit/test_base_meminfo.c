/* SPDX-License-Identifier: Apache-2.0 */
/* base/meminfo: lines of /proc/meminfo. */
#include "tests/lib/test.h"

#include <errno.h>

#include "base/meminfo.h"
#include "base/util.h"

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t bytes;
	} cases[] = {
		{"MemTotal:  12 kB\nMemFree:       3 kB\n", 0, 3 * 1024},
		{"MemFree: 7 kB", 0, 7 * 1024},
		{"MemFree:	18014398509481983 kB\n", 0, UINT64_MAX - 1023},
		{"MemFree: 18014398509481984 kB\n", -EBADMSG, 0},
		{"MemFree: many kB\n", -EBADMSG, 0},
		{"MemFree:\n", -EBADMSG, 0},
		{"MemFreed: 1 kB\nXMemFree: 2 kB\nMemFre: 3 kB\n", -ENOENT, 0},
		{"", -ENOENT, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(
			meminfo_parse(cases[i].text, "MemFree", &bytes), cases[i].r);
		assert_true(cases[i].r < 0 || bytes == cases[i].bytes);
	}
}

static void test_read(void **state)
{
	_cleanup_free_ char *text = NULL;
	uint64_t total, available;

	(void)state;
	assert_int_equal(meminfo_read(&text), 0);
	assert_int_equal(meminfo_parse(text, "MemTotal", &total), 0);
	assert_int_equal(meminfo_parse(text, "MemAvailable", &available), 0);
	assert_in_range(available, 1, total);
	assert_int_equal(meminfo_parse(text, "MemNone", &total), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests_name("base/meminfo", tests, NULL, NULL);
}
