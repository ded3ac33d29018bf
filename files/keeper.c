/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of the talk with its keeper: see keeper.h. */
#include "files/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "files/keeper_internal.h"

struct keeper {
	pid_t pid;
	int fd;
	pthread_mutex_t lock; /* from a request to its answer */
};

int keeper_new(uid_t uid, struct keeper **ret, struct err *err)
{
	struct keeper *keeper;
	pid_t pid, parent = getpid();
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "socketpair");
	pid = fork();
	if (pid == 0)
		keeper_run(pair[1], uid, parent);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return err_sys(err, errno, "cannot fork the keeper");
	}
	keeper = xnew0(struct keeper);
	keeper->pid = pid;
	keeper->fd = pair[0];
	pthread_mutex_init(&keeper->lock, NULL);
	*ret = keeper;
	return 0;
}

void keeper_free(struct keeper *keeper)
{
	if (!keeper)
		return;
	kill(keeper->pid, SIGKILL);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(keeper->fd);
	pthread_mutex_destroy(&keeper->lock);
	free(keeper);
}

static int read_answer(struct keeper *keeper, struct keeper_answer *ret, size_t *ret_len)
{
	ssize_t n = sock_recv(keeper->fd, ret, sizeof(*ret), NULL, 0, DEADLINE_NONE);

	if (n < (ssize_t)sizeof(ret->code))
		return -EIO;
	*ret_len = (size_t)n - offsetof(struct keeper_answer, value);
	return 0;
}

int keeper_wait(struct keeper *keeper, struct err *err)
{
	struct keeper_answer answer;
	size_t len;

	if (read_answer(keeper, &answer, &len) < 0)
		return err_set(err, -EIO, "the keeper has ended as it started");
	if (answer.code == 0)
		return 0;
	answer.text[MIN(len, sizeof(answer.text) - 1)] = '\0';
	return err_set(err, answer.code, "the keeper cannot start: %s", answer.text);
}

bool keeper_knows(const char *name)
{
	size_t prefix = strlen(KEEPER_PREFIX);

	return strncmp(name, KEEPER_PREFIX, prefix) == 0 && name[prefix] != '\0';
}

static int fill_request(const struct keeper_call *call, struct keeper_request *ret)
{
	if (!keeper_knows(call->name))
		return -EPERM;
	if (strlen(call->name) >= sizeof(ret->name))
		return -ERANGE;
	if (call->kind == KEEPER_SET && call->size > KEEPER_VALUE_MAX)
		return -E2BIG;
	memset(ret, 0, offsetof(struct keeper_request, value));
	ret->kind = call->kind;
	ret->flags = call->flags;
	ret->size = (uint32_t)MIN(call->size, KEEPER_VALUE_MAX);
	memcpy(ret->name, call->name, strlen(call->name));
	if (call->kind == KEEPER_SET && call->size > 0)
		memcpy(ret->value, call->value, call->size);
	return 0;
}

/* With the lock. */
static int ask_keeper(struct keeper *keeper, int fd, const struct keeper_request *request,
	struct keeper_answer *ret)
{
	size_t len = offsetof(struct keeper_request, value);
	int r;

	if (request->kind == KEEPER_SET)
		len += request->size;
	r = sock_send(keeper->fd, request, len, &fd, 1, DEADLINE_NONE);
	if (r == 0)
		r = read_answer(keeper, ret, &len);
	if (r < 0)
		return -EIO;
	if (ret->code > 0 && request->kind == KEEPER_GET && request->size > 0 &&
		(len != (size_t)ret->code || len > request->size))
		return -EIO;
	return ret->code;
}

ssize_t keeper_call(struct keeper *keeper, int fd, const struct keeper_call *call)
{
	struct keeper_request request;
	struct keeper_answer answer;
	int r;

	r = fill_request(call, &request);
	if (r < 0)
		return r;
	pthread_mutex_lock(&keeper->lock);
	r = ask_keeper(keeper, fd, &request, &answer);
	pthread_mutex_unlock(&keeper->lock);
	if (r > 0 && call->kind == KEEPER_GET && call->size > 0)
		memcpy(call->value, answer.value, (size_t)r);
	return r;
}
