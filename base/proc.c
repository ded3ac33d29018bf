/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: see proc.h. */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
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

void proc_reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
