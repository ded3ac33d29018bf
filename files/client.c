/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's file server, as its shim holds it: see client.h.
 *
 * The server is a child. It is told what to do over a socket pair of its own (control.h),
 * one request at a time; a thread waits for its end. Its start ends with the first
 * message of that socket: it serves, or why it does not; a child that could not even
 * become the program says so in the same words.
 */
#include "files/client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "files/control.h"
#include "files/wire.h"

/* What takes milliseconds; a machine under load gets time. */
#define START_TIMEOUT_MS 60000
/* A tree is there at once; one that goes waits for its requests, and they for a disk, or
 * for a guest that does not read. */
#define CALL_TIMEOUT_MS 60000

struct files_client {
	pid_t pid;
	int pidfd, control_fd;
	pthread_t watcher;
	bool watched;
	atomic_bool freed;
	void (*ended)(void *user);
	void *user;

	pthread_mutex_t lock; /* of the talk, and of what follows */
	uint32_t last_id;
	/* Numbers go round: one that is gone is not soon another. */
	unsigned int next_mount;
	bool mounts[FILES_MOUNTS_MAX];
};

/* ---- the child ---- */

/* Where descriptors wait before they get the server's numbers. */
#define HIGH_FD 64

struct child {
	const struct files_start *start;
	int program_fd, control_fd, parents_fd;
	char uid[16];
};

static void __attribute__((noreturn))
child_fail(const struct child *c, const char *step, int code)
{
	struct control_answer answer = {.id = CONTROL_ID_CHILD, .code = -code};

	strncpy(answer.text, step, sizeof(answer.text) - 1);
	send(c->control_fd, &answer, sizeof(answer), MSG_NOSIGNAL);
	_exit(127);
}

static int child_join_cgroups(const struct files_start *start)
{
	for (unsigned int i = 0; i < start->n_cgroup_fds; i++)
		if (start->cgroup_fds[i] >= 0 && write(start->cgroup_fds[i], "0", 1) < 0)
			return -1;
	return 0;
}

/* The rest is closed by exec, and once more by the server. */
static int child_arrange_fds(const struct child *c)
{
	const struct files_start *s = c->start;
	const int from[] = {s->log_fd, s->log_fd, s->log_fd, c->control_fd, s->channel_fd,
		s->window_fd};
	int high[ARRAY_SIZE(from)];

	/* Out of the way first: a source may stand where a target goes. */
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (high[i] < 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		if (dup2(high[i], (int)i) < 0)
			return -1;
	return 0;
}

/* A fork of a process with threads: system calls only. */
static void __attribute__((noreturn)) child_run(const struct child *c)
{
	char *const argv[] = {(char[]){"stencil-files"}, (char *)(uintptr_t)c->uid, NULL};
	char *const env[] = {(char[]){"LC_ALL=C"}, NULL};

	close(c->parents_fd); /* or its death would not end the socket */
	proc_reset_signals();
	if (child_join_cgroups(c->start) < 0)
		child_fail(c, "join the cgroup", errno);
	if (setsid() < 0)
		child_fail(c, "setsid", errno);
	if (child_arrange_fds(c) < 0)
		child_fail(c, "arrange descriptors", errno);
	syscall(SYS_execveat, c->program_fd, "", argv, env, AT_EMPTY_PATH);
	child_fail(c, "execute it", errno);
}

/* ---- starting ---- */

/* A descriptor above those that the child lays over 0 to 5; fd is closed. */
static int fd_high(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	close_fd(fd);
	return high;
}

static int fork_server(
	struct files_client *client, const struct files_start *start, struct err *err)
{
	_cleanup_close_ int program_fd = -1, childs = -1;
	struct child child = {.start = start};
	int pair[2];

	program_fd = fd_high(open(start->program, O_PATH | O_CLOEXEC));
	if (program_fd < 0)
		return err_sys(
			err, errno, "cannot open it (key file_server of [runtime])");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "socketpair");
	client->control_fd = pair[0];
	childs = fd_high(pair[1]);
	if (childs < 0)
		return err_sys(err, errno, "dup");
	child.program_fd = program_fd;
	child.control_fd = childs;
	child.parents_fd = pair[0];
	snprintf(child.uid, sizeof(child.uid), "%u", start->uid);
	client->pid = fork();
	if (client->pid == 0)
		child_run(&child);
	return client->pid < 0 ? err_sys(err, errno, "fork") : 0;
}

/* The answer to this request. One to a former request,
 * whose time ran out, is passed over. */
static int read_answer(
	struct files_client *client, uint32_t id, int64_t deadline, struct err *err)
{
	struct control_answer answer;

	do {
		ssize_t n = sock_recv(
			client->control_fd, &answer, sizeof(answer), NULL, 0, deadline);

		if (n == 0 || n == -ECONNRESET)
			return err_set(err, -EPIPE, "the file server has ended");
		if (n < 0)
			return err_sys(err, (int)n, "no answer from the file server");
		if (n != sizeof(answer) || answer.code > 0)
			return err_set(err, -EPROTO,
				"the file server's answer is none (%zd bytes)", n);
		answer.text[sizeof(answer.text) - 1] = '\0';
		if (answer.id == CONTROL_ID_CHILD)
			return err_sys(err, answer.code, "%s", answer.text);
	} while (answer.id != id);
	return answer.code < 0 ? err_set(err, answer.code, "%s", answer.text) : 0;
}

static void *client_watch(void *arg)
{
	struct files_client *client = arg;

	pidfd_wait(client->pidfd, DEADLINE_NONE);
	if (!client->freed)
		client->ended(client->user);
	return NULL;
}

static int client_start(
	struct files_client *client, const struct files_start *start, struct err *err)
{
	int r;

	r = fork_server(client, start, err);
	if (r < 0)
		return r;
	r = pidfd_of(client->pid, &client->pidfd);
	if (r < 0)
		return err_sys(err, r, "pidfd_open");
	r = read_answer(
		client, CONTROL_ID_START, deadline_after_ms(START_TIMEOUT_MS), err);
	if (r < 0)
		return r;
	r = thread_start(client_watch, client, 0, false, &client->watcher);
	client->watched = r == 0;
	return r < 0 ? err_sys(err, r, "cannot start a thread") : 0;
}

int files_client_new(
	const struct files_start *start, struct files_client **ret, struct err *err)
{
	_cleanup_(files_client) struct files_client *client = xnew0(struct files_client);

	client->pidfd = client->control_fd = -1;
	client->ended = start->ended;
	client->user = start->user;
	pthread_mutex_init(&client->lock, NULL);
	if (client_start(client, start, err) < 0)
		return err_wrap(err, "cannot start the file server (%s)", start->program);
	*ret = steal_ptr(client);
	return 0;
}

void files_client_free(struct files_client *client)
{
	if (!client)
		return;
	client->freed = true;
	/* A child that was not reaped yet keeps its pid. */
	if (client->pid > 0)
		kill(client->pid, SIGKILL);
	if (client->watched)
		pthread_join(client->watcher, NULL);
	if (client->pid > 0)
		while (waitpid(client->pid, NULL, 0) < 0 && errno == EINTR)
			;
	close_fd(client->pidfd);
	close_fd(client->control_fd);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

/* ---- requests ---- */

/* With the lock. fd: -1, or what goes along. */
static int client_call(struct files_client *client, struct control_request *request,
	int fd, struct err *err)
{
	int64_t deadline = deadline_after_ms(CALL_TIMEOUT_MS);
	int r;

	client->last_id++;
	if (client->last_id == CONTROL_ID_CHILD)
		client->last_id = CONTROL_ID_START + 1;
	request->id = client->last_id;
	r = sock_send(
		client->control_fd, request, sizeof(*request), &fd, fd >= 0, deadline);
	if (r == -EPIPE || r == -ECONNRESET)
		return err_set(err, -EPIPE, "the file server has ended");
	if (r < 0)
		return err_sys(err, r, "cannot ask the file server");
	return read_answer(client, request->id, deadline, err);
}

static int find_number(const struct files_client *client, unsigned int *ret)
{
	for (unsigned int i = 0; i < FILES_MOUNTS_MAX; i++) {
		unsigned int number = (client->next_mount + i) % FILES_MOUNTS_MAX;

		if (!client->mounts[number]) {
			*ret = number;
			return 0;
		}
	}
	return -ENOSPC;
}

static int client_add(struct files_client *client, const struct files_tree *tree,
	unsigned int *ret_mount, struct err *err)
{
	struct control_request request = {.kind = CONTROL_ADD,
		.cache = tree->cache,
		.readonly = tree->readonly,
		.overlay_upper = tree->overlay_upper};
	unsigned int number = 0;
	int r;

	if (find_number(client, &number) < 0)
		return err_set(err, -ENOSPC, "the pod has %u file trees already",
			FILES_MOUNTS_MAX);
	request.mount = number;
	client->next_mount = (number + 1) % FILES_MOUNTS_MAX;
	r = client_call(client, &request, tree->mount_fd, err);
	/* Late, the server may have it all the same. */
	client->mounts[number] = r == 0 || r == -ETIMEDOUT;
	if (r == 0)
		*ret_mount = number;
	return r;
}

int files_client_add(struct files_client *client, const struct files_tree *tree,
	unsigned int *ret_mount, struct err *err)
{
	int r;

	pthread_mutex_lock(&client->lock);
	r = client_add(client, tree, ret_mount, err);
	pthread_mutex_unlock(&client->lock);
	return r < 0 ? err_wrap(err, "cannot serve a file tree") : 0;
}

int files_client_remove(struct files_client *client, unsigned int mount, struct err *err)
{
	struct control_request request = {.kind = CONTROL_REMOVE, .mount = mount};
	int r = 0;

	if (mount >= FILES_MOUNTS_MAX)
		return 0;
	pthread_mutex_lock(&client->lock);
	if (client->mounts[mount]) {
		r = client_call(client, &request, -1, err);
		client->mounts[mount] = r < 0;
	}
	pthread_mutex_unlock(&client->lock);
	return r < 0 ? err_wrap(err, "cannot end the serving of file tree %u", mount) : 0;
}

static int client_ask(struct files_client *client, enum control_kind kind,
	unsigned int mount, struct err *err)
{
	struct control_request request = {.kind = kind, .mount = mount};
	int r;

	pthread_mutex_lock(&client->lock);
	r = client_call(client, &request, -1, err);
	pthread_mutex_unlock(&client->lock);
	return r;
}

int files_client_freeze(struct files_client *client, unsigned int mount, struct err *err)
{
	return client_ask(client, CONTROL_FREEZE, mount, err);
}

int files_client_thaw(struct files_client *client, unsigned int mount, struct err *err)
{
	return client_ask(client, CONTROL_THAW, mount, err);
}

int files_client_shrink(struct files_client *client, struct err *err)
{
	return client_ask(client, CONTROL_SHRINK, 0, err);
}

int files_client_pidfd(const struct files_client *client)
{
	return client->pidfd;
}
