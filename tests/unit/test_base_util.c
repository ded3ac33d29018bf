/* SPDX-License-Identifier: Apache-2.0 */
/* base/util, base/mount_word: bytes as digits, words as flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "base/mount_word.h"
#include "base/util.h"

static void test_hex(void **state)
{
	const uint8_t bytes[] = {0x00, 0x0f, 0xa0, 0xff};
	char text[sizeof(bytes) * 2 + 2];

	(void)state;
	memset(text, '!', sizeof(text));
	hex_encode(bytes, sizeof(bytes), text);
	assert_string_equal(text, "000fa0ff");
	assert_int_equal(text[sizeof(text) - 1], '!');
	hex_encode(bytes, 0, text);
	assert_string_equal(text, "");
}

static void test_mount_word(void **state)
{
	unsigned long flags = 0;

	(void)state;
	assert_true(mount_word("ro", &flags));
	assert_true(mount_word("rbind", &flags));
	assert_int_equal(flags, MS_RDONLY | MS_BIND | MS_REC);
	assert_true(mount_word("rw", &flags)); /* the last one counts */
	assert_int_equal(flags, MS_BIND | MS_REC);
	assert_true(mount_word("defaults", &flags));
	assert_false(mount_word("mode=0755", &flags));
	assert_false(mount_word("", &flags));
	assert_false(mount_word("rprivate", &flags)); /* a call of its own */
	assert_int_equal(flags, MS_BIND | MS_REC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_mount_word),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
