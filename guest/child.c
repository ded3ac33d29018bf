/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes of PID 1: see child.h. */
#include "guest/child.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "guest/wait.h"

/* Orphans of containers in the guest's own pid namespace end here too: enough that a
 * container's first process is among the last ones, however many others there were. */
#define STRANGERS 64

static struct {
	pthread_mutex_t lock;
	struct child *children;
	unsigned int expected;
	unsigned int n_strangers; /* since expected was 0 */
	struct {
		pid_t pid;
		int status;
	} strangers[STRANGERS];
} reaper = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int exit_code(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
					: WEXITSTATUS(wait_status);
}

static void signal_end(struct child *c, int status)
{
	__atomic_store_n(&c->status, status, __ATOMIC_RELEASE);
	thread_wake(c->exit_fd);
}

/* An eventfd orders nothing between threads: from here on, the reaper's word is there. */
static void see_status(const struct child *c)
{
	(void)__atomic_load_n(&c->status, __ATOMIC_ACQUIRE);
}

static void note_end(pid_t pid, int status)
{
	for (struct child *c = reaper.children; c; c = c->next) {
		if (c->pid == pid && !child_has_ended(c)) {
			signal_end(c, status);
			return;
		}
	}
	if (reaper.expected > 0) {
		reaper.strangers[reaper.n_strangers % STRANGERS].pid = pid;
		reaper.strangers[reaper.n_strangers++ % STRANGERS].status = status;
	}
}

/* Under the lock, so that nobody is between starting a process and listing it. */
static void reap_all(void)
{
	int wait_status;
	pid_t pid;

	pthread_mutex_lock(&reaper.lock);
	while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
		note_end(pid, exit_code(wait_status));
	pthread_mutex_unlock(&reaper.lock);
}

void child_init(void)
{
	sigset_t all;

	/* Blocked in every thread: SIGCHLD is waited for, the others PID 1 has no use
	 * for. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

_Noreturn void child_reap_forever(void)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		reap_all();
		/* A signal that came since is pending: no end is missed. */
		sigwaitinfo(&chld, NULL);
	}
}

static int open_ends(struct child *c, struct err *err)
{
	*c = (struct child){.pidfd = -1};
	c->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return c->exit_fd < 0 ? err_sys(err, errno, "eventfd") : 0;
}

static void list_child(struct child *c, pid_t pid)
{
	c->pid = pid;
	c->next = reaper.children;
	reaper.children = c;
}

static int spawn_program(pid_t *ret_pid, char *const *argv, const int stdio[3])
{
	static char *const env[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int r;

	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, stdio[i], i);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr,
		POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	r = posix_spawn(ret_pid, argv[0], &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int child_spawn(struct child *c, char *const *argv, const int stdio[3], struct err *err)
{
	pid_t pid;
	int r = open_ends(c, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&reaper.lock);
	r = spawn_program(&pid, argv, stdio);
	if (r == 0) {
		r = pidfd_of(pid, &c->pidfd);
		/* Not reaped, so the pid is its own; it ends as a stranger. */
		if (r < 0)
			kill(pid, SIGKILL);
		else
			list_child(c, pid);
	}
	pthread_mutex_unlock(&reaper.lock);
	if (r < 0) {
		child_done(c);
		return err_sys(err, r, "execute %s", argv[0]);
	}
	return 0;
}

void child_expect(void)
{
	pthread_mutex_lock(&reaper.lock);
	if (reaper.expected++ == 0)
		reaper.n_strangers = 0;
	pthread_mutex_unlock(&reaper.lock);
}

void child_unexpect(void)
{
	pthread_mutex_lock(&reaper.lock);
	reaper.expected--;
	pthread_mutex_unlock(&reaper.lock);
}

static bool ended_as_stranger(pid_t pid, int *ret_status)
{
	unsigned int n = MIN(reaper.n_strangers, (unsigned int)STRANGERS);

	for (unsigned int i = 0; i < n; i++) {
		if (reaper.strangers[i].pid == pid) {
			*ret_status = reaper.strangers[i].status;
			return true;
		}
	}
	return false;
}

int child_adopt(struct child *c, pid_t pid, struct err *err)
{
	int status, r = open_ends(c, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&reaper.lock);
	/* A process that ended but wasn't reaped still has a pidfd. */
	r = pidfd_of(pid, &c->pidfd);
	if (r == 0) {
		list_child(c, pid);
	} else if (ended_as_stranger(pid, &status)) {
		list_child(c, pid);
		signal_end(c, status);
		r = 0;
	}
	pthread_mutex_unlock(&reaper.lock);
	if (r < 0) {
		child_done(c);
		return err_sys(err, r, "adopt process %d", (int)pid);
	}
	return 0;
}

bool child_has_ended(const struct child *c)
{
	struct pollfd pfd = {.fd = c->exit_fd, .events = POLLIN};

	if (poll(&pfd, 1, 0) <= 0)
		return false;
	see_status(c);
	return true;
}

int child_wait(const struct child *c, int closed_fd, int64_t deadline)
{
	int r = wait_either(c->exit_fd, POLLIN, closed_fd, deadline);

	if (r == 0)
		see_status(c);
	return r;
}

int child_kill(const struct child *c, int signal)
{
	if (c->pidfd < 0 || child_has_ended(c))
		return -ESRCH;
	return pidfd_kill(c->pidfd, signal);
}

void child_done(struct child *c)
{
	if (c->exit_fd <= 0)
		return;
	pthread_mutex_lock(&reaper.lock);
	for (struct child **at = &reaper.children; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	pthread_mutex_unlock(&reaper.lock);
	close_fd(c->pidfd);
	close_fd(c->exit_fd);
	*c = (struct child){.pidfd = -1, .exit_fd = -1};
}
