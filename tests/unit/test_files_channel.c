/* SPDX-License-Identifier: Apache-2.0 */
/* files/channel: frames, slots, credits, waiters, ends. */
#include "tests/unit/files_channel_fixture.h"

/* ---- messages ---- */

static void test_inline(void **state)
{
	struct fixture *f = *state;
	struct guest_got got;

	guest_send(&f->guest, 1, FUSE_ACCESS, 7);
	got = guest_expect_answer(&f->guest, 1, 7, 0);
	assert_int_equal(got.frame.length, sizeof(struct fuse_out_header));
	assert_int_equal(got.frame.slot, FILES_NO_SLOT);
	assert_int_equal(got.frame.done, FILES_NO_SLOT);
	/* The guest closes it: no error. */
	shutdown(f->guest.fd, SHUT_WR);
	finish(f);
	assert_int_equal(f->result, 0);
}

static void test_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	struct guest_message m = guest_message(FUSE_ACCESS, 5, NULL, 0);
	struct files_frame frame = {.length = m.in.len,
		.mount = 1,
		.kind = FILES_MESSAGE,
		.slot = FILES_NO_SLOT,
		.done = FILES_NO_SLOT};
	uint8_t bytes[sizeof(frame) + sizeof(m.in)];

	memcpy(bytes, &frame, sizeof(frame));
	memcpy(bytes + sizeof(frame), &m.in, sizeof(m.in));
	for (unsigned int n = 0; n < 3; n++) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			assert_int_equal(write(f->guest.fd, bytes + i, 1), 1);
		guest_expect_answer(&f->guest, 1, 5, 0);
	}
}

static void check_pattern(const uint8_t *data, uint64_t offset, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != (uint8_t)((offset + i) * 7))
			fail_msg("byte %zu of a read is wrong", i);
}

static void test_read(void **state)
{
	struct fixture *f = *state;
	struct guest_got got;

	guest_send_read(&f->guest, 1, 2, 4096, 1000);
	got = guest_expect_answer(&f->guest, 1, 2, 0);
	assert_int_equal(got.frame.slot, FILES_NO_SLOT);
	check_pattern(got.data + sizeof(got.out), 4096, 1000);
	guest_send_read(&f->guest, 1, 3, 8192, FILES_DATA_BYTES);
	got = guest_expect_answer(&f->guest, 1, 3, 0);
	assert_int_not_equal(got.frame.slot, FILES_NO_SLOT);
	assert_int_equal(got.frame.length, sizeof(got.out) + FILES_DATA_BYTES);
	check_pattern(guest_slot(&f->guest, got.frame.slot) + sizeof(got.out), 8192,
		FILES_DATA_BYTES);
	/* Behind the file's end: a slot was had and is not needed. */
	for (uint64_t i = 0; i < 2 * SERVER_SLOTS; i++) {
		guest_send_read(&f->guest, 1, 10 + i, MiB, FILES_DATA_BYTES);
		got = guest_expect_answer(&f->guest, 1, 10 + i, 0);
		assert_int_equal(got.frame.slot, FILES_NO_SLOT);
	}
}

/* All of the server's slots are with the guest: the next answer waits for one. */
static void test_slots_run_out(void **state)
{
	struct fixture *f = *state;
	uint8_t slots[SERVER_SLOTS];
	bool seen[FILES_SLOTS] = {false};
	struct guest_message m = guest_message(FUSE_ACCESS, 200, NULL, 0);
	struct guest_got got;

	for (unsigned int i = 0; i < SERVER_SLOTS; i++) {
		guest_send_read(&f->guest, 1, 100 + i, 0, FILES_DATA_BYTES);
		got = guest_expect_answer(&f->guest, 1, 100 + i, 0);
		slots[i] = got.frame.slot;
		assert_false(seen[slots[i]]);
		seen[slots[i]] = true;
	}
	guest_send_read(&f->guest, 1, 150, 0, FILES_DATA_BYTES);
	guest_send(&f->guest, 1, FUSE_ACCESS, 151);
	guest_expect_answer(&f->guest, 1, 151, 0);
	/* Given back with another message. */
	guest_send_message(&f->guest, 1, &m, slots[3]);
	for (unsigned int i = 0; i < 2; i++) {
		got = guest_expect(&f->guest, FILES_MESSAGE);
		if (got.out.unique == 150)
			assert_int_equal(got.frame.slot, slots[3]);
		else
			assert_int_equal(got.out.unique, 200);
	}
	/* And with a frame of its own. */
	guest_send_note(&f->guest, 0, FILES_DONE, slots[5]);
	guest_send_read(&f->guest, 1, 152, 0, FILES_DATA_BYTES);
	got = guest_expect_answer(&f->guest, 1, 152, 0);
	assert_int_equal(got.frame.slot, slots[5]);
}

/* What is longer than a frame takes, and shorter than the buffer that the tree gets. */
static void test_between_inline_and_slot(void **state)
{
	struct fixture *f = *state;
	struct guest_got got;

	guest_send(&f->guest, 1, FUSE_READLINK, 3);
	got = guest_expect_answer(&f->guest, 1, 3, 0);
	assert_int_not_equal(got.frame.slot, FILES_NO_SLOT);
	assert_int_equal(got.frame.length, 4096);
}

static void test_write(void **state)
{
	struct fixture *f = *state;
	struct fuse_write_in write = {.size = 4};
	struct guest_message m = guest_message(FUSE_WRITE, 4, &write, sizeof(write));
	uint8_t *slot = guest_slot(&f->guest, 2);
	struct guest_got got;

	assert_int_equal(m.in.len, TREE_WRITE_HEADER);
	memcpy(m.body + sizeof(write), "abcd", 4);
	m.in.len += 4;
	guest_send_message(&f->guest, 1, &m, FILES_NO_SLOT);
	guest_expect_answer(&f->guest, 1, 4, 0);
	assert_false(f->tree->written_in_window);
	assert_int_equal(f->tree->written_len, 4);
	assert_memory_equal(f->tree->written, "abcd", 4);

	for (unsigned int round = 0; round < 3; round++) {
		m.in.len = TREE_WRITE_HEADER + FILES_DATA_BYTES;
		memcpy(slot, &m, TREE_WRITE_HEADER);
		memset(slot + TREE_WRITE_HEADER, 'x' + (int)round, FILES_DATA_BYTES);
		guest_send_slot(&f->guest, 1, 2, m.in.len);
		got = guest_expect_answer(&f->guest, 1, 4, 0);
		assert_int_equal(got.frame.done, 2);
		assert_true(f->tree->written_in_window);
		assert_int_equal(f->tree->written_len, FILES_DATA_BYTES);
		assert_memory_equal(
			f->tree->written, slot + TREE_WRITE_HEADER, FILES_DATA_BYTES);
	}
	/* Not even all of the header: private, and wrong. */
	m.in.len = TREE_WRITE_HEADER - 1;
	memcpy(slot, &m, TREE_WRITE_HEADER);
	guest_send_slot(&f->guest, 1, 2, m.in.len);
	finish(f);
	assert_ended_names(f, "opcode 16, 79 bytes) that no kernel sends");
}

static void test_large_request(void **state)
{
	struct fixture *f = *state;
	struct guest_message m = guest_message(FUSE_SETXATTR, 9, NULL, 0);
	struct guest_got got;

	m.in.len = 60000;
	memcpy(guest_slot(&f->guest, 6), &m, sizeof(m));
	guest_send_slot(&f->guest, 1, 6, m.in.len);
	got = guest_expect_answer(&f->guest, 1, 9, 0);
	assert_int_equal(got.frame.done, 6);
	assert_int_equal(f->tree->xattr_len, 60000);
}

/* They take no credit and have no answer; a slot comes back all the same. */
static void test_one_way(void **state)
{
	struct fixture *f = *state;
	struct fuse_interrupt_in interrupt = {.unique = 5};
	struct guest_message m =
		guest_message(FUSE_INTERRUPT, 6, &interrupt, sizeof(interrupt));
	struct guest_message batch = guest_message(FUSE_BATCH_FORGET, 0, NULL, 0);
	struct guest_got got;

	for (unsigned int i = 0; i < 3 * FILES_CREDITS; i++)
		guest_send(&f->guest, 1, FUSE_FORGET, 0);
	guest_send_message(&f->guest, 1, &m, FILES_NO_SLOT);
	batch.in.len = 200000;
	memcpy(guest_slot(&f->guest, 1), &batch, sizeof(batch));
	guest_send_slot(&f->guest, 1, 1, batch.in.len);
	got = guest_expect(&f->guest, FILES_DONE);
	assert_int_equal(got.frame.done, 1);
	assert_int_equal(f->tree->forgets, 3 * FILES_CREDITS + 1);
	assert_int_equal(f->tree->interrupts, 1);
}

static void test_no_answer(void **state)
{
	struct fixture *f = *state;
	struct guest_message m = guest_message(FUSE_DESTROY, 3, NULL, 0);
	struct guest_got got;

	memcpy(guest_slot(&f->guest, 0), &m, sizeof(m));
	for (unsigned int i = 0; i < 2 * FILES_CREDITS; i++) {
		guest_send_slot(&f->guest, 1, 0, m.in.len);
		got = guest_expect(&f->guest, FILES_CREDIT);
		assert_int_equal(got.frame.mount, 1);
		assert_int_equal(got.frame.done, 0);
	}
}

static void test_notification(void **state)
{
	struct fixture *f = *state;

	guest_send(&f->guest, 1, FUSE_GETATTR, 3);
	guest_expect_answer(&f->guest, 1, 0, 2);
	guest_expect_answer(&f->guest, 1, 3, 0);
}

static void test_crowded(void **state)
{
	struct fixture *f = *state;
	struct guest_got got;

	guest_send(&f->guest, 1, FUSE_LOOKUP, 3);
	got = guest_expect(&f->guest, FILES_SHRINK);
	assert_int_equal(got.frame.mount, 1);
	guest_expect_answer(&f->guest, 1, 3, -ENOENT);
	guest_send(&f->guest, 1, FUSE_ACCESS, 4);
	guest_expect_answer(&f->guest, 1, 4, 0);
}

/* ---- credits and waiters ---- */

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

static void send_lock(struct fixture *f, uint64_t unique)
{
	guest_send(&f->guest, 1, FUSE_SETLKW, unique);
	assert_int_equal(guest_expect(&f->guest, FILES_CREDIT).frame.mount, 1);
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

/* ---- mounts ---- */

static void test_no_mount(void **state)
{
	struct fixture *f = *state;
	struct guest_message m = guest_message(FUSE_WRITE, 8, NULL, 0);
	struct guest_got got;

	guest_send(&f->guest, 2, FUSE_FORGET, 0);
	guest_send_note(&f->guest, 2, FILES_UNMOUNTED, FILES_NO_SLOT);
	guest_send(&f->guest, 2, FUSE_INIT, 6);
	guest_expect_answer(&f->guest, 2, 6, -ENOTCONN);
	m.in.len = 9000;
	memcpy(guest_slot(&f->guest, 3), &m, sizeof(m));
	guest_send_slot(&f->guest, 4095, 3, m.in.len);
	got = guest_expect_answer(&f->guest, 4095, 8, -ENOTCONN);
	assert_int_equal(got.frame.done, 3);
}

static void test_add_remove(void **state)
{
	struct fixture *f = *state;
	struct tree_options options = {.cache = TREE_CACHE_OWN};
	struct err err = ERR_INIT;

	assert_error(channel_add(f->channel, 1, 0, &options, &err), -EEXIST,
		"mount 1 has a tree");
	assert_error(channel_add(f->channel, FILES_MOUNTS_MAX, 0, &options, &err),
		-EINVAL, "mount 4096; they are below 4096");
	assert_error(channel_add(f->channel, 9, -1, &options, &err), -EBADF, "no root");
	assert_int_equal(channel_add(f->channel, 9, 0, &options, &err), 0);
	guest_send(&f->guest, 9, FUSE_ACCESS, 2);
	guest_expect_answer(&f->guest, 9, 2, 0);
	send_lock(f, 3);
	channel_remove(f->channel, 1);
	guest_expect_answer(&f->guest, 1, 3, -EINTR);
	guest_send(&f->guest, 1, FUSE_ACCESS, 4);
	guest_expect_answer(&f->guest, 1, 4, -ENOTCONN);
	channel_remove(f->channel, 1);
	channel_remove(f->channel, FILES_MOUNTS_MAX);
	assert_int_equal(memory_trees, 1);
	assert_int_equal(channel_add(f->channel, 1, 0, &options, &err), 0);
	guest_send(&f->guest, 1, FUSE_ACCESS, 5);
	guest_expect_answer(&f->guest, 1, 5, 0);
}

/* A guest that keeps all slots does not keep a tree. */
static void test_remove_without_slots(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < SERVER_SLOTS; i++) {
		guest_send_read(&f->guest, 1, 100 + i, 0, FILES_DATA_BYTES);
		guest_expect_answer(&f->guest, 1, 100 + i, 0);
	}
	guest_send_read(&f->guest, 1, 150, 0, FILES_DATA_BYTES);
	guest_send(&f->guest, 1, FUSE_READLINK, 151);
	channel_remove(f->channel, 1);
	for (unsigned int i = 0; i < 2; i++) {
		struct guest_got got = guest_expect(&f->guest, FILES_MESSAGE);

		/* Before the tree was gone, or after. */
		if (got.out.error != -ENOTCONN) {
			assert_int_equal(got.out.unique, 150);
			assert_int_equal(got.out.error, -ENOMEM);
		}
	}
}

/* Requests that wait end, others are waited for,
 * and what comes then comes to a new tree. */
static void test_unmounted(void **state)
{
	struct fixture *f = *state;
	struct guest_got got;

	guest_send(&f->guest, 1, FUSE_FSYNC, 20);
	memory_tree_await(f->tree, &f->tree->in_gate, 1);
	send_lock(f, 21);
	memory_tree_await(f->tree, &f->tree->waiting, 1);
	guest_send_note(&f->guest, 1, FILES_UNMOUNTED, FILES_NO_SLOT);
	guest_send_note(&f->guest, 1, FILES_UNMOUNTED, FILES_NO_SLOT);
	guest_expect_answer(&f->guest, 1, 21, -EINTR);
	guest_send(&f->guest, 1, FUSE_INIT, 22);
	guest_send(&f->guest, 1, FUSE_FORGET, 0);
	guest_send_note(&f->guest, 1, FILES_UNMOUNTED, FILES_NO_SLOT);
	guest_send(&f->guest, 1, FUSE_ACCESS, 23);
	guest_send(&f->guest, 2, FUSE_ACCESS, 24);
	guest_expect_answer(&f->guest, 2, 24, -ENOTCONN);
	assert_int_equal(memory_tree_resets, 0);
	assert_int_equal(f->tree->inits, 0);
	memory_tree_open_gate(f->tree);
	guest_expect_answer(&f->guest, 1, 20, 0);
	guest_expect_answer(&f->guest, 1, 22, 0);
	got = guest_expect_answer(&f->guest, 1, 23, 0);
	assert_int_equal(got.frame.length, sizeof(got.out));
	assert_int_equal(__atomic_load_n(&memory_tree_resets, __ATOMIC_SEQ_CST), 2);
	assert_int_equal(f->tree->forgets, 0);
}

static void test_unmounted_then_removed(void **state)
{
	struct fixture *f = *state;

	guest_send(&f->guest, 1, FUSE_FSYNC, 20);
	memory_tree_await(f->tree, &f->tree->in_gate, 1);
	guest_send_note(&f->guest, 1, FILES_UNMOUNTED, FILES_NO_SLOT);
	guest_send(&f->guest, 1, FUSE_INIT, 22);
	guest_send_note(&f->guest, 1, FILES_UNMOUNTED, FILES_NO_SLOT);
	guest_send(&f->guest, 2, FUSE_ACCESS, 24);
	guest_expect_answer(&f->guest, 2, 24, -ENOTCONN);
	memory_tree_open_gate(f->tree);
	guest_expect_answer(&f->guest, 1, 20, 0);
	channel_remove(f->channel, 1);
	/* Served before that, or held back and then without a mount. */
	assert_int_equal(guest_expect(&f->guest, FILES_MESSAGE).out.unique, 22);
}

/* ---- ends ---- */

static void test_end(void **state)
{
	struct fixture *f = *state;

	send_lock(f, 3);
	channel_end(f->channel);
	finish(f);
	assert_int_equal(f->result, 0);
}

static void test_end_within_a_frame(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write(f->guest.fd, "\x28", 1), 1);
	shutdown(f->guest.fd, SHUT_WR);
	finish(f);
	assert_ended(f, "the guest's channel ended within a frame");
}

static void test_no_kernel_sends(void **state)
{
	struct fixture *f = *state;

	guest_send(&f->guest, 1, 4711, 3);
	finish(f);
	assert_ended(
		f, "mount 1: a message (opcode 4711, 40 bytes) that no kernel sends");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CHANNEL(test_inline),
		WITH_CHANNEL(test_byte_by_byte),
		WITH_CHANNEL(test_read),
		WITH_CHANNEL(test_slots_run_out),
		WITH_CHANNEL(test_between_inline_and_slot),
		WITH_CHANNEL(test_write),
		WITH_CHANNEL(test_large_request),
		WITH_CHANNEL(test_one_way),
		WITH_CHANNEL(test_no_answer),
		WITH_CHANNEL(test_notification),
		WITH_CHANNEL(test_crowded),
		WITH_CHANNEL(test_credits),
		WITH_CHANNEL(test_lock_after_release),
		WITH_CHANNEL(test_end_before_turn),
		WITH_CHANNEL(test_waiters),
		WITH_CHANNEL(test_too_many_waiters),
		WITH_CHANNEL(test_no_mount),
		WITH_CHANNEL(test_add_remove),
		WITH_CHANNEL(test_remove_without_slots),
		WITH_CHANNEL(test_unmounted),
		WITH_CHANNEL(test_unmounted_then_removed),
		WITH_CHANNEL(test_end),
		WITH_CHANNEL(test_end_within_a_frame),
		WITH_CHANNEL(test_no_kernel_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
