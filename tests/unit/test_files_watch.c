/* SPDX-License-Identifier: Apache-2.0 */
/* files/watch: of which trees others' changes are heard. */
#include "tests/unit/files_peer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "base/io.h"
#include "files/watch.h"

struct heard {
	struct world *w;
	int fd; /* counts how often the guest is to be told */
};

static void count_heard(void *user)
{
	eventfd_write(((struct heard *)user)->fd, 1);
}

static void heard_begin(struct heard *h, enum tree_cache cache, struct watch *watch)
{
	struct tree_options options = world_shared;

	h->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	options.cache = cache;
	options.watch = watch;
	options.changed = count_heard;
	options.user = h;
	h->w = world_new(&options);
}

static void heard_end(struct heard *h)
{
	world_free(h->w);
	close(h->fd);
}

/* Of another process: what this one does is the guest's own. */
static void change_by_other(const struct heard *h, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", h->w->folder, name);
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(mkdir(path, 0755) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void assert_heard(const struct heard *h)
{
	eventfd_t n;

	assert_int_equal(wait_fd(h->fd, POLLIN, soon()), 0);
	assert_int_equal(eventfd_read(h->fd, &n), 0);
}

static void assert_unheard(const struct heard *h)
{
	eventfd_t n;

	assert_int_equal(eventfd_read(h->fd, &n), -1);
	assert_int_equal(errno, EAGAIN);
}

/* Of a tree that is the guest's own, or that it has unmounted, nothing is heard. Changes
 * are heard in their order. */
static void test_trees(void **state)
{
	struct watch *watch = watch_new();
	struct heard shared, alone, last;
	struct fuse_init_out init;

	(void)state;
	heard_begin(&shared, TREE_CACHE_SHARED, watch);
	heard_begin(&alone, TREE_CACHE_OWN, watch);
	heard_begin(&last, TREE_CACHE_SHARED, watch);
	change_by_other(&alone, "a");
	change_by_other(&shared, "a");
	assert_heard(&shared);
	assert_unheard(&alone);
	tree_reset(shared.w->tree);
	change_by_other(&shared, "b");
	change_by_other(&last, "b");
	assert_heard(&last);
	assert_unheard(&shared);
	assert_int_equal(talk_init(shared.w->talk, PEER_FLAGS, &init), 0);
	change_by_other(&shared, "c");
	assert_heard(&shared);
	heard_end(&shared);
	heard_end(&alone);
	heard_end(&last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
