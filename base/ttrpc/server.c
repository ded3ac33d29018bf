/* SPDX-License-Identifier: Apache-2.0 */
/* The serving end of ttrpc: connections and threads. What a request does is in
 * ttrpc_request.c. */
#include "base/ttrpc/server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

/* containerd has one connection to a shim, and for a moment two when it reconnects. */
#define CONNECTIONS_MAX 64
/* How long accepting rests when there is too little of something: a connection that waits
 * would else be found again at once. */
#define REST_MS 1000

int ttrpc_server_new(const struct ttrpc_server_config *config, struct ttrpc_server **ret,
	struct err *err)
{
	struct ttrpc_server *s = xnew0(struct ttrpc_server);

	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->stop_fd < 0) {
		free(s);
		return err_sys(err, -errno, "eventfd");
	}
	s->config = *config;
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->idle);
	*ret = s;
	return 0;
}

void ttrpc_server_stop(struct ttrpc_server *s)
{
	thread_wake(s->stop_fd);
}

void ttrpc_server_free(struct ttrpc_server *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	while (s->n_connections || s->n_leaving)
		cond_wait(&s->idle, &s->lock, DEADLINE_NONE);
	pthread_mutex_unlock(&s->lock);
	close_fd(s->stop_fd);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- one connection ---- */

static int connection_new(
	struct ttrpc_server *s, int fd, struct ttrpc_connection **ret, struct err *err)
{
	struct ttrpc_connection *c = xnew0(struct ttrpc_connection);
	int r;

	r = ttrpc_io_init(&c->io, fd, s->stop_fd, err);
	if (r < 0) {
		close_fd(fd);
		free(c);
		return r;
	}
	c->server = s;
	c->refs = 1;
	pthread_mutex_lock(&s->lock);
	s->n_connections++;
	pthread_mutex_unlock(&s->lock);
	*ret = c;
	return 0;
}

void ttrpc_connection_unref(struct ttrpc_connection *c)
{
	struct ttrpc_server *s = c->server;
	bool last, was_only;

	pthread_mutex_lock(&s->lock);
	last = --c->refs == 0;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	ttrpc_io_done(&c->io);
	free(c);
	pthread_mutex_lock(&s->lock);
	was_only = --s->n_connections == 0 && s->has_asked && s->config.left;
	s->n_leaving += was_only;
	pthread_mutex_unlock(&s->lock);
	if (was_only)
		s->config.left(s->config.user);
	pthread_mutex_lock(&s->lock);
	s->n_leaving -= was_only;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

/* Serves until the end of the stream; lets go of the connection. */
static int connection_serve(struct ttrpc_connection *c)
{
	int r;

	do {
		struct ttrpc_frame f = {0};

		r = ttrpc_io_recv(&c->io, &f);
		if (r > 0 || r == -EMSGSIZE)
			r = ttrpc_connection_frame(c, &f, r == -EMSGSIZE);
		free(f.data);
	} while (r > 0);
	ttrpc_io_hang_up(&c->io);
	ttrpc_connection_unref(c);
	return r == -ECANCELED ? 0 : r;
}

int ttrpc_server_serve(struct ttrpc_server *s, int fd)
{
	struct ttrpc_connection *c;
	int r;

	r = connection_new(s, fd, &c, NULL);
	return r < 0 ? r : connection_serve(c);
}

/* ---- accepting ---- */

static void *connection_main(void *arg)
{
	int r = connection_serve(arg);

	/* Peers come and go; one that breaks the rules is worth a line. */
	if (r == -EBADMSG)
		log_warn("a ttrpc client broke the protocol and lost its connection");
	return NULL;
}

static int start_connection(struct ttrpc_server *s, int fd, struct err *err)
{
	struct ttrpc_connection *c;
	bool room;
	int r;

	pthread_mutex_lock(&s->lock);
	room = s->n_connections < CONNECTIONS_MAX;
	pthread_mutex_unlock(&s->lock);
	if (!room) {
		log_warn("%d connections are open: another one is refused",
			CONNECTIONS_MAX);
		close_fd(fd);
		return 0;
	}
	r = connection_new(s, fd, &c, err);
	if (r < 0)
		return r;
	/* The last one to go may be it that says so. */
	r = thread_start(connection_main, c, s->config.thread_stack_bytes, true, NULL);
	if (r < 0) {
		ttrpc_connection_unref(c);
		return err_sys(err, r, "connection thread");
	}
	return 0;
}

/* A connection that is ready: its fd, -ECANCELED after stop, or what is wrong with the
 * socket. */
static int accept_next(struct ttrpc_server *s, int listen_fd)
{
	struct pollfd p[] = {
		{.fd = listen_fd, .events = POLLIN},
		{.fd = s->stop_fd, .events = POLLIN},
	};

	for (;;) {
		int fd;

		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return -ECANCELED;
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
	}
}

/* What passes: a thread or a descriptor too many, here or in the whole system. */
static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM ||
	       r == -EAGAIN;
}

static int accept_one(struct ttrpc_server *s, int listen_fd, struct err *err)
{
	int fd = accept_next(s, listen_fd);

	if (fd == -ECANCELED)
		return fd;
	return fd < 0 ? err_sys(err, fd, "accept") : start_connection(s, fd, err);
}

int ttrpc_server_accept_loop(struct ttrpc_server *s, int listen_fd, struct err *err)
{
	int flags = fcntl(listen_fd, F_GETFL);

	/* A client that gives up between poll and accept must not block the loop. */
	if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "listening socket");
	for (;;) {
		struct err why = ERR_INIT;
		int r = accept_one(s, listen_fd, &why);

		if (r == -ECANCELED)
			return 0;
		if (r < 0 && !is_shortage(r))
			return err_copy(err, &why);
		if (r < 0) {
			log_error("clients wait for %d ms or have to come again: %s",
				REST_MS, why.text);
			wait_fd(s->stop_fd, POLLIN, deadline_after_ms(REST_MS));
		}
	}
}
