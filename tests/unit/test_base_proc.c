/* SPDX-License-Identifier: Apache-2.0 */
/* base/proc, base/thread, base/util: processes by identity, waits with deadlines. */
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"

/* A child that waits for its end, under a name that is hard to read in
 * /proc/<pid>/stat. */
static pid_t child(void)
{
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, ") 1 2 (x");
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &(char){0}, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void test_process(void **state)
{
	struct proc_id id, reused;
	pid_t pid = child();
	int pidfd, other = -1;

	(void)state;
	assert_int_equal(proc_id_of(pid, &id), 0);
	assert_int_equal(id.pid, pid);
	assert_true(id.start_ticks > 0);
	assert_int_equal(proc_open(&id, &pidfd), 0);
	/* The same number with another start is another process. */
	reused = (struct proc_id){.pid = pid, .start_ticks = id.start_ticks + 1};
	assert_int_equal(proc_open(&reused, &other), -ESRCH);
	assert_int_equal(other, -1);
	assert_int_equal(pidfd_wait(pidfd, deadline_after_ms(10)), -ETIMEDOUT);
	assert_int_equal(pidfd_kill(pidfd, SIGTERM), 0);
	assert_int_equal(pidfd_wait(pidfd, soon()), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(pidfd_kill(pidfd, SIGTERM), -ESRCH);
	close(pidfd);
	assert_int_equal(proc_open(&id, &other), -ESRCH);
	assert_int_equal(proc_id_of(pid, &id), -ESRCH);
	assert_int_equal(pidfd_of(pid, &other), -ESRCH);
}

/* Without one of its own a program gets our environment, as it is when it is started. */
static void test_environment(void **state)
{
	char *argv[] = {"sh", "-c", "test \"$OURS\" = now", NULL}, *none[] = {NULL};
	struct proc_program program = {.path = "/bin/sh", .argv = argv};
	pid_t pid;

	(void)state;
	assert_int_equal(setenv("OURS", "now", 1), 0);
	assert_int_equal(proc_spawn(&program, &pid), 0);
	assert_int_equal(proc_reap(pid), 0);
	program.env = none;
	assert_int_equal(proc_spawn(&program, &pid), 0);
	assert_int_equal(proc_reap(pid), 1 << 8);
	assert_int_equal(unsetenv("OURS"), 0);
}

static void *answer(void *arg)
{
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	*(int *)arg = sigismember(&blocked, SIGTERM) == 1 ? 1 : -1;
	return arg;
}

static void test_thread(void **state)
{
	pthread_t thread;
	sigset_t mask;
	void *result;
	int value = 0;

	(void)state;
	assert_int_equal(thread_start(answer, &value, 0, false, &thread), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &value);
	assert_int_equal(value, 1);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

struct box {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool full;
};

static void *fill(void *arg)
{
	struct box *box = arg;

	pthread_mutex_lock(&box->lock);
	box->full = true;
	pthread_cond_signal(&box->cond);
	pthread_mutex_unlock(&box->lock);
	return NULL;
}

static void test_cond_wait(void **state)
{
	struct box box = {.lock = PTHREAD_MUTEX_INITIALIZER};
	int64_t deadline = deadline_after_ms(20);
	pthread_t thread;

	(void)state;
	cond_init(&box.cond);
	pthread_mutex_lock(&box.lock);
	assert_int_equal(cond_wait(&box.cond, &box.lock, deadline), -ETIMEDOUT);
	assert_true(now_ms() >= deadline);
	assert_int_equal(thread_start(fill, &box, 0, false, &thread), 0);
	while (!box.full)
		assert_int_equal(cond_wait(&box.cond, &box.lock, DEADLINE_NONE), 0);
	pthread_mutex_unlock(&box.lock);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&box.cond);
}

static void test_util(void **state)
{
	_cleanup_free_ char *text = xasprintf("%d-%s", 1, "a");
	char *p = xstrndup("abcdef", 3);
	char *stolen = steal_ptr(p);
	int fd = 5;

	(void)state;
	assert_string_equal(text, "1-a");
	assert_null(p);
	assert_string_equal(stolen, "abc");
	free(stolen);
	assert_int_equal(steal_fd(&fd), 5);
	assert_int_equal(fd, -1);
	assert_true(align_up(0, 128) == 0);
	assert_true(align_up(1, 128) == 128);
	assert_true(align_up(128, 128) == 128);
	assert_int_equal(deadline_poll_ms(DEADLINE_NONE), -1);
	assert_int_equal(deadline_poll_ms(now_ms() - 5), 0);
	assert_int_equal(deadline_poll_ms(now_ms() + ((int64_t)1 << 40)), INT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_thread),
		cmocka_unit_test(test_cond_wait),
		cmocka_unit_test(test_util),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
