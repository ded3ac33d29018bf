/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of config.json: what is refused, in which order and with what they run. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/json.h"
#include "base/proc.h"
#include "base/thread.h"
#include "shim/hooks.h"
#include "tests/unit/test_shim.h"

static struct scratch scratch;
static int void_fd;

static struct json_object *parse(const char *text)
{
	struct json_object *o;

	assert_ok(json_parse("test", text, strlen(text), 32, &o, err));
	return o;
}

static struct hooks *read_hooks(const char *text)
{
	struct json_object *spec = parse(text);
	struct hooks *hooks = NULL;

	assert_ok(hooks_read(spec, &hooks, err));
	json_object_put(spec);
	return hooks;
}

/* A program in the scratch folder, which is the bundle, too. */
static void write_program(const char *name, const char *lines)
{
	_cleanup_free_ char *text = xasprintf("#!/bin/sh\n%s\n", lines);
	_cleanup_free_ char *path = scratch_path(&scratch, name);

	scratch_write(&scratch, name, text);
	assert_int_equal(chmod(path, 0700), 0);
}

/* Config.json with one list of hooks; %s in it is the scratch folder. */
static struct hooks *hooks_of(const char *point, const char *first, const char *second)
{
	_cleanup_free_ char *text = xasprintf(
		"{\"ociVersion\":\"1.1.0\",\"annotations\":{\"a/b\":\"c\"},"
		"\"hooks\":{\"%s\":[{\"path\":\"%s/%s\"},{\"path\":\"%s/%s\","
		"\"args\":[\"zero\",\"one two\"],\"env\":[\"A=b\"],\"timeout\":300}]}}",
		point, scratch.path, first, scratch.path, second);

	return read_hooks(text);
}

static int run(struct hooks *hooks, enum hook_point point, struct err *err)
{
	struct hook_call call = {.container_id = "c1",
		.bundle = scratch.path,
		.pid = point == HOOK_POSTSTOP ? 0 : 77,
		.void_fd = void_fd};

	return hooks_run(hooks, point, &call, err);
}

static char *slurp(const char *name)
{
	_cleanup_free_ char *path = scratch_path(&scratch, name);
	char *text;
	size_t len;

	assert_ok(file_read(AT_FDCWD, path, 65536, &text, &len, err));
	return text;
}

/* ---- tests ---- */

static void refuse(const char *text, const char *message)
{
	struct json_object *spec = parse(text);
	struct hooks *hooks;

	assert_err(hooks_read(spec, &hooks, err), -EINVAL, message);
	json_object_put(spec);
}

static void test_refused(void **state)
{
	(void)state;
	refuse("{\"hooks\":[]}", "\"hooks\" is array where object is wanted");
	refuse("{\"hooks\":{\"prestart\":[{\"path\":\"/a\"},7]}}",
		"prestart hook 1: it is no object");
	refuse("{\"hooks\":{\"poststop\":[{\"path\":\"a\"}]}}",
		"poststop hook 0: the path a is not absolute");
	refuse("{\"hooks\":{\"poststart\":[{\"path\":\"/a\",\"args\":[\"a\",1]}]}}",
		"poststart hook 0: \"args\" has a member that is no string");
	refuse("{\"hooks\":{\"createRuntime\":[{\"path\":\"/a\",\"timeout\":0}]}}",
		"createRuntime hook 0: the timeout is no number of seconds");
}

static void test_none(void **state)
{
	(void)state;
	assert_null(read_hooks("{}"));
	assert_null(read_hooks("{\"hooks\":{}}"));
	/* Those are the guest's. */
	assert_null(read_hooks("{\"hooks\":{\"startContainer\":[{\"path\":\"/a\"}]}}"));
	assert_false(hooks_has(NULL, HOOK_PRESTART));
	assert_int_equal(run(NULL, HOOK_PRESTART, NULL), 0);
}

/* In order, in the bundle, with the words and the environment that were given. */
static void test_runs(void **state)
{
	static const struct {
		enum hook_point point;
		const char *key, *state;
	} rows[] = {
		{HOOK_PRESTART, "prestart",
			"{\"ociVersion\":\"1.1.0\",\"id\":\"c1\",\"status\":\"creating\","
			"\"pid\":77,"},
		{HOOK_CREATE_RUNTIME, "createRuntime",
			"{\"ociVersion\":\"1.1.0\",\"id\":\"c1\",\"status\":\"creating\","
			"\"pid\":77,"},
		{HOOK_POSTSTART, "poststart",
			"{\"ociVersion\":\"1.1.0\",\"id\":\"c1\",\"status\":\"running\","
			"\"pid\":77,"},
		{HOOK_POSTSTOP, "poststop",
			"{\"ociVersion\":\"1.1.0\",\"id\":\"c1\",\"status\":\"stopped\","},
	};

	(void)state;
	setenv("OURS", "yes", 1);
	write_program("first", "echo \"$0 $# $OURS\" >log; cat >state");
	write_program("second", "echo \"$* $A$OURS\" >>log");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct hooks *hooks = hooks_of(rows[i].key, "first", "second");
		_cleanup_free_ char *log =
			xasprintf("%s/first 0 yes\none two b\n", scratch.path);
		_cleanup_free_ char *wanted =
			xasprintf("%s\"bundle\":\"%s\",\"annotations\":{\"a/b\":\"c\"}}",
				rows[i].state, scratch.path);
		_cleanup_free_ char *seen_log = NULL, *seen_state = NULL;

		for (unsigned int p = 0; p < HOOK_POINTS; p++)
			assert_int_equal(
				hooks_has(hooks, (enum hook_point)p), rows[i].point == p);
		assert_ok(run(hooks, rows[i].point, err));
		seen_log = slurp("log");
		seen_state = slurp("state");
		assert_string_equal(seen_log, log);
		assert_string_equal(seen_state, wanted);
		hooks_free(hooks);
	}
}

/* More than a pipe holds: of the state, which nobody reads, and of output. */
static void test_much(void **state)
{
	_cleanup_free_ char *long_text = xmalloc(100001), *text = NULL;
	struct hooks *hooks;

	(void)state;
	memset(long_text, 'x', 100000);
	long_text[100000] = '\0';
	write_program("much", "head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2");
	text = xasprintf("{\"annotations\":{\"a\":\"%s\"},"
			 "\"hooks\":{\"prestart\":[{\"path\":\"%s/much\"}]}}",
		long_text, scratch.path);
	hooks = read_hooks(text);
	assert_ok(run(hooks, HOOK_PRESTART, err));
	hooks_free(hooks);
}

static void test_failure(void **state)
{
	_cleanup_free_ char *status =
		xasprintf("prestart hook 0, %s/fails, ended with status 3: no such card",
			scratch.path);
	_cleanup_free_ char *signal = xasprintf(
		"createRuntime hook 1, %s/killed, ended with signal 9", scratch.path);
	_cleanup_free_ char *missing = xasprintf(
		"prestart hook 0, %s/none, cannot be run: No such file or directory",
		scratch.path);
	struct hooks *hooks;

	(void)state;
	write_program("fails", "echo no such card >&2; exit 3");
	write_program("killed", "kill -9 $$");
	write_program("well", "echo well >>well.log");
	write_program("late", "echo well >>late.log");
	hooks = hooks_of("prestart", "fails", "well");
	assert_err(run(hooks, HOOK_PRESTART, err), -EIO, status);
	assert_false(scratch_has(&scratch, "well.log"));
	hooks_free(hooks);
	hooks = hooks_of("createRuntime", "well", "killed");
	assert_err(run(hooks, HOOK_CREATE_RUNTIME, err), -EIO, signal);
	hooks_free(hooks);
	hooks = hooks_of("prestart", "none", "well");
	assert_err(run(hooks, HOOK_PRESTART, err), -ENOENT, missing);
	hooks_free(hooks);
	assert_true(scratch_has(&scratch, "well.log"));
	/* What comes late is told to the log alone, and holds up none. */
	hooks = hooks_of("poststop", "fails", "late");
	assert_ok(run(hooks, HOOK_POSTSTOP, err));
	assert_true(scratch_has(&scratch, "late.log"));
	hooks_free(hooks);
}

/* Ends with all that it has started in its group, and says who it was. */
static void test_timeout(void **state)
{
	_cleanup_free_ char *text = xasprintf(
		"{\"hooks\":{\"prestart\":[{\"path\":\"%s/hangs\",\"timeout\":1}]}}",
		scratch.path);
	_cleanup_free_ char *message = xasprintf(
		"prestart hook 0, %s/hangs, has not ended after 1 s", scratch.path);
	_cleanup_free_ char *child = NULL;
	struct hooks *hooks = read_hooks(text);
	_cleanup_close_ int pidfd = -1;

	(void)state;
	write_program("hangs", "sleep 1000 & echo $! >child; wait");
	assert_err(run(hooks, HOOK_PRESTART, err), -ETIMEDOUT, message);
	hooks_free(hooks);
	child = slurp("child");
	/* It may be gone altogether. */
	if (pidfd_of((pid_t)strtol(child, NULL, 10), &pidfd) == 0)
		assert_int_equal(pidfd_wait(pidfd, soon()), 0);
}

static void *run_hanging(void *arg)
{
	struct err err = ERR_INIT;

	return (void *)(intptr_t)run(arg, HOOK_POSTSTART, &err);
}

/* Nobody wants it any more. */
static void test_void(void **state)
{
	_cleanup_free_ char *fifo = scratch_path(&scratch, "begun");
	struct hooks *hooks = hooks_of("poststart", "waits", "after");
	_cleanup_close_ int fd = -1;
	pthread_t thread;
	void *outcome;

	(void)state;
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDWR | O_CLOEXEC);
	write_program("waits", "echo >begun; exec sleep 1000");
	write_program("after", "echo >after.log");
	assert_int_equal(thread_start(run_hanging, hooks, 0, false, &thread), 0);
	assert_int_equal(wait_fd(fd, POLLIN, soon()), 0);
	assert_int_equal(eventfd_write(void_fd, 1), 0);
	pthread_join(thread, &outcome);
	assert_int_equal((intptr_t)outcome, -ECANCELED);
	assert_false(scratch_has(&scratch, "after.log"));
	hooks_free(hooks);
}

static int setup(void **state)
{
	scratch_make(&scratch);
	void_fd = eventfd(0, EFD_CLOEXEC);
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	close(void_fd);
	scratch_remove(&scratch);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refused),
		TEST(test_none),
		TEST(test_runs),
		TEST(test_much),
		TEST(test_failure),
		TEST(test_timeout),
		TEST(test_void),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
