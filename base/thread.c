/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: see thread.h. */
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

static struct timespec deadline_timespec(int64_t deadline)
{
	if (deadline == DEADLINE_NONE)
		return (struct timespec){.tv_sec = LONG_MAX / 2};
	return (struct timespec){
		.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
}

void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

int cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline)
{
	struct timespec ts;

	if (deadline == DEADLINE_NONE)
		return -pthread_cond_wait(cond, lock);
	ts = deadline_timespec(deadline);
	return -pthread_cond_timedwait(cond, lock, &ts);
}

int thread_start(void *(*fn)(void *), void *arg, size_t stack_bytes, bool detached,
	pthread_t *ret_thread)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, MAX(stack_bytes, (size_t)64 * 1024));
	if (detached)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r == 0 && ret_thread)
		*ret_thread = thread;
	return -r;
}

void thread_wake(int event_fd)
{
	const uint64_t one = 1;
	int saved = errno;

	/* EAGAIN: it has been set so often that its counter is full, and so is readable.
	 * EBADF, EINVAL: a fault of ours. All others pass. */
	while (write(event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		assert(errno != EBADF && errno != EINVAL);
	errno = saved;
}
