/* SPDX-License-Identifier: Apache-2.0 */
/* The relay between FIFOs and an agent that a script plays. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/thread.h"
#include "shim/stdio.h"
#include "tests/unit/test_shim.h"

/* The script: what stdout and stderr say, chunk by chunk; what stdin heard. */
struct script {
	const char *out[4], *err[4];
	unsigned int n_out, n_err; /* said so far */
	char heard[64];
	bool closed;
	bool repeats; /* out[0] for ever */
	bool refuses; /* input */
	bool silent;  /* stdout stays open and says nothing more */
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static struct scratch scratch;
static struct script script;
static struct ttrpc_server *server;
static struct agent *agent;
static pthread_t thread;

static int say(const char *const *chunks, unsigned int *n, ProtobufCMessage **ret_out)
{
	Grpc__ReadStreamResponse *out = xnew0(Grpc__ReadStreamResponse);
	const char *chunk;

	pthread_mutex_lock(&script.lock);
	chunk = chunks[*n] ? chunks[*n] : "";
	if (chunks[*n] && !script.repeats)
		(*n)++;
	pthread_mutex_unlock(&script.lock);
	grpc__read_stream_response__init(out);
	out->data.len = strlen(chunk);
	out->data.data = (uint8_t *)xstrdup(chunk);
	*ret_out = &out->base;
	return 0;
}

static int on_read(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	(void)user, (void)err;
	if (script.silent && !script.out[script.n_out])
		assert_int_equal(
			wait_fd(ttrpc_request_closed_fd(request), POLLIN, soon()), 0);
	assert_string_equal(((const Grpc__ReadStreamRequest *)in)->container_id, "c1");
	return say(script.out, &script.n_out, ret_out);
}

static int on_read_err(void *user, struct ttrpc_request *request,
	const ProtobufCMessage *in, ProtobufCMessage **ret_out, struct err *err)
{
	(void)user, (void)request, (void)err, (void)in;
	return say(script.err, &script.n_err, ret_out);
}

/* Takes two bytes at a time: the rest must be sent again. */
static int on_write(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	const Grpc__WriteStreamRequest *write = (const Grpc__WriteStreamRequest *)in;
	Grpc__WriteStreamResponse *out;

	(void)user, (void)request;
	if (script.refuses)
		return err_set(err, -ETIMEDOUT, "nobody reads it");
	out = xnew0(Grpc__WriteStreamResponse);
	grpc__write_stream_response__init(out);
	out->len = (uint32_t)MIN(write->data.len, (size_t)2);
	pthread_mutex_lock(&script.lock);
	strncat(script.heard, (const char *)write->data.data, out->len);
	pthread_mutex_unlock(&script.lock);
	*ret_out = &out->base;
	return 0;
}

static int on_close(void *user, struct ttrpc_request *request, const ProtobufCMessage *in,
	ProtobufCMessage **ret_out, struct err *err)
{
	(void)user, (void)request, (void)err, (void)in, (void)ret_out;
	pthread_mutex_lock(&script.lock);
	script.closed = true;
	pthread_cond_broadcast(&script.changed);
	pthread_mutex_unlock(&script.lock);
	return 0;
}

#define SERVICE "grpc.AgentService"
static const struct ttrpc_method methods[] = {
	{SERVICE, "ReadStdout", &grpc__read_stream_request__descriptor,
		&grpc__read_stream_response__descriptor, on_read},
	{SERVICE, "ReadStderr", &grpc__read_stream_request__descriptor,
		&grpc__read_stream_response__descriptor, on_read_err},
	{SERVICE, "WriteStdin", &grpc__write_stream_request__descriptor,
		&grpc__write_stream_response__descriptor, on_write},
	{SERVICE, "CloseStdin", &grpc__close_stdin_request__descriptor,
		&google__protobuf__empty__descriptor, on_close},
};

static int server_fd;

static void *run_server(void *arg)
{
	(void)arg;
	ttrpc_server_serve(server, server_fd);
	return NULL;
}

static int setup(void **state)
{
	struct ttrpc_server_config config = {
		.tables = {{methods, ARRAY_SIZE(methods)}}, .max_requests = 16};
	int fds[2];

	scratch_make(&scratch);
	script = (struct script){.lock = PTHREAD_MUTEX_INITIALIZER};
	cond_init(&script.changed);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_ok(ttrpc_server_new(&config, &server, err));
	server_fd = fds[1];
	assert_int_equal(thread_start(run_server, NULL, 0, false, &thread), 0);
	assert_ok(agent_new(fds[0], &agent, err));
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	agent_free(agent);
	pthread_join(thread, NULL);
	ttrpc_server_free(server);
	scratch_remove(&scratch);
	return 0;
}

/* ---- the shim's side ---- */

static char *make_fifo(const char *name)
{
	char *path = scratch_path(&scratch, name);

	assert_int_equal(mkfifo(path, 0600), 0);
	return path;
}

static struct stdio *open_relay(
	const char *in, const char *out, const char *err_path, bool terminal)
{
	struct stdio_config config = {.container_id = "c1",
		.exec_id = "c1",
		.namespace = "default",
		.terminal = terminal,
		.in = in,
		.out = out,
		.err = err_path};
	struct stdio *s = NULL;

	assert_ok(stdio_open(&config, &s, err));
	return s;
}

/* All that a FIFO brings until its end. */
static void assert_reads(int fd, const char *wanted)
{
	char buf[64] = "";
	size_t len = 0;
	ssize_t n;

	do {
		assert_int_equal(wait_fd(fd, POLLIN, soon()), 0);
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		assert_true(n >= 0);
		len += (size_t)n;
	} while (n > 0);
	assert_string_equal(buf, wanted);
}

static void wait_closed(void)
{
	int r = 0;

	pthread_mutex_lock(&script.lock);
	while (!script.closed && r == 0)
		r = cond_wait(&script.changed, &script.lock, soon());
	pthread_mutex_unlock(&script.lock);
	assert_true(script.closed);
}

static void test_output(void **state)
{
	_cleanup_free_ char *out = make_fifo("out"), *err_path = make_fifo("err");
	struct stdio *s = open_relay("", out, err_path, false);
	_cleanup_close_ int out_fd = open(out, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_close_ int err_fd = open(err_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	(void)state;
	script.out[0] = "one ";
	script.out[1] = "two";
	script.err[0] = "oops";
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(stdio_drain(s, soon()), 0);
	/* All of it is in the FIFOs now, whoever reads when. */
	assert_reads(out_fd, "one two");
	assert_reads(err_fd, "oops");
	stdio_free(s);
}

static void test_terminal(void **state)
{
	_cleanup_free_ char *out = make_fifo("out");
	struct stdio *s = open_relay("", out, "", true);
	_cleanup_close_ int out_fd = open(out, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	(void)state;
	script.out[0] = "tty";
	script.err[0] = "nobody reads this";
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(stdio_drain(s, soon()), 0);
	assert_reads(out_fd, "tty");
	assert_int_equal(script.n_err, 0);
	stdio_free(s);
}

static void test_no_output(void **state)
{
	struct stdio *s = open_relay("", "", "", false);

	(void)state;
	script.out[0] = script.err[0] = "thrown away";
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(stdio_drain(s, soon()), 0);
	assert_int_equal(script.n_out, 1);
	assert_int_equal(script.n_err, 1);
	stdio_free(s);
}

static void test_file(void **state)
{
	_cleanup_free_ char *uri = xasprintf("file://%s/log", scratch.path), *text = NULL;
	struct stdio *s = open_relay("", uri, uri, false);
	size_t len;

	(void)state;
	script.out[0] = "to a file";
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(stdio_drain(s, soon()), 0);
	stdio_free(s);
	assert_ok(file_read(AT_FDCWD, uri + 7, 64, &text, &len, err));
	assert_string_equal(text, "to a file");
}

/* A FIFO that nobody reads fills up: the end is not waited for longer than asked, and a
 * guest that talks on does not keep the relay from ending. */
static void test_nobody_reads(void **state)
{
	_cleanup_free_ char *out = make_fifo("out");
	struct stdio *s = open_relay("", out, "", true);

	(void)state;
	script.repeats = true;
	script.out[0] = "again and again and again and again and again and again";
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(stdio_drain(s, deadline_after_ms(50)), -ETIMEDOUT);
	stdio_free(s);
}

/* A child that lives on keeps the stream open: the relay ends all the same. */
static void test_stream_stays_open(void **state)
{
	_cleanup_free_ char *out = make_fifo("out");
	struct stdio *s = open_relay("", out, "", true);
	_cleanup_close_ int out_fd = open(out, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	(void)state;
	script.silent = true;
	script.out[0] = "said";
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(wait_fd(out_fd, POLLIN, soon()), 0);
	assert_int_equal(stdio_drain(s, deadline_after_ms(50)), -ETIMEDOUT);
	stdio_free(s);
	assert_reads(out_fd, "said");
}

static void test_input(void **state)
{
	_cleanup_free_ char *in = make_fifo("in");
	struct stdio *s = open_relay(in, "", "", false);
	_cleanup_close_ int fd = open(in, O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_ok(stdio_start(s, agent, err));
	/* A client that goes is not the end: the shim holds the FIFO open. */
	assert_int_equal(write(fd, "hello ", 6), 6);
	close_fd(steal_fd(&fd));
	fd = open(in, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "world", 5), 5);
	stdio_close_stdin(s);
	close_fd(steal_fd(&fd));
	wait_closed();
	assert_string_equal(script.heard, "hello world");
	stdio_free(s);
}

/* What the guest does not take is not waited for by either side: the process reads the
 * end, the client finds nobody at the other end of its FIFO. */
static void test_input_fails(void **state)
{
	_cleanup_free_ char *in = make_fifo("in");
	struct stdio *s = open_relay(in, "", "", false);
	_cleanup_close_ int fd = open(in, O_WRONLY | O_CLOEXEC);

	(void)state;
	script.refuses = true;
	assert_ok(stdio_start(s, agent, err));
	assert_int_equal(write(fd, "hello", 5), 5);
	wait_closed();
	assert_int_equal(wait_fd(fd, POLLERR, soon()), 0);
	assert_int_equal(write(fd, "hello", 5), -1);
	assert_int_equal(errno, EPIPE);
	stdio_free(s);
}

static void test_refused(void **state)
{
	struct stdio_config fluentd = {
		"c1", "c1", "default", false, "", "fluentd:///bin/logger", ""};
	struct stdio_config missing = {
		"c1", "c1", "default", false, "/nonexistent/fifo", "", ""};
	struct stdio *s = NULL;

	(void)state;
	assert_err(stdio_open(&fluentd, &s, err), -EOPNOTSUPP,
		"stdout: output to fluentd:///bin/logger is not supported: a FIFO, "
		"file:// or binary:// is");
	assert_err(stdio_open(&missing, &s, err), -ENOENT,
		"stdin: cannot open /nonexistent/fifo: No such file or directory");
	assert_null(s);
	stdio_free(NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_output),
		TEST(test_terminal),
		TEST(test_no_output),
		TEST(test_file),
		TEST(test_nobody_reads),
		TEST(test_stream_stays_open),
		TEST(test_input),
		TEST(test_input_fails),
		TEST(test_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
