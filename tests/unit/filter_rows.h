/* SPDX-License-Identifier: Apache-2.0 */
/* What a system call comes to in a process that has a filter. */
#pragma once

#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel says to a call that the filter lets through is an errno, too: each row
 * has arguments for which that is none that the filter gives, or OK. */
#define OK     0
#define KILLED -1

/* In place of an argument: our own pid. */
#define SELF (-4711)

struct filter_row {
	const char *what;
	long call, args[5];
	int outcome; /* an errno, OK or KILLED */
};

/* In a child, whose filter enter() installs: the call's errno as its exit status, 0 for
 * none. */
static inline int filter_try(const struct filter_row *row, bool (*enter)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		long args[5];

		for (int i = 0; i < 5; i++)
			args[i] = row->args[i] == SELF ? getpid() : row->args[i];
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !enter())
			_exit(254);
		_exit(syscall(row->call, args[0], args[1], args[2], args[3], args[4],
			      0) == -1
				? errno
				: 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return KILLED;
	if (!WIFEXITED(status))
		fail_msg("%s: status 0x%x", row->what, status);
	return WEXITSTATUS(status);
}

static inline void filter_check(
	const struct filter_row *rows, size_t n, bool (*enter)(void))
{
	for (size_t i = 0; i < n; i++) {
		int outcome = filter_try(&rows[i], enter);

		if (outcome != rows[i].outcome)
			fail_msg("%s comes to %d, wanted %d", rows[i].what, outcome,
				rows[i].outcome);
	}
}
