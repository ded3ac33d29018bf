/* SPDX-License-Identifier: Apache-2.0 */
/* guest/oom, guest/growth: kills are told once each, whoever asks and whenever; and that
 * the containers' memory comes to its end. */
#include "tests/unit/guest_agent.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/mount.h>

#include "base/io.h"
#include "guest/cgroup.h"
#include "guest/growth.h"
#include "guest/oom.h"

static struct guest guest;

static void set_kills(const char *id, unsigned int kills)
{
	_cleanup_free_ char *path =
		xasprintf("/sys/fs/cgroup/stencil/%s/memory.events", id);
	_cleanup_free_ char *text = xasprintf(
		"low 0\nhigh 0\nmax 12\noom 5\noom_kill %u\noom_group_kill 0\n", kills);

	world_file(path, text);
}

/* A started container whose group exists. */
static struct container *add_container(const char *id)
{
	struct container *c = guest_add_container(&guest, id);

	set_kills(id, 0);
	oom_watch(&guest.sandbox, c);
	return c;
}

static void remove_container(struct container *c)
{
	_cleanup_free_ char *path = xasprintf("/sys/fs/cgroup/stencil/%s", c->id);

	oom_unwatch(&guest.sandbox, c);
	sandbox_drop(&guest.sandbox, c);
	assert_int_equal(remove_tree(AT_FDCWD, path, NULL), 0);
}

/* The container that is told, the caller's; NULL: none until then. */
static char *next_kill(int64_t deadline)
{
	Grpc__GetOOMEventRequest req = GRPC__GET_OOMEVENT_REQUEST__INIT;
	Grpc__OOMEvent *out = NULL;
	struct err err = ERR_INIT;
	char *id = NULL;
	int r = agent_get_oom_event(guest.agent, &req, &out, deadline, &err);

	if (r == 0)
		id = xstrdup(out->container_id);
	else
		assert_int_equal(r, -ETIMEDOUT);
	if (out)
		grpc__oomevent__free_unpacked(out, NULL);
	return id;
}

static void assert_kill(const char *id)
{
	_cleanup_free_ char *found = next_kill(soon());

	assert_non_null(found);
	assert_string_equal(found, id);
}

/* Nothing that a removal would keep for a later request. */
static void assert_no_kill(void)
{
	for (struct container *c = guest.sandbox.containers; c; c = c->next) {
		uint64_t told = c->oom_kills;

		oom_unwatch(&guest.sandbox, c);
		assert_int_equal(c->oom_kills, told);
	}
}

static int begin(void **state)
{
	(void)state;
	guest_start(&guest);
	return 0;
}

static int end(void **state)
{
	(void)state;
	while (guest.sandbox.containers)
		remove_container(guest.sandbox.containers);
	guest_stop(&guest);
	return 0;
}

static void test_told_once(void **state)
{
	(void)state;
	add_container("c1");
	add_container("c2");
	assert_no_kill();
	set_kills("c1", 1);
	assert_kill("c1");
	/* Two at once are one event of the container; other lines are none. */
	set_kills("c2", 2);
	assert_kill("c2");
	set_kills("c2", 2);
	assert_no_kill();
	set_kills("c2", 3);
	set_kills("c1", 2);
	assert_kill("c2");
	assert_kill("c1");
	assert_no_kill();
}

static void *wait_for_kill(void *arg)
{
	char *id = next_kill(soon());

	if (write(*(int *)arg, id ? id : "no", 2) != 2)
		abort();
	free(id);
	return NULL;
}

/* Who asked before it happens is woken, one for each event. */
static void test_woken(void **state)
{
	pthread_t threads[2];
	char id[3] = "";
	int told[2];

	(void)state;
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	add_container("c1");
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			thread_start(wait_for_kill, &told[1], 0, false, &threads[i]), 0);
	for (unsigned int i = 1; i <= 2; i++) {
		set_kills("c1", i);
		assert_int_equal(read(told[0], id, 2), 2);
		assert_string_equal(id, "c1");
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	close(told[0]);
	close(told[1]);
}

/* It was killed for memory, ended and was removed before anybody asked. */
static void test_removed(void **state)
{
	(void)state;
	remove_container(add_container("quiet"));
	for (int i = 0; i < 2; i++) {
		struct container *c = add_container(i ? "b" : "a");

		set_kills(c->id, 1);
		remove_container(c);
	}
	assert_kill("b");
	assert_kill("a");
}

/* Of many that nobody asks about, the last are kept. */
static void test_removed_many(void **state)
{
	bool told[20] = {false};

	(void)state;
	for (int i = 0; i < 20; i++) {
		char id[8];
		struct container *c;

		snprintf(id, sizeof(id), "c%d", i);
		c = add_container(id);
		set_kills(id, 1);
		remove_container(c);
	}
	for (int i = 0; i < 16; i++) {
		_cleanup_free_ char *id = next_kill(soon());
		long n;

		assert_non_null(id);
		n = strtol(id + 1, NULL, 10);
		assert_in_range(n, 4, 19);
		assert_false(told[n]);
		told[n] = true;
	}
	assert_null(next_kill(deadline_after_ms(1)));
}

/* ---- growth ---- */

/* Their group: bytes in all, of these page cache, and how often they came to the mark. */
static void set_use(uint64_t all, uint64_t cache, unsigned int hits)
{
	_cleanup_free_ char *current = xasprintf("%" PRIu64 "\n", all);
	_cleanup_free_ char *stat = xasprintf("anon %" PRIu64 "\ninactive_file %" PRIu64
					      "\nactive_file %" PRIu64 "\n",
		all - cache, cache / 2, cache - cache / 2);
	_cleanup_free_ char *events = xasprintf("low 0\nhigh %u\nmax 0\n", hits);

	world_file("/sys/fs/cgroup/stencil/memory.current", current);
	world_file("/sys/fs/cgroup/stencil/memory.stat", stat);
	world_file("/sys/fs/cgroup/stencil/memory.events", events);
}

static uint64_t number(const char *path)
{
	uint64_t value;

	assert_int_equal(cgroup_read_number(AT_FDCWD, path, NULL, &value), 0);
	return value;
}

#define MARK       "/sys/fs/cgroup/stencil/memory.high"
#define OVERCOMMIT "/proc/sys/vm/overcommit_memory"

/* 0: more memory is wanted; -ETIMEDOUT: it is not, until then. */
static int ask_growth(bool may_grow, int64_t deadline)
{
	Grpc__GetOOMEventRequest req = GRPC__GET_OOMEVENT_REQUEST__INIT;
	Grpc__OOMEvent *out = NULL;
	int r;

	req.memory_may_grow = may_grow;
	r = agent_get_oom_event(guest.agent, &req, &out, deadline, NULL);
	if (r < 0)
		return r;
	assert_true(out->memory_wanted);
	assert_string_equal(out->container_id, "");
	grpc__oomevent__free_unpacked(out, NULL);
	return 0;
}

static void *ask_until_wanted(void *arg)
{
	*(int *)arg = ask_growth(true, soon());
	return NULL;
}

/* MiB. */
static void set_memory(unsigned int total, unsigned int available)
{
	_cleanup_free_ char *text = xasprintf(
		"MemTotal: %u kB\nMemAvailable: %u kB\n", total << 10, available << 10);

	world_file("/sys/meminfo", text);
}

static void start_with_use(void)
{
	set_memory(256, 160);
	set_use(64 * MiB, 64 * MiB, 7);
	world_file(MARK, "");
	world_file(OVERCOMMIT, "0\n");
}

static void test_growth_needs(void **state)
{
	struct growth g;

	(void)state;
	start_with_use();
	growth_set_mark(&g, guest.sandbox.oom_fd, true);
	assert_int_equal(g.mark, 128 * MiB);
	assert_int_equal(number(MARK), g.mark);
	assert_int_equal(number(OVERCOMMIT), 1);
	/* What was before is no hit, and one is seen once. */
	assert_int_equal(growth_look(&g), GROWTH_NO_HIT);
	set_memory(256, 96);
	set_use(128 * MiB, 64 * MiB, 8);
	assert_int_equal(growth_look(&g), GROWTH_CACHE);
	assert_int_equal(growth_look(&g), GROWTH_NO_HIT);
	set_memory(256, 40);
	set_use(128 * MiB, 8 * MiB, 9);
	assert_int_equal(growth_look(&g), GROWTH_MEMORY);
	/* It was plugged for somebody else meanwhile. */
	set_memory(512, 296);
	set_use(128 * MiB, 8 * MiB, 10);
	assert_int_equal(growth_look(&g), GROWTH_MOVED);
	assert_int_equal(number(MARK), 352 * MiB);
	/* Where no more is to come they have all that there is. (A file here keeps what
	 * it isn't overwritten with.) */
	world_file(MARK, "");
	growth_set_mark(&g, guest.sandbox.oom_fd, false);
	assert_true(number(MARK) == UINT64_MAX);
	set_use(64 * MiB, 0, 11);
	assert_int_equal(growth_look(&g), GROWTH_NO_HIT);
}

/* Who keeps to a limit is never slowed down: the memory for it is there. */
static void test_growth_limits(void **state)
{
	struct growth g;

	(void)state;
	start_with_use();
	world_file("/sys/fs/cgroup/stencil/a/memory.max", "104857600\n");
	world_file("/sys/fs/cgroup/stencil/b/memory.max", "max\n");
	world_file("/sys/fs/cgroup/stencil/c/memory.max", "52428800\n");
	growth_set_mark(&g, guest.sandbox.oom_fd, true);
	assert_int_equal(number(MARK), 150 * MiB);
}

static void test_growth_asked(void **state)
{
	int answer = -1, watch = inotify_init1(IN_CLOEXEC);
	struct inotify_event event;
	pthread_t thread;

	(void)state;
	start_with_use();
	assert_true(inotify_add_watch(watch, MARK, IN_CLOSE_WRITE) >= 0);
	assert_int_equal(thread_start(ask_until_wanted, &answer, 0, false, &thread), 0);
	assert_int_equal(wait_fd(watch, POLLIN, soon()), 0);
	assert_int_equal(read(watch, &event, sizeof(event)), sizeof(event));
	set_memory(256, 32);
	set_use(number(MARK), 0, 8);
	pthread_join(thread, NULL);
	assert_int_equal(answer, 0);
	close(watch);
}

/* A kernel without the memory controller, or a file that says something else. */
static void test_no_events(void **state)
{
	struct container *c = guest_add_container(&guest, "c1");

	(void)state;
	assert_int_equal(mkdir_parents("/sys/fs/cgroup/stencil/c1", 0755, NULL), 0);
	oom_watch(&guest.sandbox, c);
	oom_unwatch(&guest.sandbox, c);
	world_file("/sys/fs/cgroup/stencil/c1/memory.events", "oom_kill many\n");
	oom_watch(&guest.sandbox, c);
	assert_no_kill();
	assert_null(next_kill(deadline_after_ms(1)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_told_once),
		TEST(test_woken),
		TEST(test_removed),
		TEST(test_removed_many),
		TEST(test_no_events),
		TEST(test_growth_needs),
		TEST(test_growth_limits),
		TEST(test_growth_asked),
	};

	world_enter(0);
	world_tmpfs("/sys");
	world_tmpfs("/proc/sys/vm");
	world_file("/sys/meminfo", "");
	assert_int_equal(mount("/sys/meminfo", "/proc/meminfo", NULL, MS_BIND, NULL), 0);
	return cmocka_run_group_tests_name("guest/oom", tests, NULL, NULL);
}
