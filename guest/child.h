/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes of PID 1: starting helpers,
 * adopting containers' processes, reaping all. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * How it works. child_reap_forever() alone reaps; whoever cares about a process has a
 * struct child for it on a list, and an eventfd in it that becomes (and stays) readable
 * at the process's end. A process that crun left to us may end before anybody can adopt
 * it: between child_expect() and child_unexpect() the last ends of strangers are
 * remembered for child_adopt().
 */
struct child {
	struct child *next;
	pid_t pid;
	int pidfd; /* -1 if it had ended when it was adopted */
	int exit_fd;
	int status; /* valid once exit_fd is readable: exit code, or 128 + signal */
};

/* Before any thread: blocks the signals PID 1 handles. */
void child_init(void);
_Noreturn void child_reap_forever(void);

/* Starts argv with stdio (three descriptors, not taken) as its standard ones,
 * in no session of ours. */
int child_spawn(struct child *c, char *const *argv, const int stdio[3], struct err *err);

void child_expect(void);
void child_unexpect(void);
/* Makes *c stand for pid, a process that was left to us and has not been adopted yet. */
int child_adopt(struct child *c, pid_t pid, struct err *err);

bool child_has_ended(const struct child *c);
/* 0 once it has ended, -ETIMEDOUT, or -ECONNRESET if closed_fd (-1: none) was first. */
int child_wait(const struct child *c, int closed_fd, int64_t deadline);
/* -ESRCH if it has ended. */
int child_kill(const struct child *c, int signal);

/* Takes it off the list and closes its descriptors; kills nothing.
 * A zeroed one is fine. */
void child_done(struct child *c);
