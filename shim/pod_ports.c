/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port-forward: see pod_ports.h.
 *
 * How it works. The CRI dials a port of loopback in the pod's namespace, where with
 * others than VMs the container would listen. A connection is accepted before the guest
 * is asked for its half; where nobody listens there it is reset. Two threads for each
 * copy, one for each direction, and an end of a stream is passed on as such. Whoever
 * finds that a direction has failed hangs up both halves, so that the other one ends,
 * too. The VM's end ends the calls, and pod_ports_hang_up() what waits for the host.
 */
#include "shim/pod_ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/port_steer.h"

/* At once; the agent has as many. */
#define CONNECTIONS_MAX 1024
/* Of one call. */
#define COPY_BYTES 65536u

struct connection {
	struct connection *next;
	struct pod_ports *ports;
	struct pod_use use;
	int fd;
	uint64_t id; /* the guest's half */
};

struct pod_ports {
	struct pod *pod;
	int listen_fd, link_fd, wake_fd;
	pthread_t thread;
	bool runs;

	pthread_mutex_t lock; /* of what follows */
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
		deadline_after_ms(c->ports->pod->config.call_timeout_ms), NULL);
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

static void forward_connection(struct connection *c)
{
	pthread_t to_host;

	if (dial_guest(c) < 0) {
		reset_on_close(c->fd);
		return;
	}
	if (thread_start(run_to_host, c, 0, false, &to_host) < 0) {
		fail_connection(c);
		return;
	}
	if (copy_to_guest(c) < 0)
		fail_connection(c);
	pthread_join(to_host, NULL);
	close_guest_half(c);
}

static void drop_connection(struct connection *c)
{
	struct pod_ports *ports = c->ports;
	struct connection **at = &ports->connections;

	pod_use_end(&c->use);
	pthread_mutex_lock(&ports->lock);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	close(c->fd);
	ports->n--;
	pthread_cond_broadcast(&ports->changed);
	pthread_mutex_unlock(&ports->lock);
	free(c);
}

static void *run_connection(void *arg)
{
	struct connection *c = arg;

	if (pod_use_begin(c->ports->pod, &c->use, NULL) == 0)
		forward_connection(c);
	drop_connection(c);
	return NULL;
}

/* fd: taken. */
static void add_connection(struct pod_ports *ports, int fd)
{
	struct connection *c = xnew0(struct connection);
	bool room;

	*c = (struct connection){.ports = ports, .fd = fd};
	pthread_mutex_lock(&ports->lock);
	room = !ports->ending && ports->n < CONNECTIONS_MAX;
	if (room) {
		c->next = ports->connections;
		ports->connections = c;
		ports->n++;
	}
	pthread_mutex_unlock(&ports->lock);
	if (!room) {
		reset_on_close(fd);
		close(fd);
		free(c);
	} else if (thread_start(run_connection, c, 0, true, NULL) < 0) {
		drop_connection(c);
	}
}

/* ---- all of them ---- */

static void *run_accept(void *arg)
{
	struct pod_ports *ports = arg;
	struct pollfd fds[] = {
		{.fd = ports->listen_fd, .events = POLLIN},
		{.fd = ports->wake_fd, .events = POLLIN},
	};

	while (!fds[1].revents) {
		int fd;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 || !fds[0].revents)
			continue;
		fd = accept4(ports->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			add_connection(ports, fd);
	}
	return NULL;
}

void pod_ports_open(struct pod *pod, struct pod_ports **ret)
{
	struct pod_ports *ports = xnew0(struct pod_ports);
	struct err err = ERR_INIT;
	int r;

	*ports = (struct pod_ports){
		.pod = pod, .listen_fd = -1, .link_fd = -1, .wake_fd = -1};
	pthread_mutex_init(&ports->lock, NULL);
	cond_init(&ports->changed);
	ports->wake_fd = eventfd(0, EFD_CLOEXEC);
	r = ports->wake_fd < 0 ? err_sys(&err, errno, "cannot make an eventfd") : 0;
	if (r == 0)
		r = port_steer(pod->netns_fd, &ports->listen_fd, &ports->link_fd, &err);
	if (r < 0) {
		log_warn("port-forward does not reach this pod: %s", err.text);
		pod_ports_free(ports);
		ports = NULL;
	}
	*ret = ports;
}

int pod_ports_start(struct pod_ports *ports, struct err *err)
{
	int r;

	if (!ports)
		return 0;
	r = thread_start(run_accept, ports, 0, false, &ports->thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	ports->runs = true;
	return 0;
}

void pod_ports_hang_up(struct pod_ports *ports)
{
	if (!ports)
		return;
	pthread_mutex_lock(&ports->lock);
	ports->ending = true;
	for (struct connection *c = ports->connections; c; c = c->next) {
		reset_on_close(c->fd);
		shutdown(c->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&ports->lock);
}

void pod_ports_free(struct pod_ports *ports)
{
	if (!ports)
		return;
	pod_ports_hang_up(ports);
	if (ports->runs) {
		if (eventfd_write(ports->wake_fd, 1) < 0)
			log_error("port-forward does not end: %s", strerror(errno));
		pthread_join(ports->thread, NULL);
	}
	pthread_mutex_lock(&ports->lock);
	while (ports->n > 0)
		pthread_cond_wait(&ports->changed, &ports->lock);
	pthread_mutex_unlock(&ports->lock);
	close_fd(ports->link_fd);
	close_fd(ports->listen_fd);
	close_fd(ports->wake_fd);
	pthread_cond_destroy(&ports->changed);
	pthread_mutex_destroy(&ports->lock);
	free(ports);
}
