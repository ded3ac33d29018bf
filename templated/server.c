/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lease socket: see server.h.
 *
 * A connection is a thread that reads a request, does it and answers, in a straight line.
 * It can harm only itself: it has LEASE_REQUEST_MS to ask, LEASE_SEND_MS to take an
 * answer, one message's bytes to ask in. Peers other than root are turned away before
 * there is a thread for them.
 */
#include "templated/server.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/activation.h"
#include "templated/cache.h"
#include "templated/lease/protocol.h"
#include "templated/listener.h"
#include "templated/requests.h"

/* Room for vm_inputs_collect() and the error buffers of a request; only touched pages
 * count. */
#define CONNECTION_STACK_BYTES (256u << 10)

struct server {
	struct daemon *daemon;
	char *path;
	int listen_fd, stop_fd;
	bool activated; /* the socket and its file are the service manager's */
	pthread_t accepter;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t gone;
	struct link *links;
	unsigned int n_links;
	bool stopping;
};

/* A connection in the server's list. */
struct link {
	struct link *next;
	struct server *server;
	struct connection c;
	bool stays; /* its lease does, when templated ends */
};

static void send_error(struct server *s, int fd, const char *text)
{
	struct json_object *reply = lease_reply_new("error");

	stats_refused(&s->daemon->stats);
	json_set_string(reply, "error", text);
	/* One that doesn't take it has lost nothing but the reason. */
	lease_send(fd, reply, NULL, 0, deadline_after_ms(LEASE_SEND_MS));
}

/* One message: 1 with *ret, 0 at the end of the connection, or a negative errno. */
static int connection_receive(struct connection *c, int64_t deadline,
	struct lease_request *ret, struct err *err)
{
	_cleanup_free_ char *buf = xmalloc(LEASE_MESSAGE_MAX + 1);
	ssize_t n = sock_recv(c->fd, buf, LEASE_MESSAGE_MAX, NULL, 0, deadline);
	int r;

	if (n == 0)
		return 0;
	if (n == -EMSGSIZE)
		return err_set(err, -EMSGSIZE, "a request of more than %u bytes",
			LEASE_MESSAGE_MAX);
	if (n < 0)
		return err_sys(err, (int)n, "no request was received");
	buf[n] = '\0';
	r = lease_request_parse(buf, (size_t)n, ret, err);
	return r < 0 ? r : 1;
}

/* Requests until one ends the connection. */
static int connection_converse(struct connection *c, struct err *err)
{
	for (;;) {
		struct lease_request request;
		int r;

		/* A lease is held in silence, for days: no buffer while it is. */
		if (c->lease || c->given)
			wait_fd(c->fd, POLLIN, DEADLINE_NONE);
		r = connection_receive(
			c, deadline_after_ms(LEASE_REQUEST_MS), &request, err);
		if (r <= 0)
			return r;
		r = request_handle(c, &request, err);
		lease_request_done(&request);
		if (r < 0)
			return r;
	}
}

static void link_remove(struct link *l)
{
	struct server *s = l->server;
	struct link **p;

	pthread_mutex_lock(&s->lock);
	for (p = &s->links; *p != l;)
		p = &(*p)->next;
	*p = l->next;
	close(l->c.fd);
	s->n_links--;
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
	free(l);
}

static void link_end_lease(struct link *l)
{
	struct store *store = l->server->daemon->store;
	bool stays;

	pthread_mutex_lock(&l->server->lock);
	stays = l->stays;
	pthread_mutex_unlock(&l->server->lock);
	if (l->c.lease && stays)
		store_leave(store, l->c.lease);
	else if (l->c.lease)
		store_release(store, l->c.lease);
}

static void *link_main(void *arg)
{
	struct link *l = arg;
	struct err err = ERR_INIT;
	int r = connection_converse(&l->c, &err);

	if (r < 0 && r != -EPIPE && r != -ECONNRESET) {
		log_warn("dropping a client of the lease socket (pid %d): %s",
			(int)l->c.pid, err.text);
		send_error(l->server, l->c.fd, err.text);
	}
	if (l->c.offer)
		cache_settle(l->server->daemon->cache, l->c.offer, l->c.sandbox, NULL);
	link_end_lease(l);
	link_remove(l);
	return NULL;
}

/* Takes fd in any case. */
static void server_admit(void *user, int fd)
{
	struct server *s = user;
	struct link *l;
	bool has_room;
	uid_t uid;
	pid_t pid;
	int r = unix_peer_credentials(fd, &uid, &pid);

	if (r < 0 || uid != 0) {
		log_warn("refusing uid %d (pid %d) at the lease socket",
			r < 0 ? -1 : (int)uid, r < 0 ? 0 : (int)pid);
		send_error(s, fd, "only root may ask templated");
		close(fd);
		return;
	}
	l = xnew0(struct link);
	*l = (struct link){.server = s, .c = {.daemon = s->daemon, .fd = fd, .pid = pid}};
	pthread_mutex_lock(&s->lock);
	has_room = !s->stopping && s->n_links < SERVER_CONNECTIONS_MAX;
	if (has_room) {
		l->next = s->links;
		s->links = l;
		s->n_links++;
	}
	pthread_mutex_unlock(&s->lock);
	if (has_room &&
		thread_start(link_main, l, CONNECTION_STACK_BYTES, true, NULL) == 0)
		return;
	send_error(s, fd, "templated has too many connections");
	if (has_room) {
		link_remove(l);
	} else {
		close(fd);
		free(l);
	}
}

/* The backlog keeps those who come: tried again when a connection has ended, or later. */
static void wait_for_room(void *user)
{
	struct server *s = user;

	pthread_mutex_lock(&s->lock);
	if (!s->stopping)
		cond_wait(&s->gone, &s->lock, deadline_after_ms(LISTENER_RETRY_MS));
	pthread_mutex_unlock(&s->lock);
}

static void *accept_all(void *arg)
{
	struct server *s = arg;
	const struct listener listener = {.listen_fd = s->listen_fd,
		.stop_fd = s->stop_fd,
		.what = "lease",
		.admit = server_admit,
		.wait_for_room = wait_for_room,
		.user = s};

	listener_run(&listener);
	return NULL;
}

static void server_free(struct server *s)
{
	close_fd(s->listen_fd);
	close_fd(s->stop_fd);
	pthread_cond_destroy(&s->gone);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

/* Takes fd in any case. */
static struct server *server_new(struct daemon *d, const char *path, int fd)
{
	struct server *s = xnew0(struct server);

	s->daemon = d;
	s->path = xstrdup(path);
	s->listen_fd = fd;
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->gone);
	return s;
}

int server_start(struct daemon *d, struct server **ret, struct err *err)
{
	_cleanup_settings_ struct settings *settings = daemon_settings(d);
	const char *path = settings->config.template_endpoint;
	bool activated;
	struct server *s;
	int fd, r;

	r = activation_take(path, SOCK_SEQPACKET, &fd, err);
	activated = r > 0;
	if (r == 0)
		r = unix_listen(path, SOCK_SEQPACKET, &fd, err);
	if (r < 0)
		return r;
	s = server_new(d, path, fd);
	s->activated = activated;
	r = s->stop_fd < 0 ? -errno : listener_prepare(fd);
	if (r == 0)
		r = thread_start(
			accept_all, s, CONNECTION_STACK_BYTES, false, &s->accepter);
	if (r < 0) {
		if (!activated)
			unlink(path);
		server_free(s);
		return err_sys(err, r, "cannot serve at %s", path);
	}
	*ret = s;
	return 0;
}

/* A client that has hung up has returned its lease; any other goes on without us. */
static void end_connection(struct link *l)
{
	l->stays = wait_fd(l->c.fd, POLLRDHUP, 0) == -ETIMEDOUT;
	shutdown(l->c.fd, SHUT_RD);
}

void server_stop(struct server *s)
{
	if (!s)
		return;
	if (!s->activated)
		unlink(s->path);
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	for (struct link *l = s->links; l; l = l->next)
		end_connection(l);
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
	thread_wake(s->stop_fd);
	pthread_join(s->accepter, NULL);
	pthread_mutex_lock(&s->lock);
	while (s->n_links > 0)
		pthread_cond_wait(&s->gone, &s->lock);
	pthread_mutex_unlock(&s->lock);
	server_free(s);
}
