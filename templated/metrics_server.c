/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics socket: see metrics_server.h. */
#include "templated/metrics_server.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/listener.h"
#include "templated/metrics.h"

#define THREAD_STACK_BYTES (128u << 10)

struct metrics_server {
	struct daemon *daemon;
	char *path;
	int listen_fd, stop_fd;
	pthread_t accepter;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t gone;
	bool stopping;
	unsigned int n;
	int fds[METRICS_CONNECTIONS_MAX]; /* -1: free */
};

struct visit {
	struct metrics_server *server;
	unsigned int slot;
	int fd;
};

/* ---- HTTP ---- */

enum answer {
	ANSWER_OK,
	ANSWER_HEAD,
	ANSWER_BAD,
	ANSWER_NOT_FOUND,
	ANSWER_METHOD,
	ANSWER_TIMEOUT,
	ANSWER_TOO_LARGE,
	ANSWER_VERSION,
	ANSWER_BUSY,
};

static const struct {
	const char *status, *more;
} answers[] = {
	[ANSWER_OK] = {"200 OK", ""},
	[ANSWER_HEAD] = {"200 OK", ""},
	[ANSWER_BAD] = {"400 Bad Request", ""},
	[ANSWER_NOT_FOUND] = {"404 Not Found", ""},
	[ANSWER_METHOD] = {"405 Method Not Allowed", "Allow: GET, HEAD\r\n"},
	[ANSWER_TIMEOUT] = {"408 Request Timeout", ""},
	[ANSWER_TOO_LARGE] = {"431 Request Header Fields Too Large", ""},
	[ANSWER_VERSION] = {"505 HTTP Version Not Supported", ""},
	[ANSWER_BUSY] = {"503 Service Unavailable", "Retry-After: 1\r\n"},
};

/* The request line: METHOD SP target SP HTTP/1.x. Its path may have a query behind. */
static enum answer answer_to_request(char *request)
{
	char *line = strsep(&request, "\r\n"), *method = strsep(&line, " "),
	     *target = strsep(&line, " ");

	if (!target || !line || !*method || *target != '/' ||
		strncmp(line, "HTTP/", 5) != 0)
		return ANSWER_BAD;
	if (strcmp(line, "HTTP/1.0") != 0 && strcmp(line, "HTTP/1.1") != 0)
		return ANSWER_VERSION;
	target[strcspn(target, "?")] = '\0';
	if (strcmp(target, "/metrics") != 0)
		return ANSWER_NOT_FOUND;
	if (strcmp(method, "HEAD") == 0)
		return ANSWER_HEAD;
	return strcmp(method, "GET") == 0 ? ANSWER_OK : ANSWER_METHOD;
}

/* Reads up to the empty line. Returns -1 where there is nobody to answer. */
static int read_request(int fd)
{
	_cleanup_free_ char *buf = xzalloc(METRICS_REQUEST_MAX + 1);
	int64_t deadline = deadline_after_ms(METRICS_REQUEST_MS);
	size_t len = 0;

	while (!strstr(buf, "\r\n\r\n") && !strstr(buf, "\n\n")) {
		ssize_t n;

		if (len == METRICS_REQUEST_MAX)
			return ANSWER_TOO_LARGE;
		n = sock_recv(
			fd, buf + len, METRICS_REQUEST_MAX - len, NULL, 0, deadline);
		if (n == -ETIMEDOUT)
			return ANSWER_TIMEOUT;
		if (n <= 0)
			return -1;
		if (memchr(buf + len, '\0', (size_t)n))
			return ANSWER_BAD;
		len += (size_t)n;
	}
	return answer_to_request(buf);
}

static char *make_body(struct daemon *d, enum answer answer, size_t *ret_len)
{
	_cleanup_json_ struct json_object *status = NULL;
	char *body = NULL;
	FILE *out = open_memstream(&body, ret_len);

	if (!out)
		abort();
	if (answer == ANSWER_OK || answer == ANSWER_HEAD) {
		status = daemon_status(d);
		metrics_print(status, out);
	} else {
		fprintf(out, "%s\n", answers[answer].status);
	}
	fclose(out);
	return body;
}

static void send_answer(struct daemon *d, int fd, enum answer answer)
{
	_cleanup_free_ char *body = NULL, *head = NULL;
	int64_t deadline = deadline_after_ms(METRICS_REQUEST_MS);
	char rest[512];
	size_t len;

	body = make_body(d, answer, &len);
	head = xasprintf("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			 "%sConnection: close\r\n\r\n",
		answers[answer].status,
		answer <= ANSWER_HEAD ? METRICS_CONTENT_TYPE : "text/plain", len,
		answers[answer].more);
	if (sock_send(fd, head, strlen(head), NULL, 0, deadline) == 0 &&
		answer != ANSWER_HEAD)
		sock_send(fd, body, len, NULL, 0, deadline);
	shutdown(fd, SHUT_WR);
	/* What is unread at close(2) would reset the connection under the answer. */
	for (int i = 0; i < 64 && recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0; i++)
		;
}

/* ---- connections ---- */

static void *visit_main(void *arg)
{
	struct visit *v = arg;
	struct metrics_server *s = v->server;
	int answer = read_request(v->fd);

	if (answer >= 0)
		send_answer(s->daemon, v->fd, (enum answer)answer);
	pthread_mutex_lock(&s->lock);
	close(v->fd);
	s->fds[v->slot] = -1;
	s->n--;
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
	free(v);
	return NULL;
}

/* Takes fd in any case. */
static void metrics_server_admit(void *user, int fd)
{
	struct metrics_server *s = user;
	struct visit *v = xnew0(struct visit);
	unsigned int slot = 0;

	pthread_mutex_lock(&s->lock);
	while (slot < METRICS_CONNECTIONS_MAX && s->fds[slot] >= 0)
		slot++;
	if (slot < METRICS_CONNECTIONS_MAX) {
		*v = (struct visit){.server = s, .slot = slot, .fd = fd};
		if (thread_start(visit_main, v, THREAD_STACK_BYTES, true, NULL) == 0) {
			s->fds[slot] = fd;
			s->n++;
			pthread_mutex_unlock(&s->lock);
			return;
		}
	}
	pthread_mutex_unlock(&s->lock);
	free(v);
	send_answer(s->daemon, fd, ANSWER_BUSY);
	close(fd);
}

/* The backlog keeps those who come: tried again when a connection has ended, or later. */
static void wait_for_room(void *user)
{
	struct metrics_server *s = user;

	pthread_mutex_lock(&s->lock);
	if (!s->stopping)
		cond_wait(&s->gone, &s->lock, deadline_after_ms(LISTENER_RETRY_MS));
	pthread_mutex_unlock(&s->lock);
}

static void *accept_all(void *arg)
{
	struct metrics_server *s = arg;
	const struct listener listener = {.listen_fd = s->listen_fd,
		.stop_fd = s->stop_fd,
		.what = "metrics",
		.admit = metrics_server_admit,
		.wait_for_room = wait_for_room,
		.user = s};

	listener_run(&listener);
	return NULL;
}

static void metrics_server_free(struct metrics_server *s)
{
	close_fd(s->listen_fd);
	close_fd(s->stop_fd);
	pthread_cond_destroy(&s->gone);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

int metrics_server_start(struct daemon *d, struct metrics_server **ret, struct err *err)
{
	_cleanup_settings_ struct settings *settings = daemon_settings(d);
	const char *path = settings->config.metrics_endpoint;
	struct metrics_server *s;
	int fd, r;

	*ret = NULL;
	if (!*path)
		return 0;
	r = unix_listen(path, SOCK_STREAM, &fd, err);
	if (r < 0)
		return r;
	s = xnew0(struct metrics_server);
	*s = (struct metrics_server){.daemon = d,
		.path = xstrdup(path),
		.listen_fd = fd,
		.stop_fd = eventfd(0, EFD_CLOEXEC)};
	for (int i = 0; i < METRICS_CONNECTIONS_MAX; i++)
		s->fds[i] = -1;
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->gone);
	r = s->stop_fd < 0 || chmod(path, 0660) < 0 ? -errno : listener_prepare(fd);
	if (r == 0)
		r = thread_start(accept_all, s, THREAD_STACK_BYTES, false, &s->accepter);
	if (r < 0) {
		unlink(path);
		metrics_server_free(s);
		return err_sys(err, r, "cannot serve the metrics at %s", path);
	}
	log_info("metrics are at %s", path);
	*ret = s;
	return 0;
}

void metrics_server_stop(struct metrics_server *s)
{
	if (!s)
		return;
	unlink(s->path);
	thread_wake(s->stop_fd);
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->accepter, NULL);
	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < METRICS_CONNECTIONS_MAX; i++)
		if (s->fds[i] >= 0)
			shutdown(s->fds[i], SHUT_RDWR);
	while (s->n > 0)
		pthread_cond_wait(&s->gone, &s->lock);
	pthread_mutex_unlock(&s->lock);
	metrics_server_free(s);
}
