/* SPDX-License-Identifier: Apache-2.0 */
/* files/channel: what no guest sends ends it, with a reason. */
#include "tests/unit/files_channel_fixture.h"

#define NONE FILES_NO_SLOT

static const struct hostile {
	struct files_frame frame;
	uint32_t says; /* the message's own length, 0: as it is */
	uint64_t unique;
	const char *said;
} hostile[] = {
	{{40, 1, 0, NONE, NONE, 0, {0}}, 0, 1, "a frame of kind 0, which no guest sends"},
	{{40, 1, FILES_CREDIT, NONE, NONE, 0, {0}}, 0, 1,
		"a frame of kind 3, which no guest sends"},
	{{40, 1, FILES_SHRINK, NONE, NONE, 0, {0}}, 0, 1,
		"a frame of kind 5, which no guest sends"},
	{{40, 1, 255, NONE, NONE, 0, {0}}, 0, 1,
		"a frame of kind 255, which no guest sends"},
	{{40, 1, FILES_MESSAGE, NONE, NONE, 0, {0, 1}}, 0, 1,
		"a frame whose last bytes are not zero"},
	{{40, 4096, FILES_MESSAGE, NONE, NONE, 0, {0}}, 0, 1,
		"mount 4096; they are below 4096"},
	{{0, 1, FILES_DONE, NONE, NONE, 0, {0}}, 0, 1, "a frame that gives nothing back"},
	{{0, 1, FILES_DONE, NONE, 0, 0, {0}}, 0, 1,
		"slot 0 is given back, which the guest does not have"},
	{{0, 1, FILES_DONE, NONE, 7, 0, {0}}, 0, 1,
		"slot 7 is given back, which the guest does not have"},
	{{0, 1, FILES_DONE, NONE, 15, 0, {0}}, 0, 1,
		"slot 15 is given back, which the guest does not have"},
	{{40, 1, FILES_MESSAGE, NONE, 14, 0, {0}}, 0, 1,
		"slot 14 is given back, which the guest does not have"},
	{{4, 1, FILES_DONE, NONE, 7, 0, {0}}, 0, 1,
		"a frame of kind 2 with a message of 4 bytes"},
	{{0, 1, FILES_UNMOUNTED, 3, NONE, 0, {0}}, 0, 1,
		"a frame of kind 4 with a message of 0 bytes"},
	{{39, 1, FILES_MESSAGE, NONE, NONE, 0, {0}}, 0, 1,
		"a message of 39 bytes; 40 to 4000 are possible"},
	{{4001, 1, FILES_MESSAGE, NONE, NONE, 0, {0}}, 0, 1,
		"a message of 4001 bytes; 40 to 4000 are possible"},
	{{UINT32_MAX, 1, FILES_MESSAGE, NONE, NONE, 0, {0}}, 0, 1,
		"a message of 4294967295 bytes; 40 to 4000 are possible"},
	{{39, 1, FILES_MESSAGE, 0, NONE, 0, {0}}, 0, 1,
		"a message of 39 bytes; 40 to 266240 are possible"},
	{{266241, 1, FILES_MESSAGE, 0, NONE, 0, {0}}, 0, 1,
		"a message of 266241 bytes; 40 to 266240 are possible"},
	{{40, 1, FILES_MESSAGE, 7, NONE, 0, {0}}, 0, 1,
		"slot 7 is not the guest's to fill"},
	{{40, 1, FILES_MESSAGE, 254, NONE, 0, {0}}, 0, 1,
		"slot 254 is not the guest's to fill"},
	{{40, 1, FILES_MESSAGE, NONE, NONE, 0, {0}}, 41, 1,
		"a message of 40 bytes that says it has 41"},
	{{40, 1, FILES_MESSAGE, 0, NONE, 0, {0}}, 39, 1,
		"a message of 40 bytes that says it has 39"},
	{{40, 1, FILES_MESSAGE, NONE, NONE, 0, {0}}, 0, 0,
		"mount 1: a request without a number"},
};

static void send_hostile(struct guest *g, const struct hostile *h)
{
	uint8_t message[sizeof(struct fuse_in_header)];
	struct fuse_in_header in = {.len = h->says ? h->says : h->frame.length,
		.opcode = FUSE_ACCESS,
		.unique = h->unique};

	memcpy(message, &in, sizeof(in));
	memcpy(g->window, &in, sizeof(in));
	assert_int_equal(write_full(g->fd, &h->frame, sizeof(h->frame)), 0);
	/* The rest may find the channel's end there. */
	if (h->frame.slot == FILES_NO_SLOT)
		send(g->fd, message, MIN(sizeof(message), h->frame.length), MSG_NOSIGNAL);
}

/* A wall's proof: docs/security.md. */
static void test_hostile(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct fixture *f;

		setup((void **)&f);
		send_hostile(&f->guest, &hostile[i]);
		finish(f);
		assert_ended(f, hostile[i].said);
		teardown((void **)&f);
	}
}

/* The same slot twice, without waiting for `done`. */
/* A wall's proof: docs/security.md. */
static void test_slot_twice(void **state)
{
	struct fixture *f = *state;
	struct guest_message m = guest_message(FUSE_FSYNC, 3, NULL, 0);

	memcpy(guest_slot(&f->guest, 4), &m, sizeof(m));
	guest_send_slot(&f->guest, 1, 4, m.in.len);
	guest_send_slot(&f->guest, 1, 4, m.in.len);
	pthread_join(f->reader, NULL);
	assert_ended(f, "slot 4 is filled, which the server still has");
	memory_tree_open_gate(f->tree);
	channel_free(f->channel);
	f->channel = NULL;
}

/* The server's slot given back twice. */
static void test_done_twice(void **state)
{
	struct fixture *f = *state;
	struct guest_got got;

	guest_send_read(&f->guest, 1, 3, 0, FILES_DATA_BYTES);
	got = guest_expect_answer(&f->guest, 1, 3, 0);
	guest_send_note(&f->guest, 1, FILES_DONE, got.frame.slot);
	guest_send_note(&f->guest, 1, FILES_DONE, got.frame.slot);
	finish(f);
	assert_ended_names(f, "is given back, which the guest does not have");
}

static void test_window(void **state)
{
	struct err err = ERR_INIT;
	struct channel *c;
	int fd = guest_window_new(FILES_WINDOW_BYTES, F_SEAL_GROW);

	(void)state;
	assert_error(channel_new(-1, fd, &c, &err), -EINVAL,
		"the window is no memfd that is sealed against shrinking");
	close(fd);
	fd = guest_window_new(FILES_WINDOW_BYTES - 4096, F_SEAL_SHRINK);
	assert_error(channel_new(-1, fd, &c, &err), -EINVAL,
		"the window has 4190208 bytes, not 4194304");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile),
		WITH_CHANNEL(test_slot_twice),
		WITH_CHANNEL(test_done_twice),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
