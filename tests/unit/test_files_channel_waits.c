/* SPDX-License-Identifier: Apache-2.0 */
/* files/channel: credits, and requests that wait. */
#include "tests/unit/files_channel.h"

static void test_credits(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		guest_send(&f->guest, 1, FUSE_FSYNC, 10 + i);
	memory_tree_await(f->tree, &f->tree->in_gate, CHANNEL_WORKERS_MAX);
	memory_tree_open_gate(f->tree);
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		assert_int_equal(guest_expect(&f->guest, FILES_MESSAGE).out.error, 0);
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		guest_send(&f->guest, 1, FUSE_FSYNC, 10 + i);
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		assert_int_equal(guest_expect(&f->guest, FILES_MESSAGE).out.error, 0);
	f->tree->gate = false;
	for (unsigned int i = 0; i < FILES_CREDITS + 1; i++)
		guest_send(&f->guest, 1, FUSE_FSYNC, 10 + i);
	pthread_join(f->reader, NULL);
	assert_ended(f, "more than 64 messages at a time");
	memory_tree_open_gate(f->tree);
	channel_free(f->channel);
	f->channel = NULL;
}

/* A request for a lock waits for the releases before it, and nothing else does. */
static void test_lock_after_release(void **state)
{
	struct fixture *f = *state;

	guest_send(&f->guest, 1, FUSE_GETLK, 10);
	guest_expect_answer(&f->guest, 1, 10, 0);
	guest_send(&f->guest, 1, FUSE_RELEASE, 12);
	guest_send(&f->guest, 1, FUSE_RELEASE, 14);
	guest_send(&f->guest, 1, FUSE_GETLK, 16);
	guest_send(&f->guest, 1, FUSE_SETLK, 18);
	guest_send(&f->guest, 1, FUSE_ACCESS, 20);
	guest_expect_answer(&f->guest, 1, 20, 0);
	memory_tree_await(f->tree, &f->tree->in_gate, 2);
	guest_send(&f->guest, 2, FUSE_GETLK, 22);
	guest_expect_answer(&f->guest, 2, 22, -ENOTCONN);
	memory_tree_open_gate(f->tree);
	for (unsigned int i = 0; i < 4; i++) {
		struct guest_got got = guest_expect(&f->guest, FILES_MESSAGE);

		assert_int_equal(got.out.error, 0);
		assert_in_range(got.out.unique, 12, 18);
	}
	guest_send(&f->guest, 1, FUSE_GETLK, 24);
	guest_expect_answer(&f->guest, 1, 24, 0);
}

/* The end finds one that waits. */
static void test_end_before_turn(void **state)
{
	struct fixture *f = *state;

	guest_send(&f->guest, 1, FUSE_RELEASE, 12);
	guest_send(&f->guest, 1, FUSE_GETLK, 16);
	guest_send(&f->guest, 1, FUSE_ACCESS, 20);
	guest_expect_answer(&f->guest, 1, 20, 0);
	memory_tree_await(f->tree, &f->tree->in_gate, 1);
	channel_end(f->channel);
	memory_tree_open_gate(f->tree);
	finish(f);
}

/* More requests wait for a lock than there are workers and credits: others go on. */
static void test_waiters(void **state)
{
	struct fixture *f = *state;
	enum { N = FILES_CREDITS + 6 };

	for (unsigned int i = 0; i < N; i++)
		send_lock(f, 1000 + i);
	memory_tree_await(f->tree, &f->tree->waiting, N);
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		guest_send(&f->guest, 1, FUSE_ACCESS, 2 + i);
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		assert_in_range(guest_expect(&f->guest, FILES_MESSAGE).out.unique, 2,
			2 + FILES_CREDITS);
	guest_send(&f->guest, 1, FUSE_SETLK, 2);
	for (unsigned int i = 0; i < N + 1; i++)
		assert_int_equal(guest_expect(&f->guest, FILES_MESSAGE).out.error, 0);
	/* The answers gave no credit back: there are as many as ever. */
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		guest_send(&f->guest, 1, FUSE_ACCESS, 2 + i);
	for (unsigned int i = 0; i < FILES_CREDITS; i++)
		guest_expect(&f->guest, FILES_MESSAGE);
}

static void test_too_many_waiters(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < CHANNEL_WAITERS_MAX; i++)
		send_lock(f, 1000 + i);
	guest_send(&f->guest, 1, FUSE_SETLKW, 2);
	guest_expect_answer(&f->guest, 1, 2, -ENOLCK);
	guest_send(&f->guest, 1, FUSE_SETLK, 3);
	for (unsigned int i = 0; i < CHANNEL_WAITERS_MAX + 1; i++)
		assert_int_equal(guest_expect(&f->guest, FILES_MESSAGE).out.error, 0);
	f->tree->unlocked = false;
	send_lock(f, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CHANNEL(test_credits),
		WITH_CHANNEL(test_lock_after_release),
		WITH_CHANNEL(test_end_before_turn),
		WITH_CHANNEL(test_waiters),
		WITH_CHANNEL(test_too_many_waiters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
