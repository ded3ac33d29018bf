/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections between a pod's namespace on the host and its guest: see pod_streams.h.
 *
 * How it works. Two threads for each copy, one for each direction, and an end of a stream
 * is passed on as such. Whoever finds that a direction has failed hangs up both halves,
 * so that the other one ends, too. The VM's end ends the calls, and pod_streams_hang_up()
 * what waits for the host.
 */
#include "shim/pod_streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/net.h"

/* At once; the agent has as many. */
#define CONNECTIONS_MAX 512
/* Of one call. */
#define COPY_BYTES 65536u

struct connection {
	struct connection *next;
	struct pod_streams *streams;
	struct pod_use use;
	int fd;                  /* the host's half; -1: not yet */
	uint64_t id;             /* the guest's half; 0: not yet */
	struct sockaddr_in dial; /* where the host's half is made */
};

struct pod_streams {
	struct pod *pod;

	pthread_mutex_t lock; /* of what follows, and of each connection's fd */
	pthread_cond_t changed;
	bool ending;
	struct connection *connections;
	unsigned int n;
};

/* ---- one direction ---- */

static int write_to_guest(struct connection *c, uint8_t *data, size_t len)
{
	Grpc__WritePortRequest request = GRPC__WRITE_PORT_REQUEST__INIT;

	request.id = c->id;
	request.data.data = data;
	request.data.len = len;
	return agent_write_port(c->use.agent, &request, DEADLINE_NONE, NULL);
}

static int copy_to_guest(struct connection *c)
{
	_cleanup_free_ uint8_t *data = xmalloc(COPY_BYTES);
	ssize_t n;
	int r;

	do {
		n = recv(c->fd, data, COPY_BYTES, 0);
		if (n < 0)
			return -errno;
		/* Without data: the end. */
		r = write_to_guest(c, data, (size_t)n);
	} while (r == 0 && n > 0);
	return r;
}

static int copy_to_host(struct connection *c)
{
	Grpc__ReadPortRequest request = GRPC__READ_PORT_REQUEST__INIT;
	size_t n;
	int r;

	request.id = c->id;
	request.len = COPY_BYTES;
	do {
		Grpc__ReadStreamResponse *out = NULL;

		r = agent_read_port(c->use.agent, &request, &out, DEADLINE_NONE, NULL);
		if (r < 0)
			return r;
		n = out->data.len;
		r = n > 0 ? sock_send(c->fd, out->data.data, n, NULL, 0, DEADLINE_NONE)
			  : 0;
		grpc__read_stream_response__free_unpacked(out, NULL);
	} while (r == 0 && n > 0);
	if (r == 0 && shutdown(c->fd, SHUT_WR) < 0)
		r = -errno;
	return r;
}

/* ---- one connection ---- */

/* The other side sees that something is missing, and not an end. */
static void reset_on_close(int fd)
{
	const struct linger now = {.l_onoff = 1};

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) < 0)
		log_debug("a forwarded connection ends, and is not reset: %s",
			strerror(errno));
}

static void close_guest_half(struct connection *c)
{
	Grpc__ClosePortRequest request = GRPC__CLOSE_PORT_REQUEST__INIT;

	request.id = c->id;
	agent_close_port(c->use.agent, &request,
		deadline_after_ms(c->streams->pod->config.call_timeout_ms), NULL);
}

static void fail_connection(struct connection *c)
{
	reset_on_close(c->fd);
	shutdown(c->fd, SHUT_RDWR);
	close_guest_half(c);
}

static void *run_to_host(void *arg)
{
	struct connection *c = arg;

	if (copy_to_host(c) < 0)
		fail_connection(c);
	return NULL;
}

static int ask_address(int fd, uint8_t ip[16], size_t *ret_len, uint32_t *ret_port)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct sockaddr_storage a = {0};
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a;
	socklen_t len = sizeof(a);
	bool is_v4;

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	is_v4 = a.ss_family == AF_INET || memcmp(&v6->sin6_addr, mapped, 12) == 0;
	*ret_len = is_v4 ? 4 : 16;
	*ret_port = ntohs(a.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
	if (a.ss_family == AF_INET)
		memcpy(ip, &v4->sin_addr, 4);
	else
		memcpy(ip, (const uint8_t *)&v6->sin6_addr + (is_v4 ? 12 : 0), *ret_len);
	return 0;
}

static int dial_guest(struct connection *c)
{
	Grpc__DialPortRequest request = GRPC__DIAL_PORT_REQUEST__INIT;
	Grpc__DialPortResponse *out = NULL;
	struct err err = ERR_INIT;
	uint8_t ip[16];
	int r = ask_address(c->fd, ip, &request.address.len, &request.port);

	if (r < 0)
		return r;
	request.address.data = ip;
	r = agent_dial_port(c->use.agent, &request, &out, c->use.deadline, &err);
	if (r < 0) {
		log_info("a connection is not forwarded: %s", err.text);
		return r;
	}
	c->id = out->id;
	grpc__dial_port_response__free_unpacked(out, NULL);
	return 0;
}

/* From here on pod_streams_hang_up() ends what waits for it. */
static int set_fd(struct connection *c, int fd)
{
	bool ending;

	pthread_mutex_lock(&c->streams->lock);
	ending = c->streams->ending;
	c->fd = fd;
	pthread_mutex_unlock(&c->streams->lock);
	return ending ? -ESHUTDOWN : 0;
}

static int dial_host(struct connection *c)
{
	int fd, r;

	r = net_open_socket(c->streams->pod->netns_fd, AF_INET, &fd);
	if (r == 0)
		r = set_fd(c, fd);
	if (r == 0 && connect(fd, (struct sockaddr *)&c->dial, sizeof(c->dial)) < 0)
		r = -errno;
	if (r < 0)
		log_debug(
			"a connection of the guest's is not forwarded: %s", strerror(-r));
	return r;
}

static void copy_both_ways(struct connection *c)
{
	pthread_t to_host;

	if (thread_start(run_to_host, c, 0, false, &to_host) < 0) {
		fail_connection(c);
		return;
	}
	if (copy_to_guest(c) < 0)
		fail_connection(c);
	pthread_join(to_host, NULL);
	close_guest_half(c);
}

static void forward_connection(struct connection *c)
{
	if (c->id == 0 && dial_guest(c) < 0)
		reset_on_close(c->fd);
	else if (c->fd < 0 && dial_host(c) < 0)
		close_guest_half(c);
	else
		copy_both_ways(c);
}

static void drop_connection(struct connection *c)
{
	struct pod_streams *streams = c->streams;
	struct connection **at = &streams->connections;

	pod_use_end(&c->use);
	pthread_mutex_lock(&streams->lock);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	close_fd(c->fd);
	streams->n--;
	pthread_cond_broadcast(&streams->changed);
	pthread_mutex_unlock(&streams->lock);
	free(c);
}

static void *run_connection(void *arg)
{
	struct connection *c = arg;

	if (pod_use_begin(c->streams->pod, &c->use, NULL) == 0)
		forward_connection(c);
	drop_connection(c);
	return NULL;
}

/* A copy is made. False: it is not taken, nor is its fd. */
static bool add_connection(struct pod_streams *streams, const struct connection *order)
{
	struct connection *c = xnew0(struct connection);
	bool room;

	*c = *order;
	c->streams = streams;
	pthread_mutex_lock(&streams->lock);
	room = !streams->ending && streams->n < CONNECTIONS_MAX;
	if (room) {
		c->next = streams->connections;
		streams->connections = c;
		streams->n++;
	}
	pthread_mutex_unlock(&streams->lock);
	if (!room) {
		free(c);
		return false;
	}
	if (thread_start(run_connection, c, 0, true, NULL) == 0)
		return true;
	set_fd(c, -1);
	drop_connection(c);
	return false;
}

void pod_streams_add_host(struct pod_streams *streams, int fd)
{
	if (add_connection(streams, &(struct connection){.fd = fd}))
		return;
	reset_on_close(fd);
	close(fd);
}

bool pod_streams_add_guest(
	struct pod_streams *streams, uint64_t id, const struct sockaddr_in *dial)
{
	return add_connection(
		streams, &(struct connection){.fd = -1, .id = id, .dial = *dial});
}

/* ---- all of them ---- */

struct pod_streams *pod_streams_new(struct pod *pod)
{
	struct pod_streams *streams = xnew0(struct pod_streams);

	streams->pod = pod;
	pthread_mutex_init(&streams->lock, NULL);
	cond_init(&streams->changed);
	return streams;
}

void pod_streams_hang_up(struct pod_streams *streams)
{
	if (!streams)
		return;
	pthread_mutex_lock(&streams->lock);
	streams->ending = true;
	for (struct connection *c = streams->connections; c; c = c->next) {
		if (c->fd < 0)
			continue;
		reset_on_close(c->fd);
		shutdown(c->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&streams->lock);
}

void pod_streams_free(struct pod_streams *streams)
{
	if (!streams)
		return;
	pod_streams_hang_up(streams);
	pthread_mutex_lock(&streams->lock);
	while (streams->n > 0)
		pthread_cond_wait(&streams->changed, &streams->lock);
	pthread_mutex_unlock(&streams->lock);
	pthread_cond_destroy(&streams->changed);
	pthread_mutex_destroy(&streams->lock);
	free(streams);
}
