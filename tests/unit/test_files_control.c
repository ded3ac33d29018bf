/* SPDX-License-Identifier: Apache-2.0 */
/* files/control: requests of a shim, and what is none. */
#include "tests/lib/test.h"

#include <sys/socket.h>

#include "base/io.h"
#include "base/thread.h"
#include "files/control.h"
#include "tests/unit/files_guest.h"
#include "tests/unit/memory_tree.h"

/* Nobody calls it here. */
static struct keeper *const no_keeper = (struct keeper *)8;

struct fixture {
	struct guest guest;
	struct channel *channel;
	int shim_fd, server_fd;
	pthread_t thread;
	struct err err;
	int result;
};

static void *run(void *arg)
{
	struct fixture *f = arg;
	struct tree_options options = {
		.inodes_max = 10, .handles_max = 20, .keeper = no_keeper};

	f->result = control_run(f->server_fd, f->channel, &options, &f->err);
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = xnew0(struct fixture);
	struct err err = ERR_INIT;
	int pair[2];

	guest_init(&f->guest);
	assert_int_equal(
		channel_new(f->guest.peer_fd, f->guest.window_fd, &f->channel, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->shim_fd = pair[0];
	f->server_fd = pair[1];
	assert_int_equal(thread_start(run, f, 256 << 10, false, &f->thread), 0);
	*state = f;
	return 0;
}

/* The shim is gone, or has said something that ends the talk. */
static void finish(struct fixture *f)
{
	pthread_join(f->thread, NULL);
	close_fd(steal_fd(&f->server_fd));
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->server_fd >= 0) {
		close(steal_fd(&f->shim_fd));
		finish(f);
	}
	close_fd(f->shim_fd);
	channel_free(f->channel);
	guest_done(&f->guest);
	free(f);
	return 0;
}

static struct control_answer ask(
	struct fixture *f, const struct control_request *request, int fd)
{
	struct control_answer answer;

	assert_int_equal(
		sock_send(f->shim_fd, request, sizeof(*request), &fd, fd >= 0, soon()),
		0);
	assert_int_equal(sock_recv(f->shim_fd, &answer, sizeof(answer), NULL, 0, soon()),
		sizeof(answer));
	assert_int_equal(answer.id, request->id);
	return answer;
}

static void test_add_remove(void **state)
{
	struct fixture *f = *state;
	struct control_request add = {.id = 5,
		.kind = CONTROL_ADD,
		.mount = 17,
		.cache = TREE_CACHE_SHARED,
		.readonly = 1};
	struct control_request drop = {.id = 6, .kind = CONTROL_REMOVE, .mount = 17};
	struct control_answer answer;

	assert_int_equal(ask(f, &add, f->guest.window_fd).code, 0);
	assert_int_equal(memory_tree_last->options.cache, TREE_CACHE_SHARED);
	assert_true(memory_tree_last->options.readonly);
	assert_int_equal(memory_tree_last->options.inodes_max, 10);
	assert_int_equal(memory_tree_last->options.handles_max, 20);
	assert_null(memory_tree_last->options.keeper);
	answer = ask(f, &add, f->guest.window_fd);
	assert_int_equal(answer.code, -EEXIST);
	assert_string_equal(answer.text, "mount 17 has a tree");
	assert_int_equal(ask(f, &drop, -1).code, 0);
	assert_int_equal(memory_trees, 0);
	assert_int_equal(ask(f, &drop, -1).code, 0);
	/* Only one that is an overlay's upper layer has the keeper. */
	add.overlay_upper = 1;
	assert_int_equal(ask(f, &add, f->guest.window_fd).code, 0);
	assert_ptr_equal(memory_tree_last->options.keeper, no_keeper);
}

static void test_freeze(void **state)
{
	struct fixture *f = *state;
	struct control_request add = {
		.id = 5, .kind = CONTROL_ADD, .mount = 17, .cache = TREE_CACHE_OWN};
	struct control_request freeze = {.id = 6, .kind = CONTROL_FREEZE, .mount = 17};
	struct control_request thaw = {.id = 7, .kind = CONTROL_THAW, .mount = 17};
	struct control_answer answer;

	answer = ask(f, &freeze, -1);
	assert_int_equal(answer.code, -ENOTCONN);
	assert_string_equal(answer.text, "the guest has unmounted it");
	assert_int_equal(ask(f, &thaw, -1).code, 0);
	assert_int_equal(ask(f, &add, f->guest.window_fd).code, 0);
	memory_tree_last->busy = true;
	answer = ask(f, &freeze, -1);
	assert_int_equal(answer.code, -EBUSY);
	assert_string_equal(answer.text, "the guest keeps files open for writing");
	memory_tree_last->busy = false;
	assert_int_equal(ask(f, &freeze, -1).code, 0);
	assert_true(memory_tree_last->frozen);
	assert_int_equal(ask(f, &thaw, -1).code, 0);
	assert_false(memory_tree_last->frozen);
}

static void test_wrong_requests(void **state)
{
	struct fixture *f = *state;
	const struct {
		struct control_request request;
		const char *said;
		int code;
	} rows[] = {
		{{1, CONTROL_ADD, 1, TREE_CACHE_OWN, 0, 0},
			"mount 1 comes without a tree", -EBADF},
		{{2, CONTROL_ADD, 1, 9, 0, 0}, "mount 1: there is no cache 9", -EINVAL},
		{{3, CONTROL_ADD, 4096, TREE_CACHE_OWN, 0, 0},
			"mount 4096; they are below 4096", -EINVAL},
		{{4, 0, 1, 0, 0, 0}, "there is no request 0", -EINVAL},
		{{5, 6, 1, 0, 0, 0}, "there is no request 6", -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct control_answer answer =
			ask(f, &rows[i].request, i == 0 ? -1 : f->guest.window_fd);

		assert_int_equal(answer.code, rows[i].code);
		assert_string_equal(answer.text, rows[i].said);
	}
}

static void test_ends_with_the_shim(void **state)
{
	struct fixture *f = *state;

	close(steal_fd(&f->shim_fd));
	finish(f);
	assert_int_equal(f->result, 0);
}

static void test_short_request(void **state)
{
	struct fixture *f = *state;
	struct err err;

	assert_int_equal(sock_send(f->shim_fd, "add", 3, NULL, 0, soon()), 0);
	finish(f);
	err = f->err;
	assert_error(f->result, -EPROTO, "the shim's request has 3 bytes");
}

static void test_long_request(void **state)
{
	struct fixture *f = *state;
	char text[sizeof(struct control_request) + 1] = {0};
	struct err err;

	assert_int_equal(sock_send(f->shim_fd, text, sizeof(text), NULL, 0, soon()), 0);
	finish(f);
	err = f->err;
	assert_error_names(f->result, -EMSGSIZE, "cannot read the shim's request");
}

#define WITH_CONTROL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CONTROL(test_add_remove),
		WITH_CONTROL(test_freeze),
		WITH_CONTROL(test_wrong_requests),
		WITH_CONTROL(test_ends_with_the_shim),
		WITH_CONTROL(test_short_request),
		WITH_CONTROL(test_long_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
