/* SPDX-License-Identifier: Apache-2.0 */
/* The standard streams of processes: the host reads and writes them, nothing is kept
 * here. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "guest/message.h"
#include "guest/service.h"
#include "guest/wait.h"

/* What a pipe holds (pipe(7)): more is not there at once. */
#define READ_MAX 65536

/* ---- out ---- */

/* The end of a stream, as Kata's agent says it: INVALID_ARGUMENT and this text. */
static int end_of_stream(struct err *err)
{
	return err_set(err, -EINVAL, "eof");
}

/* Blocks until there is something: its length, 0 at the end. */
static ssize_t read_some(int fd, void *buf, size_t size, int closed_fd, int64_t deadline)
{
	for (;;) {
		ssize_t n = read(fd, buf, size);
		int r;

		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_either(fd, POLLIN, closed_fd, deadline);
		if (r < 0)
			return r;
	}
}

static int read_stream(struct sandbox *s, struct ttrpc_request *request,
	const Grpc__ReadStreamRequest *req, bool is_err, ProtobufCMessage **ret_out,
	struct err *err)
{
	_cleanup_(process) struct process *p = NULL;
	size_t size = MIN((size_t)req->len, (size_t)READ_MAX);
	_cleanup_free_ uint8_t *buf = NULL;
	Grpc__ReadStreamResponse *out;
	ssize_t n = 0;
	int fd, r;

	if (size == 0)
		return err_set(err, -EINVAL, "a read of 0 bytes");
	r = sandbox_find_process(s, req->container_id, req->exec_id, &p, err);
	if (r < 0)
		return r;
	fd = is_err ? p->err_fd : p->out_fd;
	if (fd < 0) /* a terminal has one stream */
		return end_of_stream(err);
	/* Waits before it allocates: there may be hundreds of streams on which nothing
	 * happens. */
	r = wait_either(fd, POLLIN, ttrpc_request_closed_fd(request),
		ttrpc_request_deadline(request));
	if (r == 0) {
		buf = xmalloc(size);
		n = read_some(fd, buf, size, ttrpc_request_closed_fd(request),
			ttrpc_request_deadline(request));
		r = n < 0 ? (int)n : 0;
	}
	if (r < 0)
		return err_sys(
			err, r, "read from process %s", err_quote(req->exec_id, 64));
	if (n == 0) {
		process_done_with(s, req->container_id, p,
			is_err ? PROCESS_ERR_ENDED : PROCESS_OUT_ENDED);
		return end_of_stream(err);
	}
	out = message_new(&grpc__read_stream_response__descriptor);
	out->data.len = (size_t)n;
	out->data.data = xreallocarray(steal_ptr(buf), (size_t)n, 1);
	*ret_out = &out->base;
	return 0;
}

SERVICE_HANDLER(handle_read_stdout)
{
	return read_stream(
		user, request, (const Grpc__ReadStreamRequest *)in, false, ret_out, err);
}

SERVICE_HANDLER(handle_read_stderr)
{
	return read_stream(
		user, request, (const Grpc__ReadStreamRequest *)in, true, ret_out, err);
}

/* ---- in ---- */

/* A descriptor of our own: CloseStdin may come while we wait. -EPIPE: it was closed. */
static int dup_stdin(struct sandbox *s, const struct process *p)
{
	int fd;

	pthread_mutex_lock(&s->lock);
	fd = p->in_fd < 0 ? -EPIPE : fcntl(p->in_fd, F_DUPFD_CLOEXEC, 3);
	if (fd == -1)
		fd = -errno;
	pthread_mutex_unlock(&s->lock);
	return fd;
}

/* Room in the pipe: 0. A pipe nobody reads stays full after its process has ended, if
 * another has it open. */
static int wait_room(int fd, const struct process *p, const struct ttrpc_request *request)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLOUT},
		{.fd = p->child.exit_fd, .events = POLLIN},
		{.fd = ttrpc_request_closed_fd(request), .events = POLLIN}};

	return wait_first(fds, ARRAY_SIZE(fds), ttrpc_request_deadline(request));
}

/* Bytes written: all of them, or fewer if the process or who asked left, or the time they
 * gave is up. A process may leave its input unread for as long as it likes. */
static ssize_t write_some(int fd, const uint8_t *data, size_t len,
	const struct process *p, const struct ttrpc_request *request)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, data + done, len - done);
		int r;

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return done ? (ssize_t)done : -errno;
		r = wait_room(fd, p, request);
		if (r < 0)
			return done ? (ssize_t)done : r;
	}
	return (ssize_t)done;
}

SERVICE_HANDLER(handle_write_stdin)
{
	const Grpc__WriteStreamRequest *req = (const Grpc__WriteStreamRequest *)in;
	_cleanup_(process) struct process *p = NULL;
	_cleanup_close_ int fd = -1;
	Grpc__WriteStreamResponse *out;
	ssize_t n;
	int r;

	r = sandbox_find_process(user, req->container_id, req->exec_id, &p, err);
	if (r < 0)
		return r;
	fd = dup_stdin(user, p);
	if (fd == -EPIPE)
		return err_set(err, fd, "standard input of process %s is closed",
			err_quote(req->exec_id, 64));
	if (fd < 0)
		return err_sys(
			err, fd, "write to process %s", err_quote(req->exec_id, 64));
	n = write_some(fd, req->data.data, req->data.len, p, request);
	if (n < 0)
		return err_sys(
			err, (int)n, "write to process %s", err_quote(req->exec_id, 64));
	out = message_new(&grpc__write_stream_response__descriptor);
	out->len = (uint32_t)n;
	*ret_out = &out->base;
	return 0;
}

SERVICE_HANDLER(handle_close_stdin)
{
	const Grpc__CloseStdinRequest *req = (const Grpc__CloseStdinRequest *)in;
	_cleanup_(process) struct process *p = NULL;
	struct sandbox *s = user;
	int r;

	(void)request, (void)ret_out;
	r = sandbox_find_process(s, req->container_id, req->exec_id, &p, err);
	if (r < 0)
		return r;
	/* It has no end of input but the character its user types. */
	if (p->terminal)
		return 0;
	pthread_mutex_lock(&s->lock);
	close_fd(p->in_fd);
	p->in_fd = -1;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

SERVICE_HANDLER(handle_tty_win_resize)
{
	const Grpc__TtyWinResizeRequest *req = (const Grpc__TtyWinResizeRequest *)in;
	_cleanup_(process) struct process *p = NULL;
	struct winsize size = {.ws_row = (unsigned short)req->row,
		.ws_col = (unsigned short)req->column};
	int r;

	(void)request, (void)ret_out;
	r = sandbox_find_process(user, req->container_id, req->exec_id, &p, err);
	if (r < 0)
		return r;
	if (!p->terminal)
		return err_set(err, -EINVAL, "process %s has no terminal",
			err_quote(req->exec_id, 64));
	if (req->row > UINT16_MAX || req->column > UINT16_MAX)
		return err_set(err, -EINVAL, "%u rows of %u columns are no terminal",
			req->row, req->column);
	if (ioctl(p->in_fd, TIOCSWINSZ, &size) < 0)
		return err_sys(err, errno, "resize the terminal of %s",
			err_quote(req->exec_id, 64));
	return 0;
}
