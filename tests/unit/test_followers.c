/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing of the end of processes: once for each, whoever else has their descriptors. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/followers.h"

#define PROCESSES 8

struct fixture {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int ended[PROCESSES], all;
	unsigned int *expected; /* the only one that may end now */
	bool wrong;
};

static void on_end(void *user, void *what)
{
	struct fixture *f = user;
	unsigned int *count = what;

	pthread_mutex_lock(&f->lock);
	(*count)++;
	f->all++;
	f->wrong = f->wrong || (f->expected && count != f->expected);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static pid_t start(int *ret_pidfd)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(pidfd_of(pid, ret_pidfd), 0);
	return pid;
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void wait_for(struct fixture *f, unsigned int n)
{
	pthread_mutex_lock(&f->lock);
	while (f->all < n)
		assert_int_equal(cond_wait(&f->changed, &f->lock, soon()), 0);
	pthread_mutex_unlock(&f->lock);
}

static void test_once_each(void **state)
{
	struct fixture f = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct followers *followers;
	int copies[PROCESSES];
	pid_t pids[PROCESSES];

	(void)state;
	cond_init(&f.changed);
	followers = followers_new(on_end, &f);
	for (int i = 0; i < PROCESSES; i++) {
		int pidfd;

		pids[i] = start(&pidfd);
		/* As a child has it between fork and exec. */
		copies[i] = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
		assert_int_equal(followers_add(followers, pidfd, &f.ended[i]), 0);
	}
	for (int i = PROCESSES - 1; i > 0; i--) {
		pthread_mutex_lock(&f.lock);
		f.expected = &f.ended[i];
		pthread_mutex_unlock(&f.lock);
		end(pids[i]);
		wait_for(&f, (unsigned int)(PROCESSES - i));
	}
	/* One still lives. */
	followers_free(followers);
	assert_false(f.wrong);
	assert_int_equal(f.all, PROCESSES - 1);
	assert_int_equal(f.ended[0], 0);
	for (int i = 1; i < PROCESSES; i++)
		assert_int_equal(f.ended[i], 1);
	end(pids[0]);
	for (int i = 0; i < PROCESSES; i++)
		close(copies[i]);
}

static void test_ended_before(void **state)
{
	struct fixture f = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct followers *followers;
	int pidfd;
	pid_t pid = start(&pidfd);

	(void)state;
	cond_init(&f.changed);
	end(pid);
	followers = followers_new(on_end, &f);
	assert_int_equal(followers_add(followers, pidfd, &f.ended[0]), 0);
	wait_for(&f, 1);
	assert_true(followers_add(followers, -1, &f.ended[1]) < 0);
	followers_free(followers);
	assert_int_equal(f.all, 1);
	followers_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once_each),
		cmocka_unit_test(test_ended_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
