/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's name server for the guest: what is sent to 127.0.0.11:53 goes to the host.
 *
 * How it works. On a host it answers in the container's network namespace, where it is
 * bound to some port of that address, and netfilter's rules lead there from port 53. The
 * guest's processes find nobody there; so the agent has a socket for datagrams and one
 * for connections, at ports of the kernel's choice as well, to which BPF steers what is
 * sent to port 53. That port stays free: a container may be a name server itself, and
 * bind it on any address. An answer must come from port 53, which none of our sockets
 * has: it is written as a whole packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "agent-client/agent.h"
#include "base/sk_steer.h"
#include "base/util.h"
#include "guest/dial.h"
#include "guest/message.h"
#include "guest/service.h"
#include "guest/wait.h"

/* The largest datagram of IPv4. */
#define QUERY_MAX    (65535 - sizeof(struct iphdr) - sizeof(struct udphdr))
#define BACKLOG      128
#define TIME_TO_LIVE 64

static struct {
	pthread_mutex_t lock;
	bool served; /* and then for ever, as what follows */
	int datagram_fd, listen_fd, packet_fd, link_fd;
	int spare_fd; /* for one that there is no descriptor for */
} names = {.lock = PTHREAD_MUTEX_INITIALIZER,
	.spare_fd = -1,
	.datagram_fd = -1,
	.listen_fd = -1,
	.packet_fd = -1,
	.link_fd = -1};

/* ---- the sockets ---- */

/* What is accepted has port 53: who binds that, as servers do, with SO_REUSEADDR must
 * find it here, too. */
static int open_bound(int type, int *ret_fd)
{
	const struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(DOCKER_NAMES_ADDRESS)};
	_cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = type == SOCK_STREAM;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
		bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* The agent's network namespace is that of all containers. */
static int steer_to(int datagram_fd, int listen_fd, int *ret_link_fd)
{
	struct sk_steer_rule rules[] = {
		{.protocol = IPPROTO_UDP, .fd = datagram_fd},
		{.protocol = IPPROTO_TCP, .fd = listen_fd},
	};
	_cleanup_close_ int netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (netns_fd < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		rules[i].family = AF_INET;
		rules[i].address[0] = htonl(DOCKER_NAMES_ADDRESS);
		rules[i].mask = htonl(INADDR_NONE);
		rules[i].port = DOCKER_NAMES_PORT;
	}
	return sk_steer(netns_fd, rules, ARRAY_SIZE(rules), ret_link_fd);
}

static int serve_names(struct err *err)
{
	_cleanup_close_ int datagram_fd = -1, listen_fd = -1, packet_fd = -1;
	_cleanup_close_ int spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int r;

	r = open_bound(SOCK_DGRAM, &datagram_fd);
	if (r == 0)
		r = open_bound(SOCK_STREAM, &listen_fd);
	if (r == 0 && listen(listen_fd, BACKLOG) < 0)
		r = -errno;
	if (r == 0) {
		packet_fd = socket(
			AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
		r = packet_fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return err_sys(err, r, "cannot make the sockets of a name server");
	r = steer_to(datagram_fd, listen_fd, &names.link_fd);
	if (r < 0)
		return err_sys(err, r, "the guest cannot steer by BPF (sk_lookup)");
	names.datagram_fd = steal_fd(&datagram_fd);
	names.listen_fd = steal_fd(&listen_fd);
	names.packet_fd = steal_fd(&packet_fd);
	names.spare_fd = steal_fd(&spare_fd);
	names.served = true;
	return 0;
}

SERVICE_HANDLER(handle_serve_names)
{
	int r;

	(void)user, (void)request, (void)in, (void)ret_out;
	pthread_mutex_lock(&names.lock);
	r = names.served ? 0 : serve_names(err);
	pthread_mutex_unlock(&names.lock);
	return r;
}

static int check_served(struct err *err)
{
	bool served;

	pthread_mutex_lock(&names.lock);
	served = names.served;
	pthread_mutex_unlock(&names.lock);
	return served ? 0 : err_set(err, -ENOTCONN, "names are not served");
}

/* ---- what is asked ---- */

/* 1, or 0: there is nothing. */
static int take_datagram(Grpc__Query *query)
{
	_cleanup_free_ uint8_t *data = xmalloc(QUERY_MAX);
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(
		names.datagram_fd, data, QUERY_MAX, 0, (struct sockaddr *)&from, &len);

	if (n <= 0)
		return 0;
	query->data.len = (size_t)n;
	query->data.data = xreallocarray(steal_ptr(data), (size_t)n, 1);
	query->address = from.sin_addr.s_addr;
	query->port = ntohs(from.sin_port);
	return 1;
}

/* With no descriptor left it would be waited for for ever, and be ready. */
static void hang_up_first(void)
{
	pthread_mutex_lock(&names.lock);
	close_fd(names.spare_fd);
	close_fd(accept4(names.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	names.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_unlock(&names.lock);
}

/* One too many is hung up on. */
static int take_connection(Grpc__Query *query)
{
	int fd = accept4(names.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		hang_up_first();
	return fd >= 0 && dial_add_guests(fd, &query->connection, NULL) == 0;
}

SERVICE_HANDLER(handle_next_query)
{
	Grpc__Query *query;
	int r = check_served(err);

	(void)user, (void)in;
	if (r < 0)
		return r;
	query = message_new(&grpc__query__descriptor);
	while (!take_datagram(query) && !take_connection(query)) {
		struct pollfd fds[] = {
			{.fd = ttrpc_request_closed_fd(request), .events = POLLIN},
			{.fd = names.datagram_fd, .events = POLLIN},
			{.fd = names.listen_fd, .events = POLLIN},
		};

		r = wait_first(fds, ARRAY_SIZE(fds), ttrpc_request_deadline(request));
		/* Those behind the first. */
		if (r == -ECONNRESET)
			continue;
		message_free(&query->base);
		return err_sys(err, r == 0 ? -ECANCELED : r, "wait for a query");
	}
	*ret_out = &query->base;
	return 0;
}

/* ---- the answer ---- */

struct packet {
	struct iphdr ip;
	struct udphdr udp;
	uint8_t data[QUERY_MAX];
} __attribute__((packed));

/* What is 0 here and no flag is the kernel's to fill in; a datagram of IPv4 needs no
 * sum. */
static size_t make_packet(const Grpc__Query *answer, struct packet *ret)
{
	const size_t len = sizeof(ret->udp) + answer->data.len;

	ret->ip = (struct iphdr){.version = 4,
		.ihl = sizeof(ret->ip) / 4,
		.ttl = TIME_TO_LIVE,
		.protocol = IPPROTO_UDP,
		.saddr = htonl(DOCKER_NAMES_ADDRESS),
		.daddr = answer->address};
	ret->udp = (struct udphdr){.source = htons(DOCKER_NAMES_PORT),
		.dest = htons((uint16_t)answer->port),
		.len = htons((uint16_t)len)};
	memcpy(ret->data, answer->data.data, answer->data.len);
	return sizeof(ret->ip) + len;
}

SERVICE_HANDLER(handle_answer_query)
{
	const Grpc__Query *answer = (const Grpc__Query *)in;
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_addr.s_addr = answer->address};
	_cleanup_free_ struct packet *packet = NULL;
	size_t len;
	int r = check_served(err);

	(void)user, (void)request, (void)ret_out;
	if (r < 0)
		return r;
	if (answer->data.len == 0 || answer->data.len > QUERY_MAX || answer->port == 0 ||
		answer->port > 65535)
		return err_set(err, -EINVAL, "an answer without data or port");
	packet = xmalloc(sizeof(*packet));
	len = make_packet(answer, packet);
	if (sendto(names.packet_fd, packet, len, 0, (const struct sockaddr *)&to,
		    sizeof(to)) < 0)
		return err_sys(err, errno, "cannot send the answer");
	return 0;
}
