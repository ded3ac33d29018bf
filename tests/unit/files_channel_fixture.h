/* SPDX-License-Identifier: Apache-2.0 */
/* A channel with a tree in memory, a thread that reads it, and a guest. */
#pragma once

#include "tests/lib/test.h"

#include "base/thread.h"
#include "files/channel.h"
#include "tests/unit/files_guest.h"
#include "tests/unit/memory_tree.h"

#define SERVER_SLOTS (FILES_SLOTS - FILES_GUEST_SLOTS)

struct fixture {
	struct guest guest;
	struct channel *channel;
	struct tree *tree; /* of mount 1 */
	pthread_t reader;
	struct err err; /* what channel_run() said */
	int result;
};

static inline void *channel_fixture_run(void *arg)
{
	struct fixture *f = arg;

	f->result = channel_run(f->channel, &f->err);
	return NULL;
}

static inline int setup(void **state)
{
	struct fixture *f = xnew0(struct fixture);
	struct tree_options options = {.inodes_max = 100, .handles_max = 100};
	struct err err = ERR_INIT;

	memory_tree_resets = 0;
	guest_init(&f->guest);
	assert_int_equal(
		channel_new(f->guest.peer_fd, f->guest.window_fd, &f->channel, &err), 0);
	assert_int_equal(channel_add(f->channel, 1, 0, &options, &err), 0);
	f->tree = memory_tree_last;
	assert_int_equal(
		thread_start(channel_fixture_run, f, 256 << 10, false, &f->reader), 0);
	*state = f;
	return 0;
}

/* The channel ends, and nothing is left. */
static inline void finish(struct fixture *f)
{
	pthread_join(f->reader, NULL);
	channel_free(f->channel);
	f->channel = NULL;
	assert_int_equal(memory_trees, 0);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->channel) {
		shutdown(f->guest.fd, SHUT_WR);
		finish(f);
	}
	guest_done(&f->guest);
	free(f);
	return 0;
}

/* The guest was found out, and this was said. */
static inline void assert_ended(struct fixture *f, const char *said)
{
	struct err err = f->err;

	assert_error(f->result, -EPROTO, said);
}

static inline void assert_ended_names(struct fixture *f, const char *part)
{
	struct err err = f->err;

	assert_error_names(f->result, -EPROTO, part);
}

#define WITH_CHANNEL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
