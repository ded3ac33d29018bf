/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's name server for the guest: see pod_names.h.
 *
 * How it works. The agent has what the guest's processes send to it (guest/names.c), and
 * a thread asks the agent for one after the other. A query is sent from within the pod's
 * namespace to where the guest sent it, so that Docker's rules there (from port 53 to the
 * one that it listens at) are its, too. It has a socket and a thread of its own until it
 * is answered: Docker may ask others in turn, and a name server that was started anew is
 * reached by a new socket alone. A connection becomes one of pod->streams.
 */
#include "shim/pod_names.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "agent-client/agent.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/net.h"
#include "shim/pod_streams.h"

/* At once; who asks more waits. */
#define QUERIES_MAX 256
/* Who has asked has given up long before. */
#define ANSWER_MS 60000

struct pod_names {
	struct pod *pod;
	int end_fd; /* eventfd: readable for ever once it has ended */
	pthread_t thread;
	bool runs, told; /* told: that it does not */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	unsigned int n; /* queries that are not answered yet */
};

struct query {
	struct pod_names *names;
	Grpc__Query *asked;
};

static struct sockaddr_in name_server(void)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(DOCKER_NAMES_ADDRESS),
		.sin_port = htons(DOCKER_NAMES_PORT)};
}

/* ---- one query ---- */

static int wait_answer(const struct pod_names *names, int fd)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = POLLIN},
		{.fd = names->end_fd, .events = POLLIN},
	};
	int64_t deadline = deadline_after_ms(ANSWER_MS);
	int n;

	do
		n = poll(fds, ARRAY_SIZE(fds), deadline_poll_ms(deadline));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ETIMEDOUT;
	return fds[0].revents ? 0 : -ECANCELED;
}

static int read_answer(int fd, ProtobufCBinaryData *ret)
{
	ssize_t n = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);

	if (n < 0)
		return -errno;
	ret->data = xmalloc((size_t)n + 1);
	n = recv(fd, ret->data, (size_t)n + 1, 0);
	if (n < 0)
		return -errno;
	ret->len = (size_t)n;
	return 0;
}

/* The thread is the query's own, and ends in the pod's namespace. ret->data is the
 * caller's, also on failure. */
static int ask_host(struct pod_names *names, const ProtobufCBinaryData *query,
	ProtobufCBinaryData *ret)
{
	const struct sockaddr_in to = name_server();
	_cleanup_close_ int fd = -1;
	int r;

	if (setns(names->pod->netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
		send(fd, query->data, query->len, MSG_NOSIGNAL) < 0)
		return -errno;
	r = wait_answer(names, fd);
	return r < 0 ? r : read_answer(fd, ret);
}

static void answer_guest(struct pod *pod, const Grpc__Query *answer)
{
	struct err err = ERR_INIT;
	struct pod_use use;

	if (pod_use_begin(pod, &use, NULL) < 0)
		return;
	if (agent_answer_query(use.agent, answer, use.deadline, &err) < 0)
		log_debug("the guest does not take an answer: %s", err.text);
	pod_use_end(&use);
}

/* Where there is no answer there is none for the guest. The VM is not used while the host
 * takes its time. */
static void answer_query(const struct query *query)
{
	Grpc__Query out = GRPC__QUERY__INIT;
	int r = ask_host(query->names, &query->asked->data, &out.data);

	out.address = query->asked->address;
	out.port = query->asked->port;
	if (r < 0)
		log_debug("a name is not answered: %s", strerror(-r));
	else if (out.data.len > 0)
		answer_guest(query->names->pod, &out);
	free(out.data.data);
}

static void drop_query(struct query *query)
{
	struct pod_names *names = query->names;

	grpc__query__free_unpacked(query->asked, NULL);
	free(query);
	pthread_mutex_lock(&names->lock);
	names->n--;
	pthread_cond_broadcast(&names->changed);
	pthread_mutex_unlock(&names->lock);
}

static void *run_query(void *arg)
{
	struct query *query = arg;

	answer_query(query);
	drop_query(query);
	return NULL;
}

/* asked: taken. */
static void add_query(struct pod_names *names, Grpc__Query *asked)
{
	struct query *query = xnew0(struct query);

	*query = (struct query){.names = names, .asked = asked};
	pthread_mutex_lock(&names->lock);
	while (names->n == QUERIES_MAX)
		pthread_cond_wait(&names->changed, &names->lock);
	names->n++;
	pthread_mutex_unlock(&names->lock);
	if (thread_start(run_query, query, 0, true, NULL) < 0)
		drop_query(query);
}

/* ---- all of them ---- */

/* One that is not taken is hung up on in the guest. */
static void take_connection(
	struct pod_names *names, const struct pod_use *use, uint64_t id)
{
	Grpc__ClosePortRequest close = GRPC__CLOSE_PORT_REQUEST__INIT;
	const struct sockaddr_in to = name_server();

	if (pod_streams_add_guest(names->pod->streams, id, &to))
		return;
	close.id = id;
	agent_close_port(use->agent, &close,
		deadline_after_ms(names->pod->config.call_timeout_ms), NULL);
}

static void take_queries(struct pod_names *names, const struct pod_use *use)
{
	Grpc__NextQueryRequest request = GRPC__NEXT_QUERY_REQUEST__INIT;
	struct err err = ERR_INIT;
	Grpc__Query *asked;

	while (agent_next_query(use->agent, &request, &asked, DEADLINE_NONE, &err) == 0) {
		if (asked->connection == 0) {
			add_query(names, asked);
			continue;
		}
		take_connection(names, use, asked->connection);
		grpc__query__free_unpacked(asked, NULL);
	}
	if (err.code != -ECONNRESET)
		log_error("names are not answered any more: %s", err.text);
}

static void *run_thread(void *arg)
{
	struct pod_names *names = arg;
	struct pod_use use;

	if (pod_use_begin(names->pod, &use, NULL) < 0)
		return NULL;
	take_queries(names, &use);
	pod_use_end(&use);
	return NULL;
}

int pod_names_new(struct pod *pod, struct pod_names **ret, struct err *err)
{
	int end_fd = eventfd(0, EFD_CLOEXEC);
	struct pod_names *names;

	if (end_fd < 0)
		return err_sys(err, errno, "cannot make an eventfd");
	names = xnew0(struct pod_names);
	names->pod = pod;
	names->end_fd = end_fd;
	pthread_mutex_init(&names->lock, NULL);
	cond_init(&names->changed);
	*ret = names;
	return 0;
}

static int serve_guest(
	struct pod_names *names, const struct pod_use *use, struct err *err)
{
	Grpc__ServeNamesRequest request = GRPC__SERVE_NAMES_REQUEST__INIT;
	bool there;
	int r;

	r = net_has_datagram_socket(
		names->pod->netns_fd, DOCKER_NAMES_ADDRESS, &there, err);
	if (r < 0 || !there)
		return r;
	r = agent_serve_names(use->agent, &request, use->deadline, err);
	if (r < 0)
		return r;
	r = thread_start(run_thread, names, 0, false, &names->thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	names->runs = true;
	return 0;
}

/* Tried at each look, which there is after each change of the network; told once. */
void pod_names_look(struct pod_names *names, const struct pod_use *use)
{
	struct err err = ERR_INIT;

	if (names->runs || serve_guest(names, use, &err) == 0 ||
		err.code == -ECONNRESET || names->told)
		return;
	names->told = true;
	log_error("the guest does not reach the name server of Docker's networks: %s",
		err.text);
}

void pod_names_hang_up(struct pod_names *names)
{
	if (names)
		thread_wake(names->end_fd);
}

void pod_names_free(struct pod_names *names)
{
	if (!names)
		return;
	if (names->runs)
		pthread_join(names->thread, NULL);
	pthread_mutex_lock(&names->lock);
	while (names->n > 0)
		pthread_cond_wait(&names->changed, &names->lock);
	pthread_mutex_unlock(&names->lock);
	close_fd(names->end_fd);
	pthread_cond_destroy(&names->changed);
	pthread_mutex_destroy(&names->lock);
	free(names);
}
