/* SPDX-License-Identifier: Apache-2.0 */
/* templated keeps what it grants compact: with each lease that begins or ends. */
#include "tests/unit/lease_fixture.h"

#include <sys/mman.h>

#define MEMORY_BYTES (8 * MiB) /* set_config() */
#define SANDBOXES    300

#define RESIDENT  "status/template/generations/0/resident_bytes"
#define PUBLISHED "status/template/generations/0/published_bytes"

/* The thread that punches ends in its own time. */
static void wait_for(const char *path, int value)
{
	while (status_number(path) != value)
		;
}

static void wait_compact(void)
{
	wait_for(RESIDENT, status_number(PUBLISHED));
}

static unsigned char *map(const struct lease *lease)
{
	unsigned char *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE, lease->memory_fd, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

/* As the guest of vm_boot() left it, but for one page. */
static bool reads_well(const unsigned char *memory, size_t own)
{
	static const unsigned char zeros[4096];
	bool well = memcmp(memory + 8192, "guest", 5) == 0;

	for (size_t at = 0; at < MEMORY_BYTES; at += sizeof(zeros))
		well = well && (at == 8192 || at == own ||
				       memcmp(memory + at, zeros, sizeof(zeros)) == 0);
	return well;
}

/* A hole is filled by one who reads all: the end of his lease empties it, and so does the
 * lease of another one while he goes on. */
static void test_with_leases(void **state)
{
	struct lease lease, other;
	unsigned char *memory;

	(void)state;
	init_template();
	assert_int_equal(status_number(PUBLISHED), 4096);
	assert_int_equal(status_number(RESIDENT), 4096);
	acquire_template(&lease);
	memory = map(&lease);
	memory[40960] = 'm';
	assert_true(reads_well(memory, 40960));
	assert_int_equal(status_number(RESIDENT), MEMORY_BYTES);
	acquire_template(&other);
	wait_compact();
	assert_int_equal(memory[40960], 'm');
	assert_true(reads_well(memory, 40960));
	assert_true(status_number(RESIDENT) > status_number(PUBLISHED));
	lease_release(&other);
	wait_compact();
	assert_int_equal(memory[40960], 'm');
	assert_true(reads_well(memory, 40960));
	lease_release(&lease);
	wait_compact();
	munmap(memory, MEMORY_BYTES);
	/* It is what it was: verified as a whole by the next one. */
	restart();
	assert_text("status/template/state", "ready");
}

/* All of them alive, and all have read all of it. */
static void test_many_alive(void **state)
{
	static struct lease leases[SANDBOXES];
	static unsigned char *memories[SANDBOXES];

	(void)state;
	init_template();
	for (size_t i = 0; i < SANDBOXES; i++) {
		acquire_template(&leases[i]);
		memories[i] = map(&leases[i]);
		memories[i][4096 * (3 + i)] = 'p';
		assert_true(reads_well(memories[i], 4096 * (3 + i)));
	}
	lease_release(&leases[0]);
	wait_compact();
	for (size_t i = 0; i < SANDBOXES; i++) {
		assert_int_equal(memories[i][4096 * (3 + i)], 'p');
		assert_true(reads_well(memories[i], 4096 * (3 + i)));
		munmap(memories[i], MEMORY_BYTES);
		lease_release(&leases[i]);
	}
	wait_for("status/template/generations/0/leases", 0);
	wait_compact();
}

/* What was filled while nobody looked is found at the start. */
static void test_at_start(void **state)
{
	struct lease lease;
	unsigned char *memory;

	(void)state;
	init_template();
	acquire_template(&lease);
	memory = map(&lease);
	stop();
	memory[4096] = 'm';
	assert_true(reads_well(memory, 4096));
	start();
	wait_compact();
	assert_int_equal(memory[4096], 'm');
	assert_text("status/template/state", "ready");
	munmap(memory, MEMORY_BYTES);
	lease_release(&lease);
}

/* A retired generation that is held is kept compact, and goes with its last lease;
 * so does the tmpfs. */
static void test_retired(void **state)
{
	struct lease lease, other;
	struct err err = ERR_INIT;
	unsigned char *memory;

	(void)state;
	init_template();
	acquire_template(&lease);
	acquire_template(&other);
	memory = map(&lease);
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), 0);
	assert_true(reads_well(memory, 0));
	lease_release(&other);
	assert_text("status/template/generations/0/state", "retired");
	wait_compact();
	assert_true(reads_well(memory, 0));
	assert_int_equal(ask(LEASE_VERB_DESTROY, NULL, &err), 0);
	munmap(memory, MEMORY_BYTES);
	lease_release(&lease);
	wait_for("status/template/tmpfs/size_bytes", 0);
	assert_text("status/template/state", "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_with_leases),
		T(test_many_alive),
		T(test_at_start),
		T(test_retired),
#undef T
	};

	fixture_enter();
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
