/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with small stacks, and waits that end at a deadline. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A condition variable for cond_wait(): its clock is that of our deadlines. */
void cond_init(pthread_cond_t *cond);
/* pthread_cond_(timed)wait() to a deadline: 0 or -ETIMEDOUT. */
int cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline);

/*
 * Starts a thread with a small stack (64 KiB of address space unless stack_bytes is
 * larger; only touched pages count) and all signals blocked. detached: nobody joins it;
 * else *ret_thread.
 */
int thread_start(void *(*fn)(void *), void *arg, size_t stack_bytes, bool detached,
	pthread_t *ret_thread);

/* Makes an eventfd readable for who waits for it; for signal handlers, too. It can't
 * fail: a thread that was not woken would be waited for for ever. */
void thread_wake(int event_fd);
