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

/* A program of the host's to run: with these descriptors and no other, no signal blocked
 * or ignored. */
#define PROC_FDS_MAX 8
struct proc_program {
	char *const *argv; /* NULL at the end */
	char *const *env;  /* so, too; NULL: ours as it is at the call */
	const char *path;
	const char *folder; /* that it begins in; NULL: ours */
	const int *fds;     /* its 0, 1, …; not taken */
	unsigned int n_fds;
	bool session; /* it leads one of its own, and so a process group */
};

/* 0 or a negative errno. */
int proc_spawn(const struct proc_program *program, pid_t *ret_pid);
/* Waits for a child of ours and reaps it; its status as of waitpid(2). */
int proc_reap(pid_t pid);

/* Of a forked child, before it executes another program: no signal is handled, ignored or
 * blocked. System calls only. */
void proc_reset_signals(void);
