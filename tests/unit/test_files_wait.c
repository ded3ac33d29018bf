/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait for a lock: many at once, interrupted early,
 * late and all together. */
#include "tests/unit/files_peer.h"

#include <pthread.h>
#include <sys/file.h>

#include "base/thread.h"

#define MANY 12

/* One that waits, in a thread of its own. */
struct waiter {
	pthread_t thread;
	struct talk *talk;
	uint64_t nodeid, unique;
	struct fuse_lk_in lk;
	int result;
};

/* Who has said that it waits. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static unsigned int n_waiting;

static void says_waits(void *user)
{
	(void)user;
	pthread_mutex_lock(&lock);
	n_waiting++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void await(unsigned int n)
{
	pthread_mutex_lock(&lock);
	while (n_waiting < n)
		assert_int_equal(cond_wait(&changed, &lock, soon()), 0);
	n_waiting = 0;
	pthread_mutex_unlock(&lock);
}

static void *waiter_run(void *arg)
{
	struct waiter *waiter = arg;

	waiter->result = talk_send(waiter->talk);
	return NULL;
}

static void waiter_prepare(struct waiter *waiter, struct world *w)
{
	waiter->talk = talk_new(w->tree);
	waiter->talk->waits = says_waits;
	waiter->unique = talk_begin(waiter->talk, FUSE_SETLKW, waiter->nodeid);
	talk_add(waiter->talk, &waiter->lk, sizeof(waiter->lk));
}

static void waiter_go(struct waiter *waiter)
{
	assert_int_equal(
		thread_start(waiter_run, waiter, 256 << 10, false, &waiter->thread), 0);
}

static int waiter_end(struct waiter *waiter)
{
	assert_int_equal(pthread_join(waiter->thread, NULL), 0);
	talk_free(waiter->talk);
	return waiter->result;
}

static void interrupt(struct world *w, uint64_t unique)
{
	struct fuse_interrupt_in in = {.unique = unique};

	talk_begin(w->talk, FUSE_INTERRUPT, 0);
	talk_add(w->talk, &in, sizeof(in));
	talk_tell(w->talk);
}

/* ---- a file that the host has locked ---- */

static int host_fd;
static struct waiter waiters[MANY];

static int lock_all(int fd, short type)
{
	struct flock all = {.l_type = type};

	return fcntl(fd, F_OFD_SETLK, &all) < 0 ? -errno : 0;
}

static int setup(void **state)
{
	struct tree_options options = {.inodes_max = 64, .handles_max = 64};
	struct world *w = world_new(&options);
	_cleanup_free_ char *path = test_file(w->folder, "file", "text");
	uint64_t nodeid = nodeid_of(w, "file"), fh = 0;

	host_fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(lock_all(host_fd, F_WRLCK), 0);
	assert_int_equal(flock(host_fd, LOCK_EX), 0);
	assert_int_equal(talk_open(w->talk, FUSE_OPEN, nodeid, O_RDWR, &fh), 0);
	for (uint64_t i = 0; i < MANY; i++) {
		waiters[i] = (struct waiter){.nodeid = nodeid,
			.lk = {.fh = fh,
				.owner = 100 + i,
				.lk = {.start = i, .end = i, .type = F_WRLCK}}};
		waiter_prepare(&waiters[i], w);
	}
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	close(host_fd);
	return world_teardown(state);
}

/* Those that a test did not start. */
static void drop_from(int first)
{
	for (int i = first; i < MANY; i++)
		talk_free(waiters[i].talk);
}

static void test_many_get_it(void **state)
{
	(void)state;
	for (int i = 0; i < MANY; i++)
		waiter_go(&waiters[i]);
	await(MANY);
	assert_int_equal(lock_all(host_fd, F_UNLCK), 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(waiter_end(&waiters[i]), 0);
	/* They all have it. */
	assert_int_equal(lock_all(host_fd, F_WRLCK), -EAGAIN);
}

static void test_one_is_interrupted(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3; i++)
		waiter_go(&waiters[i]);
	await(3);
	interrupt(w, waiters[1].unique);
	assert_int_equal(waiter_end(&waiters[1]), -EINTR);
	assert_int_equal(lock_all(host_fd, F_UNLCK), 0);
	assert_int_equal(waiter_end(&waiters[0]), 0);
	assert_int_equal(waiter_end(&waiters[2]), 0);
	drop_from(3);
}

/* The interrupt comes first. */
static void test_early(void **state)
{
	struct world *w = *state;

	interrupt(w, waiters[0].unique);
	waiter_go(&waiters[0]);
	assert_int_equal(waiter_end(&waiters[0]), -EINTR);
	drop_from(1);
}

/* It comes when there is nothing to interrupt any more: the next one is not meant. */
static void test_late(void **state)
{
	struct world *w = *state;

	assert_int_equal(lock_all(host_fd, F_UNLCK), 0);
	waiter_go(&waiters[0]);
	assert_int_equal(waiter_end(&waiters[0]), 0);
	interrupt(w, waiters[0].unique);
	waiter_go(&waiters[1]);
	assert_int_equal(waiter_end(&waiters[1]), 0);
	drop_from(2);
}

static void test_flock_is_interrupted(void **state)
{
	struct world *w = *state;

	waiters[0].lk.lk_flags = FUSE_LK_FLOCK;
	talk_free(waiters[0].talk);
	waiter_prepare(&waiters[0], w);
	waiter_go(&waiters[0]);
	await(1);
	interrupt(w, waiters[0].unique);
	assert_int_equal(waiter_end(&waiters[0]), -EINTR);
	drop_from(1);
}

static void test_all_end(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < MANY - 1; i++)
		waiter_go(&waiters[i]);
	await(MANY - 1);
	tree_interrupt_all(w->tree);
	for (int i = 0; i < MANY - 1; i++)
		assert_int_equal(waiter_end(&waiters[i]), -EINTR);
	/* And nobody begins to wait. */
	waiter_go(&waiters[MANY - 1]);
	assert_int_equal(waiter_end(&waiters[MANY - 1]), -EINTR);
	tree_reset(w->tree);
}

/* Interrupted at all moments: from before it waits until it has the lock. Whatever wins,
 * it ends, and what it says is so. */
static void test_race(void **state)
{
	struct world *w = *state;

	drop_from(1);
	for (int i = 0; i < 300; i++) {
		int r;

		waiter_go(&waiters[0]);
		if (i % 3 > 0)
			await(1);
		if (i % 3 == 2)
			assert_int_equal(lock_all(host_fd, F_UNLCK), 0);
		interrupt(w, waiters[0].unique);
		r = waiter_end(&waiters[0]);
		if (i % 3 < 2)
			assert_int_equal(r, -EINTR);
		/* At the next lock of the host's it is seen who has it. */
		assert_int_equal(lock_all(host_fd, F_WRLCK), r == 0 ? -EAGAIN : 0);
		waiters[0].lk.lk.type = F_UNLCK;
		assert_int_equal(
			talk_lock(w->talk, FUSE_SETLK, waiters[0].nodeid, waiters[0].lk),
			0);
		waiters[0].lk.lk.type = F_WRLCK;
		assert_int_equal(lock_all(host_fd, F_WRLCK), 0);
		pthread_mutex_lock(&lock);
		n_waiting = 0;
		pthread_mutex_unlock(&lock);
		waiter_prepare(&waiters[0], w);
	}
	drop_from(MANY);
	talk_free(waiters[0].talk);
}

/* Everything that takes the table's lock, from many threads. */
static void *busy(void *arg)
{
	struct world *w = arg;
	struct talk *t = talk_new(w->tree);
	struct fuse_entry_out entry;

	for (int i = 0; i < 200; i++) {
		uint64_t fh = 0;

		assert_int_equal(talk_look_up(t, FUSE_ROOT_ID, "file", &entry), 0);
		if (talk_open(t, FUSE_OPEN, entry.nodeid, O_RDWR, &fh) == 0)
			talk_release(t, FUSE_RELEASE, entry.nodeid, fh);
		talk_forget(t, entry.nodeid, 1);
	}
	talk_free(t);
	return NULL;
}

static void test_busy(void **state)
{
	struct world *w = *state;
	pthread_t threads[4];

	drop_from(0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(thread_start(busy, w, 256 << 10, false, &threads[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_get_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_is_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flock_is_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_race, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
	};

	cond_init(&changed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
