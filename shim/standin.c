/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of the host that stand for those of the guest: see standin.h. */
#include "shim/standin.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/proc.h"
#include "base/thread.h"

/* The program lies beside the file server. */
#define PROGRAM "stencil-task"

/* It has nothing to do but to begin. */
#define START_TIMEOUT_MS 60000

struct standin {
	struct standin *next; /* of those that run */
	struct standins *all;
	char *container_id, *exec_id;
	pid_t pid;
	int sock; /* -1: it has ended and is reaped */
};

struct standins {
	standin_signalled signalled;
	void *user;
	int epoll_fd, wake_fd;
	pthread_t thread;

	pthread_mutex_t lock;
	struct standin *running;
};

/* ---- the child: system calls only ---- */

struct child {
	const struct standin_config *config;
	int program_fd, root_fd, null_fd, sock, parents_sock;
};

static void __attribute__((noreturn)) child_fail(const struct child *c, const char *what)
{
	struct standin_message message = {.code = -errno};

	strncpy(message.what, what, sizeof(message.what) - 1);
	(void)!send(c->sock, &message, sizeof(message), MSG_NOSIGNAL);
	_exit(EXIT_FAILURE);
}

static void child_enter(const struct child *c, int fd, int type)
{
	if (fd >= 0 && setns(fd, type) < 0)
		child_fail(c, "enter the pod's namespaces");
	if (fd < 0 && unshare(type) < 0)
		child_fail(c, "make the pod's namespaces");
}

static void child_enter_namespaces(const struct child *c)
{
	const struct standin_config *config = c->config;

	child_enter(c, config->netns_fd, CLONE_NEWNET);
	if (config->netns_fd < 0 && loopback_raise() < 0)
		child_fail(c, "raise lo in a new network namespace");
	child_enter(c, config->ipcns_fd, CLONE_NEWIPC);
	child_enter(c, config->utsns_fd, CLONE_NEWUTS);
	if (config->utsns_fd < 0 &&
		sethostname(config->hostname, strlen(config->hostname)) < 0)
		child_fail(c, "set the hostname in a new uts namespace");
}

static void __attribute__((noreturn)) child_run(const struct child *c)
{
	char *const env[] = {NULL};

	close(c->parents_sock); /* or the shim's death would not end the socket */
	proc_reset_signals();
	child_enter_namespaces(c);
	if (setsid() < 0)
		child_fail(c, "setsid");
	if (fchdir(c->root_fd) < 0 || chroot(".") < 0)
		child_fail(c, "change the root");
	for (int fd = 0; fd < STANDIN_FD; fd++)
		if (dup2(c->null_fd, fd) < 0)
			child_fail(c, "arrange descriptors");
	if (dup2(c->sock, STANDIN_FD) < 0)
		child_fail(c, "arrange descriptors");
	syscall(SYS_execveat, c->program_fd, "", c->config->argv, env, AT_EMPTY_PATH);
	child_fail(c, "execute it");
}

/* ---- starting one ---- */

/* Out of the way of those that the child arranges. */
static int fd_high(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, STANDIN_FD + 1);
	int error = errno;

	close_fd(fd);
	errno = error;
	return high;
}

static int open_program(const char *file_server, int *ret_fd, struct err *err)
{
	const char *slash = strrchr(file_server, '/');
	_cleanup_free_ char *path = xasprintf("%.*s/" PROGRAM,
		slash ? (int)(slash - file_server) : 1, slash ? file_server : ".");

	*ret_fd = fd_high(open(path, O_PATH | O_CLOEXEC));
	return *ret_fd < 0 ? err_sys(err, errno,
				     "cannot open %s (it is beside the file server, key "
				     "file_server of [runtime])",
				     path)
			   : 0;
}

static int fork_child(struct standin *s, struct child *c, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	s->sock = c->parents_sock = pair[0];
	c->sock = fd_high(pair[1]);
	if (c->sock < 0)
		return err_sys(err, errno, "cannot duplicate a descriptor");
	s->pid = fork();
	if (s->pid == 0)
		child_run(c);
	close(c->sock);
	return s->pid < 0 ? err_sys(err, errno, "fork") : 0;
}

static int wait_until_ready(struct standin *s, struct err *err)
{
	struct standin_message message;
	ssize_t n = sock_recv(s->sock, &message, sizeof(message), NULL, 0,
		deadline_after_ms(START_TIMEOUT_MS));

	if (n < 0)
		return err_sys(err, (int)n, "it does not begin");
	if (n != sizeof(message))
		return err_set(err, -EPIPE, "it ended at once");
	message.what[sizeof(message.what) - 1] = '\0';
	return message.code < 0 ? err_sys(err, message.code, "%s",
					  *message.what ? message.what : PROGRAM)
				: 0;
}

static int start_child(
	struct standin *s, const struct standin_config *config, struct err *err)
{
	_cleanup_close_ int program_fd = -1, root_fd = -1, null_fd = -1;
	struct child c = {.config = config};
	int r = open_program(config->file_server, &program_fd, err);

	if (r < 0)
		return r;
	root_fd = fd_high(open(config->root, O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (root_fd < 0)
		return err_sys(err, errno, "cannot open %s", config->root);
	null_fd = fd_high(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (null_fd < 0)
		return err_sys(err, errno, "cannot open /dev/null");
	c.program_fd = program_fd;
	c.root_fd = root_fd;
	c.null_fd = null_fd;
	r = fork_child(s, &c, err);
	return r < 0 ? r : wait_until_ready(s, err);
}

/* ---- its end ---- */

/* With the lock. A child that was not reaped yet keeps its pid. */
static void end_locked(struct standin *s)
{
	struct standin **at = &s->all->running;

	if (s->sock < 0)
		return;
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	close_fd(steal_fd(&s->sock)); /* the epoll instance forgets it, too */
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void standin_end(struct standin *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->all->lock);
	end_locked(s);
	pthread_mutex_unlock(&s->all->lock);
}

void standin_free(struct standin *s)
{
	if (!s)
		return;
	standin_end(s);
	free(s->container_id);
	free(s->exec_id);
	free(s);
}

/* ---- one ---- */

static int add_running(struct standin *s, struct err *err)
{
	struct standins *all = s->all;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
	int r = 0;

	pthread_mutex_lock(&all->lock);
	if (epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, s->sock, &event) < 0) {
		r = err_sys(err, errno, "epoll_ctl");
	} else {
		s->next = all->running;
		all->running = s;
	}
	pthread_mutex_unlock(&all->lock);
	return r;
}

int standin_new(struct standins *all, const struct standin_config *config,
	struct standin **ret, struct err *err)
{
	_cleanup_(standin) struct standin *s = xnew0(struct standin);
	int r;

	s->all = all;
	s->sock = -1;
	s->container_id = xstrdup(config->container_id);
	s->exec_id = xstrdup(config->exec_id);
	r = start_child(s, config, err);
	if (r == 0)
		r = add_running(s, err);
	if (r < 0)
		return err_wrap(err, "cannot start the process that stands for %s%s%s",
			config->container_id, *config->exec_id ? ", " : "",
			config->exec_id);
	*ret = steal_ptr(s);
	return 0;
}

pid_t standin_pid(const struct standin *s)
{
	return s->pid;
}

int standin_join_cgroup(
	const struct standin *s, const int *fds, unsigned int n, struct err *err)
{
	char pid[16];
	int len = snprintf(pid, sizeof(pid), "%d", (int)s->pid);

	for (unsigned int i = 0; i < n; i++)
		/* One that has ended meanwhile is in no group. */
		if (fds[i] >= 0 && write(fds[i], pid, (size_t)len) < 0 && errno != ESRCH)
			return err_sys(err, errno,
				"cannot put process %s into the VM's cgroup", pid);
	return 0;
}

int standin_open_namespace(
	const struct standin *s, const char *file, int *ret_fd, struct err *err)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)s->pid, file);
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, errno, "cannot open %s", path) : 0;
}

/* ---- listening to them ---- */

struct heard {
	char *container_id, *exec_id;
	int signal; /* 0: none */
};

static bool is_running_locked(const struct standins *all, const struct standin *s)
{
	const struct standin *at = all->running;

	while (at && at != s)
		at = at->next;
	return at;
}

/* The end of one that nobody has ended here is that of SIGKILL. */
static struct heard hear_standin(struct standins *all, struct standin *s)
{
	struct standin_message message;
	struct heard heard = {0};
	ssize_t n;

	pthread_mutex_lock(&all->lock);
	/* It may have ended, and be no more, since epoll_wait(2) named it. */
	if (is_running_locked(all, s)) {
		n = recv(s->sock, &message, sizeof(message), MSG_DONTWAIT);
		if (n == sizeof(message))
			heard.signal = message.signal;
		else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			heard.signal = SIGKILL;
		heard.container_id = xstrdup(s->container_id);
		heard.exec_id = xstrdup(s->exec_id);
		if (heard.signal == SIGKILL)
			end_locked(s);
	}
	pthread_mutex_unlock(&all->lock);
	return heard;
}

static void *listen_main(void *arg)
{
	struct standins *all = arg;
	struct epoll_event event;

	for (;;) {
		struct heard heard;
		int n = epoll_wait(all->epoll_fd, &event, 1, -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || !event.data.ptr)
			return NULL;
		heard = hear_standin(all, event.data.ptr);
		if (heard.signal)
			all->signalled(all->user, heard.container_id, heard.exec_id,
				heard.signal);
		free(heard.container_id);
		free(heard.exec_id);
	}
}

static int start_listening(struct standins *all, struct err *err)
{
	struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
	int r;

	all->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	all->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (all->epoll_fd < 0 || all->wake_fd < 0 ||
		epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, all->wake_fd, &wake) < 0)
		return err_sys(err, errno, "cannot listen to the stand-ins");
	r = thread_start(listen_main, all, 0, false, &all->thread);
	return r < 0 ? err_sys(err, r, "cannot start a thread") : 0;
}

static void destroy_standins(struct standins *all)
{
	close_fd(all->epoll_fd);
	close_fd(all->wake_fd);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

int standins_new(standin_signalled fn, void *user, struct standins **ret, struct err *err)
{
	struct standins *all = xnew0(struct standins);
	int r;

	all->signalled = fn;
	all->user = user;
	all->epoll_fd = all->wake_fd = -1;
	pthread_mutex_init(&all->lock, NULL);
	r = start_listening(all, err);
	if (r < 0) {
		destroy_standins(all);
		return r;
	}
	*ret = all;
	return 0;
}

void standins_free(struct standins *all)
{
	if (!all)
		return;
	thread_wake(all->wake_fd);
	pthread_join(all->thread, NULL);
	destroy_standins(all);
}
