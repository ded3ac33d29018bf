/* SPDX-License-Identifier: Apache-2.0 */
/* The standard streams of one process: see stdio.h. */
#include "shim/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/logger.h"

/* A guest that does not answer keeps who frees the streams waiting for that long. */
#define CLOSE_STDIN_MS 30000

enum { STREAM_OUT, STREAM_ERR, STREAM_IN, STREAMS };

struct stream {
	struct stdio *stdio;
	int fd; /* -1: output is thrown away */
	pthread_t thread;
	bool started;
};

struct stdio {
	char *container_id, *exec_id;
	bool terminal;
	struct agent *agent;
	struct logger *logger; /* takes both outputs, or NULL */
	struct stream streams[STREAMS];
	int cancel_fd;              /* eventfd: readable once the threads must end */
	struct ttrpc_cancel cancel; /* the same, for their calls */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* A write end of the input FIFO, until the client closes its input. */
	int stdin_hold_fd;
	unsigned int n_output; /* output threads that run */
};

/* ---- opening ---- */

static int open_output(const char *path, int *ret_fd, struct err *err)
{
	static const char file_scheme[] = "file://";
	bool is_uri = strncmp(path, file_scheme, strlen(file_scheme)) == 0;
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;
	int fd;

	*ret_fd = -1;
	if (!*path)
		return 0;
	if (is_uri)
		path += strlen(file_scheme);
	if (*path != '/')
		return err_set(err, -EOPNOTSUPP,
			"output to %s is not supported: a FIFO, file:// or binary:// is",
			err_quote(path, 256));
	/* Linux opens a FIFO read-write at once; the read end keeps it alive between
	 * clients. */
	if (!is_uri && stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open(path, flags | O_RDWR);
	else
		fd = open(
			path, flags | O_WRONLY | O_APPEND | (is_uri ? O_CREAT : 0), 0644);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(path, 256));
	*ret_fd = fd;
	return 0;
}

static int open_outputs(
	struct stdio *s, const struct stdio_config *config, struct err *err)
{
	int r = open_output(config->out, &s->streams[STREAM_OUT].fd, err);

	if (r < 0)
		return err_wrap(err, "stdout");
	if (s->terminal)
		return 0;
	r = open_output(config->err, &s->streams[STREAM_ERR].fd, err);
	return r < 0 ? err_wrap(err, "stderr") : 0;
}

/* With a terminal nothing comes by the second pipe: its end is there at once. */
static int open_logger(
	struct stdio *s, const struct stdio_config *config, struct err *err)
{
	const struct logger_config logger = {.uri = config->out,
		.container_id = config->container_id,
		.namespace = config->namespace};
	int fds[2], r;

	r = logger_start(&logger, fds, &s->logger, err);
	if (r < 0)
		return err_wrap(err, "stdout");
	s->streams[STREAM_OUT].fd = fds[0];
	if (s->terminal)
		close_fd(fds[1]);
	else
		s->streams[STREAM_ERR].fd = fds[1];
	return 0;
}

static int open_input(struct stdio *s, const char *path, struct err *err)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;

	if (!*path)
		return 0;
	if (*path != '/')
		return err_set(err, -EOPNOTSUPP,
			"input from %s is not supported: a FIFO is",
			err_quote(path, 256));
	s->streams[STREAM_IN].fd = open(path, flags | O_RDONLY);
	if (s->streams[STREAM_IN].fd < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(path, 256));
	if (fstat(s->streams[STREAM_IN].fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return 0; /* a file or /dev/null ends by itself */
	s->stdin_hold_fd = open(path, flags | O_WRONLY);
	if (s->stdin_hold_fd < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(path, 256));
	return 0;
}

static void close_streams(struct stdio *s)
{
	for (int i = 0; i < STREAMS; i++)
		close_fd(steal_fd(&s->streams[i].fd));
	close_fd(steal_fd(&s->stdin_hold_fd));
}

static void destroy_stdio(struct stdio *s)
{
	close_streams(s);
	logger_end(s->logger);
	close_fd(s->cancel_fd);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s->container_id);
	free(s->exec_id);
	free(s);
}

int stdio_open(const struct stdio_config *config, struct stdio **ret, struct err *err)
{
	struct stdio *s = xnew0(struct stdio);
	int r;

	s->container_id = xstrdup(config->container_id);
	s->exec_id = xstrdup(config->exec_id);
	s->terminal = config->terminal;
	s->stdin_hold_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->changed);
	for (int i = 0; i < STREAMS; i++)
		s->streams[i] = (struct stream){.stdio = s, .fd = -1};
	s->cancel_fd = eventfd(0, EFD_CLOEXEC);
	r = s->cancel_fd < 0 ? err_sys(err, errno, "cannot make an eventfd") : 0;
	if (r == 0)
		r = logger_is_uri(config->out) ? open_logger(s, config, err)
					       : open_outputs(s, config, err);
	if (r == 0 && (r = open_input(s, config->in, err)) < 0)
		err_wrap(err, "stdin");
	if (r < 0) {
		destroy_stdio(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* ---- the threads ---- */

/* Waits for fd or the cancellation: 0 or -ECANCELED. */
static int wait_stream(const struct stdio *s, int fd, short events)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = events}, {.fd = s->cancel_fd, .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -ECANCELED : 0;
}

static int write_stream(const struct stdio *s, int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		int r;

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_stream(s, fd, POLLOUT);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One chunk from the guest: its length, 0 at the end of the stream or of the guest. */
static size_t relay_chunk(struct stream *stream, bool is_err)
{
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;
	struct stdio *s = stream->stdio;
	Grpc__ReadStreamResponse *response = NULL;
	struct err err = ERR_INIT;
	size_t len;
	int r;

	request.container_id = s->container_id;
	request.exec_id = s->exec_id;
	request.len = STDIO_CHUNK;
	r = agent_read_output(s->agent, is_err, &request, &response, &s->cancel, &err);
	if (r < 0) {
		/* Agents differ in how they tell the end: an empty chunk, or an error. */
		log_debug("container %s, %s: %s has ended: %s", s->container_id,
			s->exec_id, is_err ? "stderr" : "stdout", err.text);
		return 0;
	}
	len = response->data.len;
	if (stream->fd >= 0) {
		r = write_stream(s, stream->fd, response->data.data, len);
		if (r < 0) {
			if (r != -ECANCELED)
				log_warn("container %s, %s: output is thrown away from "
					 "now on: %s",
					s->container_id, s->exec_id, strerror(-r));
			close_fd(steal_fd(&stream->fd));
		}
	}
	grpc__read_stream_response__free_unpacked(response, NULL);
	return len;
}

static void *run_output(void *arg)
{
	struct stream *stream = arg;
	struct stdio *s = stream->stdio;

	while (relay_chunk(stream, stream == &s->streams[STREAM_ERR]) > 0)
		;
	/* Its readers see the end of the FIFO. */
	close_fd(steal_fd(&stream->fd));
	pthread_mutex_lock(&s->lock);
	s->n_output--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int send_input(struct stdio *s, uint8_t *data, size_t len, struct err *err)
{
	Grpc__WriteStreamRequest request = GRPC__WRITE_STREAM_REQUEST__INIT;

	request.container_id = s->container_id;
	request.exec_id = s->exec_id;
	while (len > 0) {
		Grpc__WriteStreamResponse *response = NULL;
		size_t written;
		int r;

		request.data.data = data;
		request.data.len = len;
		r = agent_write_input(s->agent, &request, &response, &s->cancel, err);
		if (r < 0)
			return r;
		written = MIN((size_t)response->len, len);
		grpc__write_stream_response__free_unpacked(response, NULL);
		if (written == 0)
			return err_set(err, -EPIPE, "nothing was written");
		data += written;
		len -= written;
	}
	return 0;
}

static void close_guest_stdin(struct stdio *s)
{
	Grpc__CloseStdinRequest request = GRPC__CLOSE_STDIN_REQUEST__INIT;
	struct err err = ERR_INIT;

	request.container_id = s->container_id;
	request.exec_id = s->exec_id;
	if (agent_close_stdin(
		    s->agent, &request, deadline_after_ms(CLOSE_STDIN_MS), &err) < 0)
		log_debug("container %s, %s: stdin was closed before: %s",
			s->container_id, s->exec_id, err.text);
}

/* Until the end of the FIFO (0) or a failure. */
static int relay_input(struct stream *stream, struct err *err)
{
	struct stdio *s = stream->stdio;
	uint8_t buf[4096];
	ssize_t n;
	int r;

	for (;;) {
		r = wait_stream(s, stream->fd, POLLIN);
		if (r < 0)
			return err_sys(err, r, "cannot wait for it");
		n = read(stream->fd, buf, sizeof(buf));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return err_sys(err, errno, "cannot read it");
		if (n == 0)
			return 0;
		r = send_input(s, buf, (size_t)n, err);
		if (r < 0)
			return r;
	}
}

/* A process that has ended or has closed its input, or its whole VM, is no surprise. */
static bool input_is_unwanted(int r)
{
	return r == -EPIPE || r == -ECONNRESET || r == -ENOENT;
}

/* A terminal has no end of input but what is typed. After a failure the process reads the
 * end, rather than wait for what does not come. */
static void *run_input(void *arg)
{
	struct stream *stream = arg;
	struct stdio *s = stream->stdio;
	struct err err = ERR_INIT;
	int r = relay_input(stream, &err);

	if (r < 0 && r != -ECANCELED)
		log_line(input_is_unwanted(r) ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "",
			"container %s, %s: input is thrown away from now on: %s",
			s->container_id, s->exec_id, err.text);
	if (r != -ECANCELED && !s->terminal)
		close_guest_stdin(s);
	close_fd(steal_fd(&stream->fd));
	return NULL;
}

static int start_stream(struct stdio *s, int i, void *(*fn)(void *), struct err *err)
{
	int r = thread_start(fn, &s->streams[i], 0, false, &s->streams[i].thread);

	if (r < 0)
		return err_sys(err, r, "cannot start a thread for the standard streams");
	s->streams[i].started = true;
	return 0;
}

int stdio_start(struct stdio *s, struct agent *agent, struct err *err)
{
	int r;

	s->agent = agent;
	s->n_output = s->terminal ? 1 : 2;
	r = start_stream(s, STREAM_OUT, run_output, err);
	if (r == 0 && !s->terminal)
		r = start_stream(s, STREAM_ERR, run_output, err);
	if (r == 0 && s->streams[STREAM_IN].fd >= 0)
		r = start_stream(s, STREAM_IN, run_input, err);
	return r;
}

void stdio_close_stdin(struct stdio *s)
{
	pthread_mutex_lock(&s->lock);
	close_fd(steal_fd(&s->stdin_hold_fd));
	pthread_mutex_unlock(&s->lock);
}

int stdio_drain(struct stdio *s, int64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	while (s->n_output > 0 && r == 0)
		r = cond_wait(&s->changed, &s->lock, deadline);
	r = s->n_output > 0 ? r : 0;
	pthread_mutex_unlock(&s->lock);
	return r;
}

void stdio_hang_up(struct stdio *s)
{
	thread_wake(s->cancel_fd);
	if (s->agent)
		agent_cancel(s->agent, &s->cancel);
	for (int i = 0; i < STREAMS; i++)
		if (s->streams[i].started)
			pthread_join(s->streams[i].thread, NULL);
	for (int i = 0; i < STREAMS; i++)
		s->streams[i].started = false;
	close_streams(s);
}

void stdio_free(struct stdio *s)
{
	if (!s)
		return;
	stdio_hang_up(s);
	destroy_stdio(s);
}
