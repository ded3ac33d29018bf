/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: see proc.h. */
#include "base/proc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

int proc_stat_of(pid_t pid, struct proc_stat *ret)
{
	char path[64];
	_cleanup_free_ char *text = NULL;
	const char *rest;
	size_t len;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = file_read(AT_FDCWD, path, 4096, &text, &len, NULL);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	/* The name (field 2) may hold spaces and parentheses: count from the last one.
	 * These are the fields 14, 15, 22 and 24. */
	rest = strrchr(text, ')');
	if (!rest ||
		sscanf(rest + 1,
			" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64
			" %" SCNu64 " %*d %*d %*d %*d %*d %*d %" SCNu64 " %*u %" SCNu64,
			&ret->user_ticks, &ret->system_ticks, &ret->start_ticks,
			&ret->resident_pages) != 4)
		return -EBADMSG;
	return 0;
}

int proc_id_of(pid_t pid, struct proc_id *ret)
{
	struct proc_stat stat;
	int r = proc_stat_of(pid, &stat);

	if (r < 0)
		return r;
	*ret = (struct proc_id){.pid = pid, .start_ticks = stat.start_ticks};
	return 0;
}

int proc_open(const struct proc_id *id, int *ret_pidfd)
{
	_cleanup_close_ int fd = -1;
	struct proc_id now;
	int r = pidfd_of(id->pid, &fd);

	if (r < 0)
		return r;
	/* Read after the pidfd was opened: from here on the pid can't change its owner
	 * unseen. */
	r = proc_id_of(id->pid, &now);
	if (r < 0)
		return r;
	if (!proc_id_equal(&now, id))
		return -ESRCH;
	*ret_pidfd = steal_fd(&fd);
	return 0;
}

int proc_end(const struct proc_id *id, int64_t deadline)
{
	_cleanup_close_ int pidfd = -1;
	int r = proc_open(id, &pidfd);

	if (r == 0)
		r = pidfd_kill(pidfd, SIGKILL);
	if (r == 0)
		r = pidfd_wait(pidfd, deadline);
	return r == -ESRCH ? 0 : r;
}

int pidfd_of(pid_t pid, int *ret_pidfd)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	*ret_pidfd = (int)fd;
	return 0;
}

int pidfd_kill(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int pidfd_wait(int pidfd, int64_t deadline)
{
	return wait_fd(pidfd, POLLIN, deadline);
}

static void set_attributes(posix_spawnattr_t *attr, const struct proc_program *program)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &all);
	posix_spawnattr_setflags(
		attr, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
			      (program->session ? POSIX_SPAWN_SETSID : 0)));
}

int proc_spawn(const struct proc_program *program, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int high[PROC_FDS_MAX], r = 0;

	assert(program->n_fds <= PROC_FDS_MAX);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	for (unsigned int i = 0; i < program->n_fds; i++) {
		/* Above those that the program gets: none is overwritten before its
		 * turn. */
		high[i] = fcntl(program->fds[i], F_DUPFD_CLOEXEC, PROC_FDS_MAX);
		if (high[i] < 0)
			r = errno;
		posix_spawn_file_actions_adddup2(&actions, high[i], (int)i);
	}
	if (program->folder)
		posix_spawn_file_actions_addchdir_np(&actions, program->folder);
	set_attributes(&attr, program);
	if (r == 0)
		r = posix_spawn(ret_pid, program->path, &actions, &attr, program->argv,
			program->env ? program->env : environ);
	for (unsigned int i = 0; i < program->n_fds; i++)
		close_fd(high[i]);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int proc_reap(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

void proc_reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
