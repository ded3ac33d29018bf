/* SPDX-License-Identifier: Apache-2.0 */
/* guest/child: as process 1, what becomes of children, orphans and strangers. */
#include "tests/unit/guest_reaper.h"

#include <sys/resource.h>

static void test_statuses(void **state)
{
	static const struct {
		const char *script;
		int status;
	} cases[] = {
		{"exit 0", 0},
		{"exit 7", 7},
		{"exit 255", 255},
		{"kill -TERM $$", 128 + SIGTERM},
		{"kill -KILL $$", 128 + SIGKILL},
	};
	static struct child c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		spawn_shell(&c, cases[i].script, NULL);
		assert_int_equal(end_of(&c), cases[i].status);
	}
}

/* The end stays, whoever asks and how often. */
static void test_wait_twice(void **state)
{
	static struct child c;

	(void)state;
	spawn_shell(&c, "exit 3", NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(child_wait(&c, -1, soon()), 0);
		assert_int_equal(c.status, 3);
		assert_true(child_has_ended(&c));
	}
	assert_int_equal(child_kill(&c, SIGKILL), -ESRCH);
	child_done(&c);
	assert_int_equal(c.exit_fd, -1);
	child_done(&c);
	c = (struct child){0};
	child_done(&c);
}

static void test_not_executable(void **state)
{
	char *const argv[] = {"/no/such", NULL};
	const int stdio[3] = {0, 1, 2};
	unsigned int fds = count_fds();
	struct err err = ERR_INIT;
	static struct child c;

	(void)state;
	assert_error(child_spawn(&c, argv, stdio, &err), -ENOENT,
		"execute /no/such: No such file or directory");
	assert_int_equal(c.exit_fd, -1);
	assert_int_equal(count_fds(), fds);
}

/* Without a pidfd it could not be killed later, so it is now. */
static void test_no_descriptor_left(void **state)
{
	char *const argv[] = {"/bin/sh", "-c", "read line", NULL};
	_cleanup_close_ int next = open("/dev/null", O_RDWR | O_CLOEXEC);
	int in[2], stdio[3] = {-1, next, next};
	struct rlimit was, low;
	struct err err = ERR_INIT;
	static struct child c;
	int r;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	stdio[0] = in[0];
	low = (struct rlimit){.rlim_cur = (rlim_t)in[1] + 2, .rlim_max = was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	r = child_spawn(&c, argv, stdio, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_error(r, -EMFILE, "execute /bin/sh: Too many open files");
	/* Soon nobody has the reading end any more. */
	close(in[0]);
	assert_int_equal(wait_fd(in[1], 0, soon()), 0);
	close(in[1]);
}

/* Ends when the pipe does: the deadline or the other descriptor come first. */
static void test_wait_ends(void **state)
{
	int in[2], closed[2];
	static struct child c;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC) + pipe2(closed, O_CLOEXEC), 0);
	spawn_shell(&c, "read line", (int[]){in[0], in[0], in[0]});
	assert_int_equal(child_wait(&c, -1, now_ms()), -ETIMEDOUT);
	assert_int_equal(child_wait(&c, closed[0], now_ms()), -ETIMEDOUT);
	close(closed[1]);
	assert_int_equal(child_wait(&c, closed[0], soon()), -ECONNRESET);
	assert_false(child_has_ended(&c));
	close(in[1]);
	assert_int_equal(end_of(&c), 1);
	close(in[0]);
	close(closed[0]);
}

static void test_kill(void **state)
{
	static struct child c;
	int in[2];

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	spawn_shell(&c, "read line", (int[]){in[0], in[0], in[0]});
	assert_int_equal(child_kill(&c, SIGUSR1), 0);
	assert_int_equal(end_of(&c), 128 + SIGUSR1);
	close(in[0]);
	close(in[1]);
}

/* It starts with no signal blocked or ignored and in a session of its own. */
static void test_clean_start(void **state)
{
	/* glibc's posix_spawn() leaves 32 and 33, its own, ignored. */
	static const char script[] =
		"test $(cut -d' ' -f6 /proc/$$/stat) = $$ &&"
		"grep -q 'SigBlk:.*0000000000000000' /proc/self/status &&"
		"grep -q 'SigIgn:.*[08]0000000$' /proc/self/status";
	static struct child c;

	(void)state;
	spawn_shell(&c, script, NULL);
	assert_int_equal(end_of(&c), 0);
}

/* ---- orphans ---- */

/* A process that its parent, which has ended, left to us, as crun does with a
 * container's; it ends with 5 when *ret_in is closed. */
static pid_t make_orphan(int *ret_in)
{
	int in[2], out[2];
	static struct child parent;
	char text[16] = "";

	assert_int_equal(pipe2(in, O_CLOEXEC) + pipe2(out, O_CLOEXEC), 0);
	/* What a shell runs behind has no standard input but what it is given. */
	spawn_shell(&parent, "exec 3<&0; (read line <&3; exit 5) >&2 & echo $!",
		(int[]){in[0], out[1], in[0]});
	assert_int_equal(end_of(&parent), 0);
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	close(in[0]);
	close(out[0]);
	close(out[1]);
	*ret_in = in[1];
	return (pid_t)strtol(text, NULL, 10);
}

static void test_adopt_running(void **state)
{
	struct err err = ERR_INIT;
	static struct child c;
	pid_t pid;
	int in;

	(void)state;
	child_expect();
	pid = make_orphan(&in);
	assert_int_equal(child_adopt(&c, pid, &err), 0);
	child_unexpect();
	assert_int_equal(c.pid, pid);
	assert_false(child_has_ended(&c));
	close(in);
	assert_int_equal(end_of(&c), 5);
}

/* One of ours that ends at once. */
static pid_t make_stranger(int status)
{
	pid_t pid = fork();
	siginfo_t info;

	if (pid == 0)
		_exit(status);
	assert_true(pid > 0);
	/* If the reaper was faster, it has ended as well. */
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	return pid;
}

static void test_adopt_ended(void **state)
{
	struct err err = ERR_INIT;
	static struct child c;
	pid_t pid;

	(void)state;
	child_expect();
	pid = make_stranger(9);
	settle();
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(child_adopt(&c, pid, &err), 0);
	assert_int_equal(child_kill(&c, SIGKILL), -ESRCH);
	child_unexpect();
	assert_int_equal(end_of(&c), 9);
}

static void assert_gone(pid_t pid)
{
	struct err err = ERR_INIT;
	unsigned int fds = count_fds();
	static struct child c;
	char text[64];

	snprintf(text, sizeof(text), "adopt process %d: No such process", (int)pid);
	assert_error(child_adopt(&c, pid, &err), -ESRCH, text);
	assert_int_equal(count_fds(), fds);
}

/* Nobody's end is kept unless somebody may ask for it, and then the last 64. */
static void test_strangers(void **state)
{
	struct err err = ERR_INIT;
	pid_t unexpected, first, last[64];
	static struct child c;

	(void)state;
	unexpected = make_stranger(1);
	settle();
	child_expect();
	assert_gone(unexpected);
	first = make_stranger(1);
	settle();
	for (int i = 0; i < 64; i++)
		last[i] = make_stranger(i);
	settle();
	assert_gone(first);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(child_adopt(&c, last[i], &err), 0);
		assert_int_equal(end_of(&c), i);
	}
	child_unexpect();
	/* The next time begins with nothing. */
	child_expect();
	assert_gone(last[63]);
	child_unexpect();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_wait_twice),
		cmocka_unit_test(test_not_executable),
		cmocka_unit_test(test_no_descriptor_left),
		cmocka_unit_test(test_wait_ends),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_clean_start),
		cmocka_unit_test(test_adopt_running),
		cmocka_unit_test(test_adopt_ended),
		cmocka_unit_test(test_strangers),
	};

	world_enter(0);
	reaper_start();
	return cmocka_run_group_tests_name("guest/child", tests, NULL, NULL);
}
