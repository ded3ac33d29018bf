/* SPDX-License-Identifier: Apache-2.0 */
/* base/ttrpc, the serving end: against a client that sends byte by byte as told. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/log.h"
#include "tests/unit/ttrpc_peer.h"

/* ---- methods ---- */

struct service {
	struct ttrpc_server *server;
	pthread_t thread;
	int fd; /* served by the thread */
	int served;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int blocked; /* handlers of Block under way */
	unsigned int ended;   /* and ended */
	unsigned int left, ended_when_left;
};

static Grpc__VersionCheckResponse *answer_of(char *text)
{
	Grpc__VersionCheckResponse *v = xmalloc(sizeof(*v));

	grpc__version_check_response__init(v);
	v->grpc_version = text;
	return v;
}

static int echo(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	const Grpc__CheckRequest *check = (const Grpc__CheckRequest *)in;

	(void)user;
	(void)request;
	(void)err;
	*ret_out = &answer_of(xstrdup(check->service))->base;
	return 0;
}

static int empty(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	(void)user;
	(void)request;
	(void)in;
	(void)ret_out;
	(void)err;
	return 0;
}

static int refuse(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	const Grpc__CheckRequest *check = (const Grpc__CheckRequest *)in;

	(void)user;
	(void)request;
	(void)ret_out;
	if (!*check->service)
		return -EBUSY;
	return err_set(err, -ENOENT, "there is no %s", check->service);
}

/* An answer of as many bytes as the request says. */
static int big(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	size_t len = strtoul(((const Grpc__CheckRequest *)in)->service, NULL, 10);
	char *text = xmalloc(len + 1);

	(void)user;
	(void)request;
	(void)err;
	memset(text, 'x', len);
	text[len] = '\0';
	*ret_out = &answer_of(text)->base;
	return 0;
}

/* In hours: whatever a machine takes until here, it is rounded away. */
#define HOUR_MS ((int64_t)3600 * 1000)

static int timeout(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	int64_t deadline = ttrpc_request_deadline(request);

	(void)user;
	(void)in;
	(void)err;
	*ret_out = &answer_of(
		deadline == DEADLINE_NONE
			? xstrdup("none")
			: xasprintf("%d",
				  (int)((deadline - now_ms() + HOUR_MS / 2) / HOUR_MS)))
			    ->base;
	return 0;
}

/* Waits until its client has gone. */
static int block(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	struct service *s = user;
	int r;

	(void)in;
	(void)ret_out;
	pthread_mutex_lock(&s->lock);
	s->blocked++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	r = wait_fd(ttrpc_request_closed_fd(request), POLLIN, soon());
	pthread_mutex_lock(&s->lock);
	s->ended += r == 0;
	pthread_mutex_unlock(&s->lock);
	return err_set(err, -ECANCELED, "nobody is there");
}

static const struct ttrpc_method methods[] = {
#define METHOD(name, fn)                                                                 \
	{                                                                                \
		"t", name, &grpc__check_request__descriptor,                             \
			&grpc__version_check_response__descriptor, fn                    \
	}
	METHOD("Echo", echo),
	METHOD("Empty", empty),
	METHOD("Refuse", refuse),
	METHOD("Big", big),
	METHOD("Timeout", timeout),
	METHOD("Block", block),
};

/* ---- a server over a socket pair ---- */

static void on_left(void *user)
{
	struct service *s = user;

	pthread_mutex_lock(&s->lock);
	s->left++;
	s->ended_when_left = s->ended;
	pthread_mutex_unlock(&s->lock);
}

static void service_init(struct service *s, unsigned int max_requests)
{
	struct ttrpc_server_config config = {.tables = {{methods, ARRAY_SIZE(methods)}},
		.user = s,
		.left = on_left,
		.max_requests = max_requests};
	struct err err = ERR_INIT;

	*s = (struct service){.fd = -1};
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->changed);
	assert_int_equal(ttrpc_server_new(&config, &s->server, &err), 0);
}

static void service_done(struct service *s)
{
	ttrpc_server_free(s->server);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

static void *serve_main(void *arg)
{
	struct service *s = arg;

	s->served = ttrpc_server_serve(s->server, s->fd);
	return NULL;
}

static int service_start(struct service *s, unsigned int max_requests)
{
	int fds[2];

	service_init(s, max_requests);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	s->fd = fds[0];
	assert_int_equal(thread_start(serve_main, s, 0, false, &s->thread), 0);
	return fds[1];
}

/* Waits for the end of serving, which must be for this reason; closes the peer's end. */
static void service_end(struct service *s, int peer, int served)
{
	pthread_join(s->thread, NULL);
	assert_int_equal(s->served, served);
	service_done(s);
	assert_end_of_stream(peer);
	close(peer);
}

static void service_stop(struct service *s, int peer)
{
	ttrpc_server_stop(s->server);
	service_end(s, peer, 0);
}

static void wait_blocked(struct service *s, unsigned int n)
{
	int64_t deadline = soon();

	pthread_mutex_lock(&s->lock);
	while (s->blocked < n)
		assert_int_equal(cond_wait(&s->changed, &s->lock, deadline), 0);
	pthread_mutex_unlock(&s->lock);
}

/* ---- answers ---- */

static void test_answers(void **state)
{
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	send_request(peer, 1, 0, "Echo", "hello", 0);
	expect_answer(peer, 1, TTRPC_OK, "hello");
	/* Ids need not rise: a clone's client begins again. */
	send_request(peer, 1, 0, "Echo", "again", 0);
	expect_answer(peer, 1, TTRPC_OK, "again");
	send_request(peer, 0xffffffff, 0, "Empty", "", 0);
	expect_answer(peer, 0xffffffff, TTRPC_OK, "");
	send_request(peer, 3, 0, "Refuse", "cat", 0);
	expect_answer(peer, 3, TTRPC_NOT_FOUND, "there is no cat");
	send_request(peer, 3, 0, "Refuse", "", 0);
	expect_answer(peer, 3, TTRPC_FAILED_PRECONDITION, "Device or resource busy");
	send_request(peer, 3, 0, "Timeout", "", 0);
	expect_answer(peer, 3, TTRPC_OK, "none");
	send_request(peer, 3, 0, "Timeout", "", 60 * HOUR_MS * 1000000);
	expect_answer(peer, 3, TTRPC_OK, "60");
	send_request(peer, 3, 0, "Timeout", "", -1);
	expect_answer(peer, 3, TTRPC_OK, "none");
	/* Bits nobody has given a meaning, and "nothing follows". */
	send_request(peer, 3, 0xf9, "Echo", "flags", 0);
	expect_answer(peer, 3, TTRPC_OK, "flags");
	service_stop(&s, peer);
}

static void test_refusals(void **state)
{
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	send_request(peer, 1, 0, "Nothing\n", "", 0);
	expect_answer(peer, 1, TTRPC_UNIMPLEMENTED, "/t/Nothing\\x0a is not implemented");
	/* Field 2 alone: a method without a service. */
	send_frame(peer, 1, REQUEST, 0,
		"\x12\x04"
		"Echo",
		6);
	expect_answer(peer, 1, TTRPC_UNIMPLEMENTED, "//Echo is not implemented");
	send_request(peer, 2, 0, "Echo", "", 0);
	expect_answer(peer, 2, TTRPC_INVALID_ARGUMENT, "a client's stream ids are odd");
	send_request(peer, 5, 2, "Echo", "", 0);
	expect_answer(peer, 5, TTRPC_UNIMPLEMENTED, "streams are not implemented");
	send_frame(peer, 7, REQUEST, 0, "\xff\xff", 2);
	expect_answer(peer, 7, TTRPC_INVALID_ARGUMENT, "the request is malformed");
	send_frame(peer, 7, REQUEST, 0,
		"\x0a\x01t\x12\x04"
		"Echo"
		"\x1a\x01\xff",
		12);
	expect_answer(peer, 7, TTRPC_INVALID_ARGUMENT,
		"/t/Echo: the request is not a grpc.CheckRequest");
	/* What belongs to a refused stream is passed over. */
	send_frame(peer, 5, DATA, 0, "abc", 3);
	send_request(peer, 9, 0, "Echo", "goes on", 0);
	expect_answer(peer, 9, TTRPC_OK, "goes on");
	service_stop(&s, peer);
}

static void test_sizes(void **state)
{
	_cleanup_free_ char *zeros = xzalloc(TTRPC_FRAME_MAX + 1);
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	send_frame(peer, 1, REQUEST, 0, zeros, TTRPC_FRAME_MAX + 1);
	expect_answer(peer, 1, TTRPC_RESOURCE_EXHAUSTED,
		"the request is above the limit of 4 MiB");
	send_frame(peer, 1, REQUEST, 0, zeros, TTRPC_FRAME_MAX);
	expect_answer(peer, 1, TTRPC_INVALID_ARGUMENT, "the request is malformed");
	send_request(peer, 1, 0, "Big", "4194304", 0);
	expect_answer(peer, 1, TTRPC_RESOURCE_EXHAUSTED,
		"a message of 4194316 bytes; the most is 4194304");
	send_request(peer, 1, 0, "Echo", "goes on", 0);
	expect_answer(peer, 1, TTRPC_OK, "goes on");
	service_stop(&s, peer);
}

/* ---- a client that leaves ---- */

static void test_left(void **state)
{
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	send_request(peer, 1, 0, "Block", "", 0);
	wait_blocked(&s, 1);
	shutdown(peer, SHUT_WR);
	service_end(&s, peer, 0);
	assert_int_equal(s.left, 1);
	assert_int_equal(s.ended_when_left, 1);

	peer = service_start(&s, 0);
	shutdown(peer, SHUT_WR);
	service_end(&s, peer, 0);
	assert_int_equal(s.left, 0); /* it has asked for nothing */
}

/* ---- many at once ---- */

static void test_limit_of_requests(void **state)
{
	struct service s;
	int peer = service_start(&s, 2);

	(void)state;
	send_request(peer, 1, 0, "Block", "", 0);
	send_request(peer, 3, 0, "Block", "", 0);
	wait_blocked(&s, 2);
	send_request(peer, 5, 0, "Echo", "", 0);
	expect_answer(peer, 5, TTRPC_RESOURCE_EXHAUSTED, "too many requests at once");
	service_stop(&s, peer);
}

static void test_slow_request_holds_nobody_up(void **state)
{
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	send_request(peer, 1, 0, "Block", "", 0);
	wait_blocked(&s, 1);
	send_request(peer, 3, 0, "Echo", "quick", 0);
	expect_answer(peer, 3, TTRPC_OK, "quick");
	/* The peer's end is the request's end. */
	shutdown(peer, SHUT_WR);
	service_end(&s, peer, 0);
	assert_int_equal(s.ended, 1);
}

static void test_id_in_flight(void **state)
{
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	send_request(peer, 1, 0, "Block", "", 0);
	wait_blocked(&s, 1);
	send_request(peer, 1, 0, "Echo", "", 0);
	service_end(&s, peer, -EBADMSG);
	assert_int_equal(s.ended, 1);
}

/* An answer that its deadline cuts in two is finished before the next one. */
static void test_peer_that_does_not_read(void **state)
{
	_cleanup_free_ char *text = xmalloc(3000001);
	struct service s;
	int peer = service_start(&s, 0);

	(void)state;
	memset(text, 'x', 3000000);
	text[3000000] = '\0';
	send_request(peer, 1, 0, "Big", "3000000", 20000000);
	assert_int_equal(wait_fd(peer, POLLIN, soon()), 0);
	send_request(peer, 3, 0, "Echo", "next", 0);
	expect_answer(peer, 1, TTRPC_OK, text);
	expect_answer(peer, 3, TTRPC_OK, "next");
	service_stop(&s, peer);
}

/* A handler that is stuck in its answer does not survive the connection. */
static void test_stop_while_answering(void **state)
{
	struct service s;
	int peer = service_start(&s, 0);
	char first;

	(void)state;
	send_request(peer, 1, 0, "Big", "3000000", 0);
	assert_int_equal(read_full(peer, &first, 1), 0);
	ttrpc_server_stop(s.server);
	pthread_join(s.thread, NULL);
	assert_int_equal(s.served, 0);
	service_done(&s);
	close(peer);
}

/* ---- ends ---- */

static void assert_ends(const void *bytes, size_t len, int served)
{
	struct service s;
	int peer = service_start(&s, 0);

	assert_int_equal(write_full(peer, bytes, len), 0);
	shutdown(peer, SHUT_WR);
	service_end(&s, peer, served);
}

static void test_ends(void **state)
{
	(void)state;
	assert_ends("", 0, 0);
	assert_ends("\0\0\0\1\0\0", 6, -ECONNRESET);
	assert_ends("\0\0\0\4\0\0\0\1\1\0abc", 13, -ECONNRESET);
	assert_ends("\0\100\0\1\0\0\0\1\1\0abc", 13, -ECONNRESET);
	assert_ends("\1\0\0\0\0\0\0\1\1\0", 10, -EBADMSG); /* 16 MiB */
	assert_ends("\0\0\0\0\0\0\0\1\2\0", 10, -EBADMSG); /* a response */
	assert_ends("\0\0\0\0\0\0\0\1\0\0", 10, -EBADMSG);
	assert_ends("\0\0\0\0\0\0\0\1\4\0", 10, -EBADMSG);
	assert_ends("GET / HTTP/1.1", 14, -EBADMSG);
}

static void test_bad_fd(void **state)
{
	struct service s;

	(void)state;
	service_init(&s, 0);
	assert_int_equal(ttrpc_server_serve(s.server, -1), -EBADF);
	service_done(&s);
	ttrpc_server_free(NULL);
}

/* ---- accepting ---- */

static void *accept_main(void *arg)
{
	struct service *s = arg;
	struct err err = ERR_INIT;

	s->served = ttrpc_server_accept_loop(s->server, s->fd, &err);
	return NULL;
}

static void test_accept(void **state)
{
	_cleanup_free_ char *folder = xstrdup("/tmp/test_ttrpc.XXXXXX"), *path = NULL;
	struct ttrpc_client *a, *b;
	struct err err = ERR_INIT;
	struct service s;
	struct caller c;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = xasprintf("%s/s", folder);
	service_init(&s, 0);
	assert_int_equal(unix_listen(path, SOCK_STREAM, &s.fd, &err), 0);
	assert_int_equal(thread_start(accept_main, &s, 0, false, &s.thread), 0);
	assert_int_equal(unix_connect(path, SOCK_STREAM, soon(), &fd, &err), 0);
	assert_int_equal(ttrpc_client_new(fd, &a, &err), 0);
	assert_int_equal(unix_connect(path, SOCK_STREAM, soon(), &fd, &err), 0);
	assert_int_equal(ttrpc_client_new(fd, &b, &err), 0);
	caller_start(&c, a, "Block", "", DEADLINE_NONE);
	wait_blocked(&s, 1);
	assert_call(b, "Echo", "b", soon(), 0, "b");
	assert_call(a, "Echo", "a", soon(), 0, "a");
	assert_call(
		a, "None", "a", soon(), -EOPNOTSUPP, "None: /t/None is not implemented");
	/* One client's end is not the other's. */
	ttrpc_client_free(b);
	assert_call(a, "Echo", "a", soon(), 0, "a");
	ttrpc_server_stop(s.server);
	pthread_join(s.thread, NULL);
	assert_int_equal(s.served, 0);
	service_done(&s);
	assert_int_equal(s.left, 1); /* the last one */
	caller_end(&c, -ECONNRESET, "Block: the peer has closed the connection");
	ttrpc_client_free(a);
	close(s.fd);
	unlink(path);
	rmdir(folder);
}

/* One descriptor is free, and the client takes it: the server says so and goes on. */
static void test_accept_shortage(void **state)
{
	_cleanup_free_ char *folder = xstrdup("/tmp/test_ttrpc.XXXXXX"), *path = NULL;
	struct rlimit whole, scarce;
	struct err err = ERR_INIT;
	struct ttrpc_client *a;
	struct service s;
	int log[2], fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = xasprintf("%s/s", folder);
	service_init(&s, 0);
	assert_int_equal(unix_listen(path, SOCK_STREAM, &s.fd, &err), 0);
	assert_int_equal(pipe(log), 0);
	log_init("test", log[1], LOG_LEVEL_ERROR);
	assert_int_equal(thread_start(accept_main, &s, 0, false, &s.thread), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &whole), 0);
	fd = dup(log[0]);
	close(fd);
	scarce = (struct rlimit){(rlim_t)fd + 1, whole.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &scarce), 0);
	assert_int_equal(unix_connect(path, SOCK_STREAM, soon(), &fd, &err), 0);
	assert_int_equal(wait_fd(log[0], POLLIN, soon()), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &whole), 0);
	assert_int_equal(ttrpc_client_new(fd, &a, &err), 0);
	assert_call(a, "Echo", "a", soon(), 0, "a");
	ttrpc_server_stop(s.server);
	pthread_join(s.thread, NULL);
	assert_int_equal(s.served, 0);
	log_init("test", STDERR_FILENO, LOG_LEVEL_ERROR);
	service_done(&s);
	ttrpc_client_free(a);
	close(log[0]);
	close(log[1]);
	close(s.fd);
	unlink(path);
	rmdir(folder);
}

static void test_accept_on_what_does_not_listen(void **state)
{
	struct err err = ERR_INIT;
	struct service s;
	int fds[2];

	(void)state;
	service_init(&s, 0);
	assert_int_equal(ttrpc_server_accept_loop(s.server, -1, &err), -EBADF);
	assert_string_equal(err.text, "listening socket: Bad file descriptor");
	assert_int_equal(pipe(fds), 0);
	close(fds[1]);
	assert_int_equal(ttrpc_server_accept_loop(s.server, fds[0], &err), -ENOTSOCK);
	assert_string_equal(err.text, "accept: Socket operation on non-socket");
	close(fds[0]);
	service_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_limit_of_requests),
		cmocka_unit_test(test_slow_request_holds_nobody_up),
		cmocka_unit_test(test_id_in_flight),
		cmocka_unit_test(test_peer_that_does_not_read),
		cmocka_unit_test(test_stop_while_answering),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_bad_fd),
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_accept_shortage),
		cmocka_unit_test(test_accept_on_what_does_not_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
