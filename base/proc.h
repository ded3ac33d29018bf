/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by pidfd, and the identity (pid, start time) that survives in a file. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * A pid alone may be reused; with its start time (field 22 of /proc/<pid>/stat, clock
 * ticks since boot) it names one process for as long as the host is up.
 */
struct proc_id {
	pid_t pid;
	uint64_t start_ticks;
};

static inline bool proc_id_equal(const struct proc_id *a, const struct proc_id *b)
{
	return a->pid == b->pid && a->start_ticks == b->start_ticks;
}

/* Of /proc/<pid>/stat. */
struct proc_stat {
	uint64_t user_ticks, system_ticks, start_ticks; /* of sysconf(_SC_CLK_TCK) */
	uint64_t resident_pages;
};

/* -ESRCH if there is no such process; so do these two end. */
int proc_stat_of(pid_t pid, struct proc_stat *ret);
int proc_id_of(pid_t pid, struct proc_id *ret);
/* A pidfd of exactly that process, or -ESRCH if it has ended (a zombie still counts). */
int proc_open(const struct proc_id *id, int *ret_pidfd);

/* SIGKILL, and waits for its end: 0 if it has ended, now or before; -ETIMEDOUT. Does not
 * reap. */
int proc_end(const struct proc_id *id, int64_t deadline);

int pidfd_of(pid_t pid, int *ret_pidfd);
int pidfd_kill(int pidfd, int signal);
/* Waits for the end of the process, child or not: 0 or -ETIMEDOUT. Does not reap. */
int pidfd_wait(int pidfd, int64_t deadline);

/* Of a forked child, before it executes another program: no signal is handled, ignored or
 * blocked. System calls only. */
void proc_reset_signals(void);
