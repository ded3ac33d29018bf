/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's process: see keeper.h. Nothing but system calls once its walls stand. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files/jail.h"
#include "files/keeper_internal.h"

static void __attribute__((noreturn)) end(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

static void answer_send(const struct keeper_answer *answer, size_t len)
{
	struct iovec iov = {
		(void *)(uintptr_t)answer, offsetof(struct keeper_answer, value) + len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (sendmsg(JAIL_KEEPER_FD, &msg, MSG_NOSIGNAL) < 0)
		end(0); /* the server has ended */
}

/* The descriptor of a message that brought exactly one; else the server is not itself. */
static int request_fd(struct msghdr *msg)
{
	const struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	int fd;

	if (msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC) || !cmsg ||
		cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
		cmsg->cmsg_len != CMSG_LEN(sizeof(fd)))
		end(1);
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	/* Its path has one digit: there is room for no other. */
	if (fd < 0 || fd > 9)
		end(1);
	return fd;
}

static bool request_is_right(const struct keeper_request *request, size_t len)
{
	size_t wanted = offsetof(struct keeper_request, value);

	if (len < wanted || request->size > KEEPER_VALUE_MAX)
		return false;
	if (!memchr(request->name, '\0', sizeof(request->name)) ||
		!keeper_knows(request->name))
		return false;
	if (request->kind == KEEPER_SET)
		wanted += request->size;
	return len == wanted;
}

static int request_read(struct keeper_request *ret)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {ret, sizeof(*ret)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(JAIL_KEEPER_FD, &msg, MSG_CMSG_CLOEXEC);
	int fd;

	if (n <= 0)
		end(0);
	fd = request_fd(&msg);
	if (!request_is_right(ret, (size_t)n))
		end(1);
	return fd;
}

/* By the path of the descriptor, which opens nothing and follows no symbolic link. */
static int request_serve(
	const struct keeper_request *request, int fd, struct keeper_answer *answer)
{
	const char path[] = {(char)('0' + fd), '\0'};
	ssize_t n = -1;

	errno = EINVAL;
	switch ((enum keeper_kind)request->kind) {
	case KEEPER_GET:
		n = getxattr(path, request->name, answer->value, request->size);
		break;
	case KEEPER_SET:
		n = setxattr(path, request->name, request->value, request->size,
			request->flags);
		break;
	case KEEPER_REMOVE:
		n = removexattr(path, request->name);
		break;
	}
	return n < 0 ? -errno : (int)n;
}

void keeper_run(int fd, uid_t uid, pid_t parent)
{
	static struct keeper_request request;
	static struct keeper_answer answer;
	struct err err = ERR_INIT;
	size_t len;

	if (dup2(fd, JAIL_KEEPER_FD) < 0)
		end(1);
	answer.code = jail_enter_keeper(uid, parent, &err);
	len = answer.code < 0 ? sizeof(answer.text) : 0;
	memcpy(answer.text, err.text, len);
	answer_send(&answer, len);
	if (answer.code < 0)
		end(1);
	for (;;) {
		fd = request_read(&request);
		answer.code = request_serve(&request, fd, &answer);
		close(fd);
		len = request.size > 0 && answer.code > 0 ? (size_t)answer.code : 0;
		answer_send(&answer, len);
	}
}
