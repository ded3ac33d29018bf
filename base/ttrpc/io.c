/* SPDX-License-Identifier: Apache-2.0 */
/* Frames over a descriptor: see io.h. */
#include "base/ttrpc/io.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/ttrpc/ttrpc.h"
#include "base/util.h"

/* A frame's memory grows as its bytes arrive: a header alone costs its sender as much as
 * us. */
#define GROW_FIRST ((size_t)64 * 1024)

int ttrpc_io_init(struct ttrpc_io *io, int fd, int stop_fd, struct err *err)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "connection %d", fd);
	memset(io, 0, sizeof(*io));
	io->closed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->closed_fd < 0)
		return err_sys(err, -errno, "eventfd");
	io->fd = fd;
	io->stop_fd = stop_fd;
	io->is_socket = S_ISSOCK(st.st_mode);
	pthread_mutex_init(&io->lock, NULL);
	cond_init(&io->turn);
	return 0;
}

void ttrpc_io_done(struct ttrpc_io *io)
{
	close_fd(io->fd);
	close_fd(io->closed_fd);
	free(io->rest);
	pthread_cond_destroy(&io->turn);
	pthread_mutex_destroy(&io->lock);
}

void ttrpc_io_hang_up(struct ttrpc_io *io)
{
	thread_wake(io->closed_fd);
}

/* Waits for `event`: what poll(2) found, or -ETIMEDOUT or -ECANCELED. */
static int io_wait(struct ttrpc_io *io, short event, int64_t deadline)
{
	struct pollfd p[] = {
		{.fd = io->fd, .events = event},
		{.fd = io->closed_fd, .events = POLLIN},
		{.fd = io->stop_fd, .events = POLLIN},
	};
	int n;

	do {
		n = poll(p, ARRAY_SIZE(p), deadline_poll_ms(deadline));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (p[1].revents || p[2].revents)
		return -ECANCELED;
	return n == 0 ? -ETIMEDOUT : p[0].revents;
}

/* ---- receiving ---- */

/* Waits, then reads what there is; 0 at the end of the stream. */
static ssize_t io_read(struct ttrpc_io *io, void *buf, size_t size)
{
	for (;;) {
		int events = io_wait(io, POLLIN, DEADLINE_NONE);
		ssize_t n;

		if (events < 0)
			return events;
		n = read(io->fd, buf, size);
		if (n >= 0)
			return n;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
		/* Hung up and still nothing to read: poll(2) would say so forever. */
		if (errno == EAGAIN && !(events & POLLIN))
			return 0;
	}
}

/*
 * Up to `size` bytes, by way of the buffer, so that a header and a small frame cost one
 * read(2). A large rest goes to its place without that copy. dest may be NULL: thrown
 * away.
 */
static ssize_t io_take(struct ttrpc_io *io, uint8_t *dest, size_t size)
{
	size_t n;

	if (io->begin == io->end) {
		ssize_t got;

		if (dest && size >= sizeof(io->buf))
			return io_read(io, dest, size);
		got = io_read(io, io->buf, sizeof(io->buf));
		if (got <= 0)
			return got;
		io->begin = 0;
		io->end = (size_t)got;
	}
	n = MIN(io->end - io->begin, size);
	if (dest)
		memcpy(dest, io->buf + io->begin, n);
	io->begin += n;
	return (ssize_t)n;
}

/* All of it: 1, 0 if the stream ended before the first byte, -ECONNRESET if it ended
 * later. */
static int io_take_all(struct ttrpc_io *io, uint8_t *dest, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = io_take(io, dest ? dest + done : NULL, size - done);

		io->torn |= n <= 0 && done > 0;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return done ? -ECONNRESET : 0;
		done += (size_t)n;
	}
	return 1;
}

static int recv_data(struct ttrpc_io *io, struct ttrpc_frame *f)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t have = 0, size = MIN((size_t)f->len, GROW_FIRST);

	while (have < f->len) {
		int r;

		data = xreallocarray(data, size, 1);
		r = io_take_all(io, data + have, size - have);
		if (r <= 0)
			return r < 0 ? r : -ECONNRESET;
		have = size;
		size = MIN((size_t)f->len, size * 2);
	}
	f->data = steal_ptr(data);
	return 1;
}

int ttrpc_io_recv(struct ttrpc_io *io, struct ttrpc_frame *ret)
{
	uint8_t header[TTRPC_HEADER_BYTES];
	struct ttrpc_frame f = {0};
	int r;

	r = io_take_all(io, header, sizeof(header));
	if (r <= 0)
		return r;
	memcpy(&f.len, header, 4);
	memcpy(&f.stream, header + 4, 4);
	f.len = be32toh(f.len);
	f.stream = be32toh(f.stream);
	f.type = header[8];
	f.flags = header[9];
	/* The protocol keeps the first byte zero; with the type it tells frames from
	 * garbage. */
	if (header[0] || f.type < TTRPC_REQUEST || f.type > TTRPC_DATA)
		return -EBADMSG;
	if (f.len > TTRPC_FRAME_MAX) {
		r = io_take_all(io, NULL, f.len);
		*ret = f;
		return r > 0 ? -EMSGSIZE : r < 0 ? r : -ECONNRESET;
	}
	r = recv_data(io, &f);
	io->torn |= r <= 0;
	if (r > 0)
		*ret = f;
	return r;
}

/* ---- sending ---- */

static ssize_t io_write(struct ttrpc_io *io, const uint8_t *data, size_t len)
{
	ssize_t n;

	/* A peer that is gone must not become a SIGPIPE; a port has no send(2) and no
	 * SIGPIPE. */
	do {
		n = io->is_socket ? send(io->fd, data, len, MSG_NOSIGNAL)
				  : write(io->fd, data, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Writes until the deadline; *done says how far it came, also when it fails. */
static int write_until(struct ttrpc_io *io, const uint8_t *data, size_t len, size_t *done,
	int64_t deadline)
{
	while (*done < len) {
		int events = io_wait(io, POLLOUT, deadline);
		ssize_t n;

		if (events < 0)
			return events;
		/* A port without a host end: takes nothing, and poll(2) does not wait. */
		if (!(events & POLLOUT))
			return -ECONNRESET;
		n = io_write(io, data + *done, len - *done);
		if (n < 0 && n != -EAGAIN)
			return (int)n;
		if (n > 0)
			*done += (size_t)n;
	}
	return 0;
}

static int take_turn(struct ttrpc_io *io, int64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&io->lock);
	while (io->sending && r == 0)
		r = cond_wait(&io->turn, &io->lock, deadline);
	/* Awake at the deadline but the turn is free all the same: take it. */
	if (!io->sending) {
		io->sending = true;
		r = 0;
	}
	pthread_mutex_unlock(&io->lock);
	return r;
}

static void end_turn(struct ttrpc_io *io)
{
	pthread_mutex_lock(&io->lock);
	io->sending = false;
	pthread_cond_signal(&io->turn);
	pthread_mutex_unlock(&io->lock);
}

static int send_rest(struct ttrpc_io *io, int64_t deadline)
{
	int r;

	if (!io->rest)
		return 0;
	r = write_until(io, io->rest, io->rest_len, &io->rest_off, deadline);
	if (r == 0) {
		free(io->rest);
		io->rest = NULL;
	}
	return r;
}

int ttrpc_io_send(struct ttrpc_io *io, const uint8_t *frame, size_t len, int64_t deadline)
{
	size_t done = 0;
	int r;

	r = take_turn(io, deadline);
	if (r < 0)
		return r;
	r = send_rest(io, deadline);
	if (r == 0)
		r = write_until(io, frame, len, &done, deadline);
	if (r == -ETIMEDOUT && done > 0) {
		io->rest = xmalloc(len - done);
		memcpy(io->rest, frame + done, len - done);
		io->rest_off = 0;
		io->rest_len = len - done;
	}
	end_turn(io);
	return r;
}
