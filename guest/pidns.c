/* SPDX-License-Identifier: Apache-2.0 */
/* The pid namespace that containers of one pod may share: see pidns.h. */
#include "guest/pidns.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A copy of a process with threads: system calls only. All signals are blocked, as in its
 * parent; those of its namespace could not end it anyway. */
static _Noreturn void pause_forever(void)
{
	sigset_t chld;

	prctl(PR_SET_NAME, "pause");
	syscall(SYS_close_range, 0, ~0u, 0);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		sigwaitinfo(&chld, NULL);
	}
}

static int start_pause(struct child *child, struct err *err)
{
	struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
	long pid;
	int r;

	child_expect();
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		pause_forever();
	if (pid < 0)
		r = err_sys(err, errno, "make the pod's pid namespace");
	else
		r = child_adopt(child, (pid_t)pid, err);
	child_unexpect();
	return r;
}

int pidns_get(struct sandbox *s, char **ret_path, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	/* Killed for memory, say, and all of its namespace with it. */
	if (s->has_pause && child_has_ended(&s->pause)) {
		child_done(&s->pause);
		s->has_pause = false;
	}
	if (!s->has_pause) {
		r = start_pause(&s->pause, err);
		s->has_pause = r == 0;
	}
	if (r == 0)
		*ret_path = xasprintf("/proc/%d/ns/pid", (int)s->pause.pid);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void pidns_end(struct sandbox *s)
{
	bool had;

	pthread_mutex_lock(&s->lock);
	had = s->has_pause;
	s->has_pause = false;
	pthread_mutex_unlock(&s->lock);
	if (!had)
		return;
	child_kill(&s->pause, SIGKILL);
	child_done(&s->pause);
}
