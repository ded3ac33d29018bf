/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction: the holes that readers fill are punched, and nobody who has mapped the
 * memory sees it. */
#include "tests/unit/generation_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "base/thread.h"

#define PAGES     (MEMORY_BYTES / PAGE)
#define PUBLISHED (2 * PAGE) /* see fill() */
#define READERS   300

/* In the place of the C library's: everything is published at another time than now. */
time_t time(time_t *ret)
{
	(void)ret;
	return 1790000000;
}

static uint64_t resident(const char *id)
{
	struct err err = ERR_INIT;
	uint64_t bytes;

	if (generation_resident(ro_fd, id, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	return bytes;
}

static void load(struct generation *ret)
{
	char id[GENERATION_ID_SIZE];
	struct err err = ERR_INIT;

	publish(id);
	if (generation_load(ro_fd, id, ret, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(resident(id), PUBLISHED);
	assert_false(generation_has_grown(ro_fd, ret));
}

static void unload(struct generation *g)
{
	struct err err = ERR_INIT;

	assert_int_equal(generation_remove(rw_fd, g->id, &err), 0);
	generation_done(g);
}

static void begin(struct generation *g, int *ret_fd)
{
	struct err err = ERR_INIT;

	if (generation_compact_begin(rw_fd, g, ret_fd, &err) < 0)
		fail_msg("%s", err.text);
}

static void end(struct generation *g, int fd)
{
	struct err err = ERR_INIT;
	uint64_t bytes;

	if (generation_compact_end(rw_fd, g, fd, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(bytes >= PUBLISHED);
}

static void compact(struct generation *g, struct holes *holes)
{
	int fd;

	begin(g, &fd);
	assert_int_equal(generation_compact_punch(fd, holes), 0);
	end(g, fd);
}

/* The memory as a clone has it: of a granted descriptor, private and writable. */
static unsigned char *map(struct generation *g)
{
	struct err err = ERR_INIT;
	unsigned char *memory;
	int fd, state_fd;

	if (generation_grant(ro_fd, g, &fd, &state_fd, &err) < 0)
		fail_msg("%s", err.text);
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_true(memory != MAP_FAILED);
	close(fd);
	close(state_fd);
	return memory;
}

/* How many pages do not read as published. Touches all of them. */
static size_t count_changed(const unsigned char *memory)
{
	static const unsigned char zeros[PAGE];
	size_t changed = 0;

	for (size_t i = 0; i < PAGES; i++) {
		unsigned char page[PAGE];

		memcpy(page, memory + i * PAGE, PAGE);
		if (i == 1)
			changed += memcmp(page + 100, "one", 3) != 0;
		else if (i == 700)
			changed += page[PAGE - 1] != 'x';
		else
			changed += memcmp(page, zeros, PAGE) != 0;
	}
	return changed;
}

/* ---- holes ---- */

static void assert_holes(const struct holes *h)
{
	static const struct hole wanted[] = {
		{0, PAGE}, {2 * PAGE, 700 * PAGE}, {701 * PAGE, MEMORY_BYTES}};

	assert_int_equal(h->n, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < h->n; i++) {
		assert_int_equal(h->all[i].from, wanted[i].from);
		assert_int_equal(h->all[i].to, wanted[i].to);
	}
}

/* They are the same, whatever takes memory: nothing, some, all. */
static void test_holes(void **state)
{
	static const unsigned char zeros[PAGE];
	struct generation_build b;
	struct err err = ERR_INIT;
	struct holes holes;
	struct stat st;

	(void)state;
	assert_int_equal(generation_build_begin(rw_fd, MEMORY_BYTES, &b, &err), 0);
	fill(&b);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(holes_find(b.memory_fd, MEMORY_BYTES, &holes), 0);
		assert_holes(&holes);
		assert_int_equal(holes_punch(b.memory_fd, &holes), 0);
		holes_done(&holes);
		assert_int_equal(fstat(b.memory_fd, &st), 0);
		assert_int_equal(st.st_blocks * 512, PUBLISHED);
		for (size_t i = 2; i < 700; i++)
			assert_int_equal(
				pwrite(b.memory_fd, zeros, PAGE, (off_t)(i * PAGE)),
				PAGE);
	}
	generation_build_done(&b);
}

/* ---- who has mapped it ---- */

static void test_keeps_private_pages(void **state)
{
	struct holes holes = HOLES_INIT;
	unsigned char *one, *other;
	struct generation g;

	(void)state;
	load(&g);
	one = map(&g);
	other = map(&g);
	assert_int_equal(count_changed(one), 0);
	assert_int_equal(resident(g.id), MEMORY_BYTES);
	assert_true(generation_has_grown(ro_fd, &g));
	/* Copies: of a hole that was read before, of one that was not, and of data. */
	one[5 * PAGE] = 'a';
	other[6 * PAGE + 1] = 'b';
	other[700 * PAGE] = 'c';
	/* By content first, then by the list. */
	for (int round = 0; round < 2; round++) {
		compact(&g, &holes);
		assert_holes(&holes);
		assert_int_equal(resident(g.id), PUBLISHED);
		assert_false(generation_has_grown(ro_fd, &g));
		assert_int_equal(one[5 * PAGE], 'a');
		assert_int_equal(other[6 * PAGE + 1], 'b');
		assert_int_equal(other[700 * PAGE], 'c');
		assert_int_equal(other[701 * PAGE - 1], 'x');
		assert_int_equal(count_changed(one), 1);
		assert_int_equal(count_changed(other), 1);
		assert_int_equal(resident(g.id), MEMORY_BYTES);
	}
	munmap(one, MEMORY_BYTES);
	munmap(other, MEMORY_BYTES);
	holes_done(&holes);
	unload(&g);
}

struct clone {
	unsigned char *memory;
	size_t page; /* its own */
	atomic_bool *stop;
	size_t lost;
};

/* Writes to a hole, a new one each time, and reads everything, all the while. */
static void *clone_main(void *arg)
{
	struct clone *c = arg;
	uint64_t value = 0;

	while (!atomic_load(c->stop) || value == 0) {
		uint64_t *own = (void *)(c->memory + c->page * PAGE);

		c->lost += *own != value;
		*own = ++value;
		/* Its own page is the one that differs. */
		c->lost += count_changed(c->memory) != 1;
		/* Drops the copy: the next one is made of the file's page. */
		if (value % 4 == 0) {
			madvise(own, PAGE, MADV_DONTNEED);
			value = 0;
		}
	}
	return NULL;
}

static void test_while_it_is_used(void **state)
{
	struct clone clones[3];
	pthread_t threads[ARRAY_SIZE(clones)];
	struct holes holes = HOLES_INIT;
	atomic_bool stop = false;
	struct generation g;

	(void)state;
	load(&g);
	for (size_t i = 0; i < ARRAY_SIZE(clones); i++) {
		clones[i] =
			(struct clone){.memory = map(&g), .page = 10 + i, .stop = &stop};
		assert_int_equal(
			thread_start(clone_main, &clones[i], 0, false, &threads[i]), 0);
	}
	for (int i = 0; i < 100; i++)
		compact(&g, &holes);
	atomic_store(&stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(clones); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(clones[i].lost, 0);
		munmap(clones[i].memory, MEMORY_BYTES);
	}
	compact(&g, &holes);
	assert_int_equal(resident(g.id), PUBLISHED);
	holes_done(&holes);
	unload(&g);
}

/* A process that lives on with everything read and a page of its own. */
struct reader {
	pid_t pid;
	int to, from;
};

static void reader_main(unsigned char *memory, int in, int out)
{
	size_t page = 2 + (size_t)getpid() % 600;
	char byte;

	memory[page * PAGE] = 'r';
	do {
		byte = count_changed(memory) == 1 && memory[page * PAGE] == 'r' ? '1'
										: '0';
		if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1)
			_exit(1);
	} while (byte == '?');
	_exit(0);
}

static void reader_ok(const struct reader *r)
{
	char byte = 0;

	assert_int_equal(read(r->from, &byte, 1), 1);
	assert_int_equal(byte, '1');
}

static struct reader reader_start(struct generation *g)
{
	struct reader r;
	int to[2], from[2];

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	r.pid = fork();
	if (r.pid == 0)
		reader_main(map(g), to[0], from[1]);
	close(to[0]);
	close(from[1]);
	r.to = to[1];
	r.from = from[0];
	reader_ok(&r);
	return r;
}

static void test_many_readers(void **state)
{
	static struct reader readers[READERS];
	struct holes holes = HOLES_INIT;
	struct generation g;
	int status;

	(void)state;
	load(&g);
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = reader_start(&g);
		assert_true(generation_has_grown(ro_fd, &g));
		compact(&g, &holes);
		assert_int_equal(resident(g.id), PUBLISHED);
	}
	for (size_t i = 0; i < READERS; i++) {
		assert_int_equal(write(readers[i].to, "?", 1), 1);
		reader_ok(&readers[i]);
		assert_int_equal(write(readers[i].to, ".", 1), 1);
		close(readers[i].to);
		close(readers[i].from);
		assert_int_equal(waitpid(readers[i].pid, &status, 0), readers[i].pid);
		assert_int_equal(status, 0);
	}
	compact(&g, &holes);
	assert_int_equal(resident(g.id), PUBLISHED);
	holes_done(&holes);
	unload(&g);
}

/* ---- the generation stays what was published ---- */

/* Granted in the middle of it, when its time is not that of its publication. */
static void test_granted_meanwhile(void **state)
{
	struct generation g, again;
	struct holes holes = HOLES_INIT;
	struct err err = ERR_INIT;
	unsigned char *memory;
	int fd, memory_fd, state_fd;
	bool writable;

	(void)state;
	load(&g);
	memory = map(&g);
	assert_int_equal(count_changed(memory), 0);
	begin(&g, &fd);
	assert_int_equal(generation_compact_punch(fd, &holes), 0);
	assert_int_equal(generation_load(ro_fd, g.id, &again, &err), -EUCLEAN);
	assert_error(err, "created: the manifest says");
	assert_int_equal(generation_grant(ro_fd, &g, &memory_fd, &state_fd, &err), 0);
	writable = (fcntl(memory_fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	assert_false(writable);
	close(memory_fd);
	close(state_fd);
	end(&g, fd);
	assert_int_equal(faccessat(rw_fd, ".compact-", F_OK, 0), -1);
	assert_int_equal(generation_grant(ro_fd, &g, &memory_fd, &state_fd, &err), 0);
	close(memory_fd);
	close(state_fd);
	assert_int_equal(generation_load(ro_fd, g.id, &again, &err), 0);
	generation_done(&again);
	munmap(memory, MEMORY_BYTES);
	holes_done(&holes);
	unload(&g);
}

/* What is left of it after a start of templated: sound or not. */
static bool recover(const char *id)
{
	_cleanup_free_ char *note = xasprintf(".compact-%s", id);
	struct generation_found *found;
	struct err err = ERR_INIT;
	bool sound;
	size_t n;

	assert_int_equal(generation_recover(rw_fd, &found, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_string_equal(found->g.id, id);
	sound = found->sound;
	if (!sound)
		assert_error(found->why, "created: the manifest says");
	assert_int_equal(faccessat(rw_fd, note, F_OK, AT_SYMLINK_NOFOLLOW), -1);
	generation_done(&found->g);
	free(found);
	return sound;
}

/* As the next templated has it. */
static void load_again(struct generation *g)
{
	char id[GENERATION_ID_SIZE];
	struct err err = ERR_INIT;

	memcpy(id, g->id, sizeof(id));
	generation_done(g);
	if (generation_load(ro_fd, id, g, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_killed(void **state)
{
	struct holes holes = HOLES_INIT;
	unsigned char *memory;
	struct generation g;
	int fd;

	(void)state;
	load(&g);
	memory = map(&g);
	/* Before the first hole, and behind the last one. */
	begin(&g, &fd);
	close(fd);
	assert_true(recover(g.id));
	load_again(&g);
	assert_int_equal(count_changed(memory), 0);
	begin(&g, &fd);
	assert_int_equal(generation_compact_punch(fd, &holes), 0);
	close(fd);
	assert_true(recover(g.id));
	assert_int_equal(resident(g.id), PUBLISHED);
	assert_int_equal(count_changed(memory), 0);
	munmap(memory, MEMORY_BYTES);
	holes_done(&holes);
	unload(&g);
}

/* It is the note that makes it sound: one of another generation does not. */
static void test_notes(void **state)
{
	struct holes holes = HOLES_INIT;
	_cleanup_free_ char *note = NULL;
	struct generation g;
	int fd;

	(void)state;
	load(&g);
	note = xasprintf(".compact-%s", g.id);
	begin(&g, &fd);
	munmap(map(&g), MEMORY_BYTES);
	assert_int_equal(pwrite(fd, "", 1, 0), 1);
	assert_int_equal(generation_compact_punch(fd, &holes), 0);
	close(fd);
	holes_done(&holes);
	assert_int_equal(unlinkat(rw_fd, note, 0), 0);
	assert_int_equal(symlinkat("1", rw_fd, ".compact-00000099-00000000"), 0);
	assert_int_equal(symlinkat("1", rw_fd, ".compact-"), 0);
	assert_false(recover(g.id));
	assert_int_equal(
		faccessat(rw_fd, ".compact-00000099-00000000", F_OK, AT_SYMLINK_NOFOLLOW),
		-1);
	assert_int_equal(faccessat(rw_fd, ".compact-", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	generation_done(&g);
}

/* Somebody wrote to it: nothing is punched, and no time is set right. */
static void test_changed(void **state)
{
	_cleanup_free_ char *path = NULL;
	struct generation g;
	struct err err = ERR_INIT;
	int fd;

	(void)state;
	load(&g);
	path = xasprintf(PATH "/%s/" GENERATION_MEMORY, g.id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "", 1, 0), 1);
	close(fd);
	assert_true(generation_has_grown(ro_fd, &g));
	assert_int_equal(generation_compact_begin(rw_fd, &g, &fd, &err), -EUCLEAN);
	assert_error(err, g.id);
	assert_error(err, "memory: has been changed");
	assert_false(g.compacting);
	assert_int_equal(resident(g.id), PUBLISHED + PAGE);
	/* The mount that is granted by is of no use for it. */
	assert_int_equal(generation_compact_begin(ro_fd, &g, &fd, &err), -EROFS);
	unload(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_holes),
		T(test_keeps_private_pages),
		T(test_while_it_is_used),
		T(test_many_readers),
		T(test_granted_meanwhile),
		T(test_killed),
		T(test_notes),
		T(test_changed),
#undef T
	};

	fixture_enter();
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
