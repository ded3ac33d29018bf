/* SPDX-License-Identifier: Apache-2.0 */
/* vm/memory: the steps in which a VM's memory grows, and what the host has for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

#include "base/util.h"
#include "vm/memory.h"

#define GiB (1024 * MiB)

static void test_block(void **state)
{
	(void)state;
	assert_int_equal(memory_block_bytes(96 * MiB), 128 * MiB);
	assert_int_equal(memory_block_bytes(256 * MiB), 128 * MiB);
	assert_int_equal(memory_block_bytes(2816 * MiB), 128 * MiB);
	/* Memory ends at 64 GiB with 62, since 2 GiB lie above the hole. */
	assert_int_equal(memory_block_bytes(62 * GiB - 2 * MiB), 128 * MiB);
	assert_int_equal(memory_block_bytes(62 * GiB), 2 * GiB);
	assert_int_equal(memory_block_bytes(63 * GiB), 1 * GiB);
	assert_int_equal(memory_block_bytes(64 * GiB + 512 * MiB), 512 * MiB);
	assert_int_equal(memory_block_bytes(64 * GiB + 128 * MiB), 128 * MiB);
	assert_int_equal(memory_block_bytes(64 * GiB + 2 * MiB), 128 * MiB);
	assert_int_equal(memory_block_bytes(1024 * GiB), 2 * GiB);
}

/* All steps of a growth, in MiB, as text. */
static void assert_steps(uint64_t boot_bytes, uint64_t bytes, const char *wanted)
{
	struct memory_growth g = {.boot_bytes = boot_bytes};
	char text[256] = "";

	while (g.fresh_bytes < bytes) {
		uint64_t step;
		size_t len = strlen(text);

		g.wanted_bytes = bytes - g.fresh_bytes;
		step = memory_next_step(&g);
		assert_true(step > 0);
		snprintf(text + len, sizeof(text) - len, "%s%u", len ? " " : "",
			(unsigned int)(step / MiB));
		g.fresh_bytes += step;
	}
	assert_string_equal(text, wanted);
}

static void test_steps(void **state)
{
	(void)state;
	assert_steps(256 * MiB, 1, "128");
	assert_steps(256 * MiB, 128 * MiB, "128");
	assert_steps(256 * MiB, 128 * MiB + 1, "256");
	assert_steps(256 * MiB, 1 * GiB, "1024");
	assert_steps(256 * MiB, 1 * GiB + 1, "1024 128");
	assert_steps(256 * MiB, 4 * GiB, "1024 3072");
	assert_steps(256 * MiB, 12 * GiB, "1024 8192 3072");
	assert_steps(256 * MiB, 20 * GiB, "1024 8192 8192 3072");
	assert_steps(96 * MiB, 512 * MiB, "384 128");
	assert_steps(96 * MiB, 12 * GiB, "384 6144 5760");
	assert_steps(4 * GiB, 12 * GiB, "8192 4096");
	assert_steps(64 * GiB, 3 * GiB, "4096");
	/* A guest of this size would be 128 steps of 8 GiB. */
	assert_steps(256 * MiB, 1024 * GiB, "1024 16384 262144 262144 262144 244736");
}

/* Whatever the sizes: a step's map fits, nothing is missing, little is too much, and the
 * machine's slots are for many growths. */
static void check_growth(uint64_t boot_bytes, uint64_t bytes)
{
	uint64_t block = memory_block_bytes(boot_bytes);
	struct memory_growth g = {.boot_bytes = boot_bytes};
	unsigned int n = 0;

	for (; g.fresh_bytes < bytes; n++) {
		uint64_t step;

		g.wanted_bytes = bytes - g.fresh_bytes;
		step = memory_next_step(&g);
		assert_int_equal(step % block, 0);
		assert_in_range(step, block, align_up(g.wanted_bytes, block));
		assert_true(step / 64 <=
			    (g.fresh_bytes ? g.fresh_bytes / 4 : boot_bytes / 16));
		g.fresh_bytes += step;
	}
	assert_in_range(g.fresh_bytes, bytes, bytes + block - 1);
	assert_in_range(n, 1, 8);
}

static void test_growths(void **state)
{
	static const uint64_t boot_mib[] = {96, 97, 128, 200, 256, 1024, 2815, 2816, 8192,
		63485, 63486, 63487, 63488, 65536, 65600, 1 << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(boot_mib); i++)
		for (uint64_t mib = 1; mib < 16 << 20; mib += mib / 3 + 1)
			check_growth(boot_mib[i] * MiB, mib * MiB);
}

#define MEMINFO                                                                          \
	"MemTotal:       24731648 kB\nMemFree:        19511236 kB\n"                     \
	"CommitLimit:    12365824 kB\nCommitted_AS:   %s kB\nVmallocTotal:   1 kB\n"

static uint64_t room(const char *overcommit, const char *committed)
{
	_cleanup_free_ char *meminfo = NULL;

	assert_true(asprintf(&meminfo, MEMINFO, committed) > 0);
	return memory_parse_room(overcommit, meminfo);
}

static void test_room(void **state)
{
	(void)state;
	assert_true(room("0\n", "0") == UINT64_MAX);
	assert_true(room("1\n", "0") == UINT64_MAX);
	assert_int_equal(room("2\n", "0"), 12365824 * UINT64_C(1024) - 256 * MiB);
	assert_int_equal(room("2\n", "2365824"), 10000000 * UINT64_C(1024) - 256 * MiB);
	assert_int_equal(room("2\n", "12300000"), 0); /* what is left is not a VM's */
	assert_int_equal(room("2\n", "99999999"), 0); /* the rule is newer than its use */
	assert_true(room("2\n", "none") == UINT64_MAX);
	assert_true(memory_parse_room("2\n", "") == UINT64_MAX);
	assert_true(memory_parse_room("2\n", "CommitLimit: 1 kB\n") == UINT64_MAX);
	assert_true(memory_host_room() > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_growths),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests_name("vm/memory", tests, NULL, NULL);
}
