/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real template stays compact under those who read all of it: real clones, whose guests
 * go on, and 300 mappings that live side by side.
 */
#include "tests/integration/templated_fixture.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "mm/generation.h"

#define CLONES  3
#define READERS 300
#define BATCH   30
#define PAGE    4096

static size_t memory_bytes;

/* ---- what templated tells ---- */

static uint64_t number_of(const char *key)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *g = find_generation("current", &reply);
	struct err err = ERR_INIT;
	uint64_t value;

	assert_non_null(g);
	if (json_get_u64(g, key, &value, &err) < 0)
		fail_msg("%s", err.text);
	return value;
}

/* Within what a running guest touches meanwhile. */
static bool is_compact(void)
{
	uint64_t published = number_of("published_bytes");

	return number_of("resident_bytes") <= published + published / 10;
}

/* One lease more, and one less: then templated looks, and punches in its own time. */
static void lease_and_wait(void)
{
	struct lease lease;

	acquire_template(&lease);
	lease_release(&lease);
	while (!is_compact())
		;
}

/* ---- real clones ---- */

struct clone {
	struct lease lease;
	struct vm *vm;
	struct proc_id qemu;
	uintptr_t memory; /* where the QEMU has it */
};

/* The QEMU's mapping of the template's memory. */
static uintptr_t find_memory(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/maps", (int)pid), *line = NULL;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	uintptr_t from = 0, to = 0;
	size_t size = 0;

	assert_non_null(f);
	while (getline(&line, &size, f) > 0)
		if (strstr(line, "/" GENERATION_MEMORY "\n") &&
			sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) == 2)
			break;
	assert_int_equal(to - from, memory_bytes);
	return from;
}

static void clone_start(struct clone *c)
{
	acquire_template(&c->lease);
	c->vm = clone_of(&c->lease);
	assert_int_equal(proc_id_of(vm_pid(c->vm), &c->qemu), 0);
	c->memory = find_memory(c->qemu.pid);
}

static void clone_end(struct clone *c)
{
	vm_free(c->vm);
	lease_release(&c->lease);
}

/* Its QEMU's pages, all faulted in as QEMU's own reads would; the caller's. */
static unsigned char *clone_read(const struct clone *c)
{
	unsigned char *copy = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec here = {copy, memory_bytes},
		     there = {(void *)c->memory, memory_bytes};

	assert_true(copy != MAP_FAILED);
	assert_int_equal(
		process_vm_readv(c->qemu.pid, &here, 1, &there, 1, 0), memory_bytes);
	return copy;
}

static void signal_clone(const struct clone *c, int signal)
{
	assert_int_equal(kill(c->qemu.pid, signal), 0);
}

/* Stopped, so that it reads the same before and after; then it answers again. */
static void test_clones(void **state)
{
	struct clone clones[CLONES] = {0};
	unsigned char *before[CLONES];
	struct err err = ERR_INIT;

	(void)state;
	memory_bytes = number_of("memory_bytes");
	for (int i = 0; i < CLONES; i++)
		clone_start(&clones[i]);
	for (int i = 0; i < CLONES; i++) {
		signal_clone(&clones[i], SIGSTOP);
		before[i] = clone_read(&clones[i]);
	}
	assert_true(number_of("resident_bytes") > memory_bytes / 10 * 9);
	lease_and_wait();
	for (int i = 0; i < CLONES; i++) {
		unsigned char *after = clone_read(&clones[i]);

		assert_memory_equal(before[i], after, memory_bytes);
		munmap(before[i], memory_bytes);
		munmap(after, memory_bytes);
	}
	lease_and_wait();
	for (int i = 0; i < CLONES; i++) {
		signal_clone(&clones[i], SIGCONT);
		if (vm_make_unique(clones[i].vm, "pod", &err) < 0 ||
			agent_check(vm_agent(clones[i].vm), soon(), &err) < 0)
			fail_msg("%s", err.text);
		clone_end(&clones[i]);
	}
	while (leases_of("current") > 0 || !is_compact())
		;
}

/* ---- many ---- */

static struct reader {
	struct lease lease;
	unsigned char *memory;
} readers[READERS];

/* Reads a word of each page: the sum. */
static uint64_t sum_of(const unsigned char *memory)
{
	uint64_t sum = 0, word;

	for (size_t at = 0; at < memory_bytes; at += PAGE) {
		memcpy(&word, memory + at + 512, sizeof(word));
		sum = sum * 31 + word;
	}
	return sum;
}

static void reader_start(struct reader *r)
{
	acquire_template(&r->lease);
	r->memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		r->lease.memory_fd, 0);
	assert_true(r->memory != MAP_FAILED);
}

/* A copy of one page, be it a hole or not; all the others are read. */
static void reader_use(struct reader *r, uint64_t sum)
{
	r->memory[(size_t)(r - readers) * PAGE] = 'r';
	assert_int_equal(sum_of(r->memory), sum);
}

/* In batches: each finds all who came before alive, with all of it read. */
static void test_readers(void **state)
{
	uint64_t sum;

	(void)state;
	for (int i = 0; i < READERS; i += BATCH) {
		for (int k = i; k < i + BATCH; k++)
			reader_start(&readers[k]);
		sum = sum_of(readers[i].memory);
		for (int k = i; k < i + BATCH; k++)
			reader_use(&readers[k], sum);
	}
	assert_false(is_compact());
	lease_and_wait();
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(readers[i].memory[(size_t)i * PAGE], 'r');
		assert_int_equal(sum_of(readers[i].memory), sum);
	}
	for (int i = 0; i < READERS; i++) {
		munmap(readers[i].memory, memory_bytes);
		lease_release(&readers[i].lease);
	}
	while (leases_of("current") > 0 || !is_compact())
		;
}

/* The next templated verifies it, and finds what was filled without one. */
static void test_restart(void **state)
{
	_cleanup_free_ char *id = current_id(), *again = NULL;
	struct lease lease;
	unsigned char *memory;

	(void)state;
	acquire_template(&lease);
	memory = mmap(NULL, memory_bytes, PROT_READ, MAP_PRIVATE, lease.memory_fd, 0);
	assert_true(memory != MAP_FAILED);
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	sum_of(memory);
	start_daemon();
	again = current_id();
	assert_string_equal(again, id);
	while (!is_compact())
		;
	munmap(memory, memory_bytes);
	lease_release(&lease);
	ctl("status", 0, " when published");
	stop_daemon(SIGTERM, 0);
}

static int begin(void **state)
{
	int r = enter(state);

	start_daemon();
	ctl("init", 0, "generation 0");
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clones),
		cmocka_unit_test(test_readers),
		cmocka_unit_test(test_restart),
	};

	return cmocka_run_group_tests(tests, begin, leave);
}
