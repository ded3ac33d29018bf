/* SPDX-License-Identifier: Apache-2.0 */
/* A QEMU that says what the test wrote down:
 * the other end of a QMP session, in a thread. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "hotplug/qmp_internal.h"
#include "tests/lib/patience.h"

#define GREETING_VERSION(major, minor, micro)                                            \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": " #micro ", \"minor\": " #minor  \
	", \"major\": " #major                                                           \
	"}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"
#define GREETING     GREETING_VERSION(7, 2, 22)
#define CAPABILITIES "{\"execute\":\"qmp_capabilities\",\"id\":1}"
#define OK(id)       "{\"return\": {}, \"id\": " #id "}\r\n"
#define EVENT(name, data)                                                                \
	"{\"event\": \"" name "\", \"data\": " data ", \"timestamp\": {}}\r\n"
#define REFUSED(id, class, desc)                                                         \
	"{\"id\": " #id ", \"error\": {\"class\": \"" class "\", \"desc\": \"" desc      \
							    "\"}}\r\n"

enum peer_extra {
	PEER_NONE,
	PEER_FD,       /* a descriptor must come with the line */
	PEER_HANGS_UP, /* after its reply; else the peer stays until peer_end() */
};

/* What the peer does next: wait for exactly this line (NULL: for none), then say that. */
struct peer_step {
	const char *expect;
	const char *reply; /* NULL: nothing */
	enum peer_extra extra;
};

struct peer {
	int fd;
	pthread_t thread;
	const struct peer_step *steps;
	size_t n_steps;
	char failure[2048]; /* "" while all went as written */
	char input[1 << 16];
	size_t len;
	int got_fd;
};

/* One line without its end; the descriptor that came with it goes to got_fd. */
static inline bool peer_read_line(struct peer *p, char *line, size_t size)
{
	char *end;
	size_t n;

	while (!(end = memchr(p->input, '\n', p->len))) {
		int fd = -1;
		ssize_t got = sock_recv(p->fd, p->input + p->len,
			sizeof(p->input) - p->len, &fd, 1, soon());

		if (got <= 0)
			return false;
		if (fd >= 0)
			p->got_fd = fd;
		p->len += (size_t)got;
	}
	n = (size_t)(end - p->input);
	if (n >= size)
		return false;
	memcpy(line, p->input, n);
	line[n] = '\0';
	p->len -= n + 1;
	memmove(p->input, end + 1, p->len);
	return true;
}

static inline void peer_step(struct peer *p, const struct peer_step *s)
{
	char line[8192];

	if (s->expect) {
		if (!peer_read_line(p, line, sizeof(line))) {
			snprintf(p->failure, sizeof(p->failure), "no line, wanted %s",
				s->expect);
			return;
		}
		if (strcmp(line, s->expect) != 0)
			snprintf(p->failure, sizeof(p->failure),
				"got %.900s wanted %.900s", line, s->expect);
		if ((s->extra == PEER_FD) != (p->got_fd >= 0))
			snprintf(p->failure, sizeof(p->failure), "descriptor %d with %s",
				p->got_fd, s->expect);
		close_fd(steal_fd(&p->got_fd));
	}
	if (s->reply)
		write_full(p->fd, s->reply, strlen(s->reply));
}

static inline void *peer_main(void *arg)
{
	struct peer *p = arg;

	for (size_t i = 0; i < p->n_steps && !*p->failure; i++) {
		peer_step(p, &p->steps[i]);
		if (*p->failure || p->steps[i].extra == PEER_HANGS_UP)
			shutdown(p->fd, SHUT_RDWR);
	}
	return NULL;
}

/* Starts the peer; returns the session's end. */
static inline int peer_start(
	struct peer *p, const struct peer_step *steps, size_t n_steps)
{
	int fds[2];

	*p = (struct peer){.steps = steps, .n_steps = n_steps, .got_fd = -1};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->fd = fds[1];
	assert_int_equal(thread_start(peer_main, p, 256 << 10, false, &p->thread), 0);
	return fds[0];
}

/* The end of a test: every step was taken, and nothing else was sent. */
static inline void peer_end(struct peer *p)
{
	char rest;

	pthread_join(p->thread, NULL);
	assert_string_equal(p->failure, "");
	assert_int_equal(p->len, 0);
	assert_true(recv(p->fd, &rest, 1, MSG_DONTWAIT) <= 0);
	close(p->fd);
}

/* The beginning of each session. */
#define HELLO                                                                            \
	{NULL, GREETING, PEER_NONE},                                                     \
	{                                                                                \
		CAPABILITIES, OK(1), false                                               \
	}

/* Messages that nobody was waiting for. */
static inline uint64_t dropped(struct qmp *q)
{
	uint64_t n;

	pthread_mutex_lock(&q->lock);
	n = q->n_dropped;
	pthread_mutex_unlock(&q->lock);
	return n;
}

#define assert_ok(expr)                                                                  \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		int r_ = (expr);                                                         \
		if (r_ != 0)                                                             \
			fail_msg("%s: %d %s", #expr, r_, err->text);                     \
	} while (0)

#define assert_err(expr, code_, wanted)                                                  \
	do {                                                                             \
		struct err err_ = ERR_INIT, *err = &err_;                                \
		int r_ = (expr);                                                         \
		assert_string_equal(err->text, wanted);                                  \
		assert_int_equal(r_, code_);                                             \
		assert_int_equal(err->code, code_);                                      \
	} while (0)
