/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing of changed files: what counts as a change, and when it has settled. */
#include "tests/lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/util.h"
#include "templated/input_watch.h"

#define SETTLE_MS 10
#define LIMIT_MS  60

struct fixture {
	char *dir;
	char *file, *folder; /* what is watched */
	struct input_watch *watch;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int reloads, looks, asked;
	unsigned int seen; /* of the looks */
	int change_in;     /* the reload() that is to change the file; 0: none */
};

static void on_reload(void *user)
{
	struct fixture *f = user;

	f->reloads++;
	if (f->change_in && --f->change_in == 0)
		free(test_file(f->dir, "kernel", "in between"));
}

static void on_list(void *user, struct input_watch *w)
{
	struct fixture *f = user;

	input_watch_add(w, f->file, false);
	if (f->folder)
		input_watch_add(w, f->folder, true);
}

static void on_look(void *user, bool asked)
{
	struct fixture *f = user;

	pthread_mutex_lock(&f->lock);
	f->looks++;
	f->asked += asked;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static char *inside(const struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->dir, name);
}

static void put(const struct fixture *f, const char *name, const char *text)
{
	free(test_file(f->dir, name, text));
}

static void make_folder(const struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = inside(f, name);

	assert_int_equal(mkdir(path, 0700), 0);
}

static void make_link(const struct fixture *f, const char *target, const char *name)
{
	_cleanup_free_ char *path = inside(f, name);

	assert_int_equal(symlink(target, path), 0);
}

static void move(const struct fixture *f, const char *from, const char *to)
{
	_cleanup_free_ char *a = inside(f, from), *b = inside(f, to);

	assert_int_equal(rename(a, b), 0);
}

static int setup(void **state)
{
	struct fixture *f = xnew0(struct fixture);

	f->dir = test_folder_new();
	pthread_mutex_init(&f->lock, NULL);
	cond_init(&f->changed);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	input_watch_stop(f->watch);
	test_folder_free(f->dir);
	free(f->file);
	free(f->folder);
	free(f);
	return 0;
}

static void start_with(struct fixture *f, int64_t settle_ms, int64_t limit_ms)
{
	struct input_watch_options options = {.reload = on_reload,
		.list = on_list,
		.look = on_look,
		.user = f,
		.settle_ms = settle_ms,
		.limit_ms = limit_ms};
	struct err err = ERR_INIT;

	if (input_watch_start(&options, &f->watch, &err) < 0)
		fail_msg("%s", err.text);
}

static void start(struct fixture *f, const char *file)
{
	f->file = inside(f, file);
	start_with(f, SETTLE_MS, LIMIT_MS);
}

/* That many looks more come by `deadline`. */
static int wait_for_looks(struct fixture *f, unsigned int n, int64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&f->lock);
	while (f->looks - f->seen < n && r == 0)
		r = cond_wait(&f->changed, &f->lock, deadline);
	f->seen = f->looks;
	pthread_mutex_unlock(&f->lock);
	return r;
}

static int wait_for_look(struct fixture *f, int64_t deadline)
{
	return wait_for_looks(f, 1, deadline);
}

/* On a loaded machine what one step does may be more than one change. */
static void expect(struct fixture *f)
{
	assert_int_equal(wait_for_look(f, soon()), 0);
}

/* A look that was asked for sees whatever was changed before: none of that follows. */
static void wait_for_quiet(struct fixture *f)
{
	unsigned int asked;
	int r = 0;

	pthread_mutex_lock(&f->lock);
	asked = f->asked;
	pthread_mutex_unlock(&f->lock);
	input_watch_poke(f->watch);
	pthread_mutex_lock(&f->lock);
	while (f->asked == asked && r == 0)
		r = cond_wait(&f->changed, &f->lock, soon());
	f->seen = f->looks;
	pthread_mutex_unlock(&f->lock);
	assert_int_equal(r, 0);
}

static void expect_none(struct fixture *f)
{
	assert_int_equal(wait_for_look(f, deadline_after_ms(5 * SETTLE_MS)), -ETIMEDOUT);
}

/* A package's many writes are one change, and other files none. A machine that stops for
 * a while in between makes several of them, and none in less time than it takes to
 * settle. */
static void test_settles(void **state)
{
	struct fixture *f = *state;
	const int64_t settle_ms = 200;
	int64_t began, took_ms;

	put(f, "kernel", "1");
	f->file = inside(f, "kernel");
	start_with(f, settle_ms, PATIENCE_MS);
	began = now_ms();
	for (int i = 0; i < 20; i++) {
		put(f, "other", "x");
		put(f, "kernel", "2");
	}
	took_ms = now_ms() - began;
	expect(f);
	assert_int_equal(f->asked, 0);
	wait_for_quiet(f); /* which is a look, too */
	assert_in_range(f->looks, 2, 2 + took_ms / (settle_ms - 1));
	assert_int_equal(f->reloads, 1 + f->looks); /* one at the start */
	put(f, "other", "y");
	assert_int_equal(wait_for_look(f, deadline_after_ms(300)), -ETIMEDOUT);
}

/* One that never is quiet. */
static void test_limit(void **state)
{
	struct fixture *f = *state;
	int64_t began;

	put(f, "kernel", "1");
	f->file = inside(f, "kernel");
	start_with(f, PATIENCE_MS, LIMIT_MS);
	began = now_ms();
	put(f, "kernel", "2");
	expect(f);
	assert_true(now_ms() - began >= LIMIT_MS - 1);
}

static void test_each_way(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = inside(f, "boot/kernel");
	FILE *file;

	make_folder(f, "boot");
	put(f, "boot/kernel", "1");
	start(f, "boot/kernel");
	/* In place. */
	file = fopen(path, "we");
	fputs("2", file);
	fclose(file);
	expect(f);
	/* Removed, with its folder; and all of it anew. */
	assert_int_equal(unlink(path), 0);
	expect(f);
	move(f, "boot", "gone");
	expect(f);
	make_folder(f, "boot");
	expect(f);
	put(f, "boot/kernel", "3");
	expect(f);
	/* Another folder in the place of the old one. */
	make_folder(f, "next");
	put(f, "next/kernel", "4");
	move(f, "boot", "former");
	move(f, "next", "boot");
	expect(f);
	put(f, "boot/kernel", "5");
	expect(f);
}

/* What a link leads to, and the link itself, at every place of the path. */
static void test_links(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "one");
	make_folder(f, "two");
	make_folder(f, "store");
	put(f, "store/v1", "1");
	put(f, "store/v2", "2");
	make_link(f, "../store/v1", "one/kernel");
	make_link(f, "../store/v2", "two/kernel");
	make_link(f, "one", "current");
	start(f, "current/kernel");
	put(f, "store/v1", "1b");
	expect(f);
	make_link(f, "../store/v2", "one/new");
	move(f, "one/new", "one/kernel");
	expect(f);
	put(f, "store/v2", "2b");
	expect(f);
	make_link(f, "two", "next");
	move(f, "next", "current");
	expect(f);
	put(f, "store/v2", "2c");
	expect(f);
	/* Nobody looks through it any more. */
	wait_for_quiet(f);
	put(f, "store/v1", "1c");
	expect_none(f);
}

static void test_link_loop(void **state)
{
	struct fixture *f = *state;

	make_link(f, "b", "a");
	make_link(f, "a", "b");
	start(f, "a");
	make_link(f, "elsewhere", "c");
	move(f, "c", "b");
	expect(f);
}

/* A missing folder: its nearest ancestor; then whatever comes into it. */
static void test_missing_folder(void **state)
{
	struct fixture *f = *state;

	f->folder = inside(f, "etc/stencil.conf.d");
	start(f, "etc/stencil.conf");
	make_folder(f, "etc");
	expect(f);
	put(f, "etc/stencil.conf", "x");
	expect(f);
	make_folder(f, "etc/stencil.conf.d");
	expect(f);
	put(f, "etc/stencil.conf.d/10-a.conf", "x");
	expect(f);
	wait_for_quiet(f);
	put(f, "etc/unrelated", "x");
	expect_none(f);
}

static void test_poke(void **state)
{
	struct fixture *f = *state;

	start(f, "kernel");
	input_watch_poke(f->watch);
	expect(f);
	assert_int_equal(f->asked, 1);
}

/* The reload at the start, and one that follows a change, may take a while. */
static void test_change_during_reload(void **state)
{
	struct fixture *f = *state;

	put(f, "kernel", "1");
	f->change_in = 1;
	start(f, "kernel");
	expect(f);
	wait_for_quiet(f);
	f->change_in = 1;
	f->reloads = 0;
	input_watch_poke(f->watch);
	/* The one that was asked for, and the change's, which may follow at once. */
	assert_int_equal(wait_for_looks(f, 2, soon()), 0);
	assert_int_equal(f->reloads, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_settles),
		T(test_limit),
		T(test_each_way),
		T(test_links),
		T(test_link_loop),
		T(test_missing_folder),
		T(test_poke),
		T(test_change_during_reload),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
