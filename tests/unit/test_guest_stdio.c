/* SPDX-License-Identifier: Apache-2.0 */
/* guest/stdio, guest/process and guest/exec's waiting: what a host reads, writes and
 * learns of processes, over the agent's protocol. */
#include "tests/unit/guest_agent.h"
#include "tests/unit/guest_reaper.h"
#include "guest/terminal.h"

#include <poll.h>
#include <stdlib.h>

#define C "c1"

static struct guest guest;
static struct container *container;

/* A process of the container as crun_launch() leaves it, running a shell's script. */
static struct process *add_process(const char *id, const char *script)
{
	struct process *p = process_new(id, false);
	int in[2], out[2], errs[2];
	struct err err = ERR_INIT;

	assert_int_equal(pipe2(in, O_CLOEXEC) + pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(errs, O_CLOEXEC), 0);
	p->in_fd = in[1];
	p->out_fd = out[0];
	p->err_fd = errs[0];
	fcntl(p->in_fd, F_SETFL, O_NONBLOCK);
	fcntl(p->out_fd, F_SETFL, O_NONBLOCK);
	fcntl(p->err_fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(container_add_process(&guest.sandbox, container, p, &err), 0);
	spawn_shell(&p->child, script, (int[]){in[0], out[1], errs[1]});
	process_set_launched(&guest.sandbox, p);
	close(in[0]);
	close(out[1]);
	close(errs[1]);
	process_put(p); /* the list has one */
	return p;
}

static int begin(void **state)
{
	(void)state;
	guest_start(&guest);
	container = guest_add_container(&guest, C);
	add_process(C, "read line; exit 4");
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (struct process *p = container->processes; p; p = p->next)
		child_kill(&p->child, SIGKILL);
	sandbox_drop(&guest.sandbox, container);
	guest_stop(&guest);
	return 0;
}

/* ---- asking ---- */

/* What is there to read, the caller's; NULL: the error is in *err. */
static char *read_stream(bool is_err, const char *id, uint32_t len, struct err *err)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__ReadStreamResponse *out = NULL;
	char *text;
	int r;

	req.container_id = C;
	req.exec_id = (char *)id;
	req.len = len;
	r = agent_read_output(guest.agent, is_err, &req, &out, NULL, err);
	if (r < 0)
		return NULL;
	text = xstrndup((char *)out->data.data, out->data.len);
	grpc__read_stream_response__free_unpacked(out, NULL);
	return text;
}

static void assert_read(bool is_err, const char *id, const char *text)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *found = read_stream(is_err, id, 100, &err);

	if (!found)
		fail_msg("%s", err.text);
	assert_string_equal(found, text);
}

static void assert_eof(bool is_err, const char *id)
{
	struct err err = ERR_INIT;

	assert_null(read_stream(is_err, id, 100, &err));
	assert_error(err.code, -EINVAL, is_err ? "ReadStderr: eof" : "ReadStdout: eof");
}

static int write_stdin(
	const char *id, const void *data, size_t len, uint32_t *ret_len, struct err *err)
{
	Grpc__WriteStreamRequest req = GRPC__WRITE_STREAM_REQUEST__INIT;
	Grpc__WriteStreamResponse *out = NULL;
	int r;

	req.container_id = C;
	req.exec_id = (char *)id;
	req.data = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
	r = agent_write_input(guest.agent, &req, &out, NULL, err);
	if (r == 0)
		*ret_len = out->len;
	if (out)
		grpc__write_stream_response__free_unpacked(out, NULL);
	return r;
}

static void assert_write(const char *id, const char *text)
{
	struct err err = ERR_INIT;
	uint32_t len;

	assert_int_equal(write_stdin(id, text, strlen(text), &len, &err), 0);
	assert_int_equal(len, strlen(text));
}

static int close_stdin(const char *id, struct err *err)
{
	Grpc__CloseStdinRequest req = GRPC__CLOSE_STDIN_REQUEST__INIT;

	req.container_id = C;
	req.exec_id = (char *)id;
	return agent_close_stdin(guest.agent, &req, soon(), err);
}

static int wait_process(
	const char *id, int64_t deadline, int *ret_status, struct err *err)
{
	Grpc__WaitProcessRequest req = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *out = NULL;
	int r;

	req.container_id = C;
	req.exec_id = (char *)id;
	r = agent_wait_process(guest.agent, &req, &out, deadline, err);
	if (r == 0)
		*ret_status = out->status;
	if (out)
		grpc__wait_process_response__free_unpacked(out, NULL);
	return r;
}

static void assert_status(const char *id, int status)
{
	struct err err = ERR_INIT;
	int found;

	assert_int_equal(wait_process(id, soon(), &found, &err), 0);
	assert_int_equal(found, status);
}

static int signal_process(const char *id, uint32_t signal, struct err *err)
{
	Grpc__SignalProcessRequest req = GRPC__SIGNAL_PROCESS_REQUEST__INIT;

	req.container_id = C;
	req.exec_id = (char *)id;
	req.signal = signal;
	return agent_signal_process(guest.agent, &req, soon(), err);
}

static int resize(const char *id, uint32_t rows, uint32_t columns, struct err *err)
{
	Grpc__TtyWinResizeRequest req = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;

	req.container_id = C;
	req.exec_id = (char *)id;
	req.row = rows;
	req.column = columns;
	return agent_tty_win_resize(guest.agent, &req, soon(), err);
}

/* ---- streams ---- */

static void test_output(void **state)
{
	struct err err = ERR_INIT;
	char *text;

	(void)state;
	add_process("e", "echo hello; echo oops >&2");
	text = read_stream(false, "e", 3, &err);
	assert_string_equal(text, "hel");
	free(text);
	assert_read(false, "e", "lo\n");
	assert_eof(false, "e");
	assert_eof(false, "e");
	assert_read(true, "e", "oops\n");
	assert_null(read_stream(true, "e", 0, &err));
	assert_error(err.code, -EINVAL, "ReadStderr: a read of 0 bytes");
	assert_status("e", 0);
	assert_eof(true, "e");
	/* All of it was taken: it is forgotten. */
	assert_null(read_stream(false, "e", 1, &err));
	assert_error(err.code, -ENOENT, "ReadStdout: container c1 has no process e");
}

static void test_input(void **state)
{
	struct err err = ERR_INIT;
	uint32_t len;

	(void)state;
	add_process("cat", "cat");
	assert_write("cat", "abc");
	assert_read(false, "cat", "abc");
	assert_write("cat", "");
	assert_int_equal(close_stdin("cat", &err), 0);
	assert_int_equal(close_stdin("cat", &err), 0);
	assert_error(write_stdin("cat", "x", 1, &len, &err), -ECONNRESET,
		"WriteStdin: standard input of process cat is closed");
	assert_status("cat", 0);
}

/* More than a pipe holds goes in pieces, as the process reads it. */
static void test_large_input(void **state)
{
	_cleanup_free_ char *data = xzalloc(1 << 20);
	struct err err = ERR_INIT;
	uint32_t len;

	(void)state;
	add_process("wc", "head -c 1048576 | wc -c");
	assert_int_equal(write_stdin("wc", data, 1 << 20, &len, &err), 0);
	assert_int_equal(len, 1 << 20);
	assert_read(false, "wc", "1048576\n");
	assert_status("wc", 0);
}

/* A process that ends without having read: what the pipe took is said, and then why not
 * more. Somebody else (this test) may hold the pipe open. */
static void test_input_unread(void **state)
{
	_cleanup_free_ char *data = xzalloc(1 << 20);
	struct process *p = add_process("no", "read line; exit 2");
	struct err err = ERR_INIT;
	char name[40];
	uint32_t len;
	int reader;

	(void)state;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p->in_fd);
	reader = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(reader >= 0);
	data[0] = '\n';
	assert_int_equal(write_stdin("no", data, 1 << 20, &len, &err), 0);
	assert_true(len > 0 && len < 1 << 20);
	assert_status("no", 2);
	assert_error_names(write_stdin("no", data, 1 << 20, &len, &err), -ECONNRESET,
		"WriteStdin: write to process no: ");
	close(reader);
	assert_error(write_stdin("no", data, 1, &len, &err), -ECONNRESET,
		"WriteStdin: write to process no: Broken pipe");
}

/* What the container's own is called: its id, or nothing. */
static void test_init_names(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_write("", "x\n");
	assert_status(C, 4);
	assert_status("", 4);
	assert_eof(false, C);
	assert_eof(true, "");
	/* An init is never forgotten. */
	assert_status(C, 4);
	assert_error(signal_process(C, SIGTERM, &err), -ENOENT,
		"SignalProcess: process c1 of container c1 has ended");
}

/* The same on a terminal, whose other side the caller has, too. */
static struct process *add_terminal(const char *script, int *ret_slave)
{
	struct process *p = process_new("tty", true);
	struct err err = ERR_INIT;

	p->in_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(p->in_fd >= 0);
	assert_int_equal(unlockpt(p->in_fd), 0);
	assert_int_equal(terminal_gather(p->in_fd, &p->out_fd, &err), 0);
	*ret_slave = ioctl(p->in_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*ret_slave >= 0);
	assert_int_equal(container_add_process(&guest.sandbox, container, p, &err), 0);
	spawn_shell(&p->child, script, (int[]){*ret_slave, *ret_slave, *ret_slave});
	process_set_launched(&guest.sandbox, p);
	return p;
}

/* A read(2) of a terminal brings 4 KiB at most, and it holds 12: a call that asks for
 * more gets what has come since the last one. */
static void test_terminal_batch(void **state)
{
	enum { LENGTH = 60000 };
	_cleanup_free_ char *text = xmalloc(LENGTH), *seen = NULL;
	struct pollfd end = {.events = 0};
	struct err err = ERR_INIT;
	int slave;
	struct process *p = add_terminal("stty raw -echo; echo ready; read l", &slave);

	(void)state;
	assert_read(false, "tty", "ready\n");
	memset(text, 'x', LENGTH);
	/* Takes its turns with the thread that makes room for it. */
	assert_int_equal(write(slave, text, LENGTH), LENGTH);
	close(slave);
	assert_write("tty", "x\n");
	assert_status("tty", 0);
	end.fd = p->out_fd;
	assert_int_equal(poll(&end, 1, deadline_poll_ms(soon())), 1);
	assert_int_equal(end.revents, POLLHUP);
	seen = read_stream(false, "tty", 65536, &err);
	assert_non_null(seen);
	assert_int_equal(strlen(seen), LENGTH);
	assert_eof(false, "tty");
	process_put(p);
}

/* Who writes to a terminal that nobody reads any more hears of it, and nothing is left of
 * it; also with the pipe full. */
static void test_terminal_unread(void **state)
{
	_cleanup_free_ char *text = xzalloc(1 << 20);
	struct err err = ERR_INIT;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	struct pollfd slave = {.events = POLLHUP};
	int out;

	(void)state;
	assert_true(master >= 0);
	assert_int_equal(unlockpt(master), 0);
	slave.fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(slave.fd >= 0);
	assert_int_equal(terminal_gather(master, &out, &err), 0);
	while (write(slave.fd, text, 1 << 20) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	close(out);
	close(master);
	assert_int_equal(poll(&slave, 1, deadline_poll_ms(soon())), 1);
	assert_true(slave.revents & POLLHUP);
	close(slave.fd);
}

static void test_terminal(void **state)
{
	struct err err = ERR_INIT;
	struct winsize size;
	int slave;
	struct process *p = add_terminal(
		"stty -echo -onlcr; echo ready; read l; echo got $l", &slave);

	(void)state;
	assert_read(false, "tty", "ready\n");
	assert_int_equal(resize("tty", 33, 121, &err), 0);
	assert_int_equal(ioctl(slave, TIOCGWINSZ, &size), 0);
	assert_int_equal(size.ws_row, 33);
	assert_int_equal(size.ws_col, 121);
	assert_error(resize("tty", 65536, 1, &err), -EINVAL,
		"TtyWinResize: 65536 rows of 1 columns are no terminal");
	assert_error(resize(C, 1, 1, &err), -EINVAL,
		"TtyWinResize: process c1 has no terminal");
	assert_eof(true, "tty");
	close(slave);
	/* No end of input but the character for it. */
	assert_int_equal(close_stdin("tty", &err), 0);
	assert_write("tty", "x\n");
	assert_read(false, "tty", "got x\n");
	assert_eof(false, "tty");
	assert_status("tty", 0);
	process_put(p);
}

/* ---- waiting ---- */

struct reader {
	struct ttrpc_cancel cancel;
	struct err err;
	int r;
};

static void *read_for_ever(void *arg)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__ReadStreamResponse *out = NULL;
	struct reader *reader = arg;

	req.container_id = req.exec_id = C;
	req.len = 1;
	reader->r = agent_read_output(
		guest.agent, false, &req, &out, &reader->cancel, &reader->err);
	return NULL;
}

/* A host that leaves takes its requests with it: end() waits for all of them. */
static void test_host_leaves(void **state)
{
	struct reader reader = {0};
	struct err err = ERR_INIT;
	pthread_t thread;
	int status;

	(void)state;
	assert_int_equal(thread_start(read_for_ever, &reader, 0, false, &thread), 0);
	assert_error_names(wait_process(C, deadline_after_ms(1), &status, &err),
		-ETIMEDOUT, "WaitProcess: ");
	agent_cancel(guest.agent, &reader.cancel);
	pthread_join(thread, NULL);
	assert_int_equal(reader.r, -ECANCELED);
}

static void test_signals(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	add_process("s", "read line");
	assert_error(
		signal_process("s", 65, &err), -EINVAL, "SignalProcess: 65 is no signal");
	assert_error(signal_process("t", SIGTERM, &err), -ENOENT,
		"SignalProcess: container c1 has no process t");
	assert_int_equal(signal_process("s", 0, &err), 0);
	assert_int_equal(signal_process("s", SIGTERM, &err), 0);
	assert_status("s", 128 + SIGTERM);
	assert_error(signal_process("s", SIGTERM, &err), -ENOENT,
		"SignalProcess: process s of container c1 has ended");
}

/* ---- the list ---- */

/* A name is taken from the beginning of a launch, but found only when that is done. */
static void test_unlaunched(void **state)
{
	struct process *p = process_new("new", false), *again = process_new("new", false),
		       *found;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(container_add_process(&guest.sandbox, container, p, &err), 0);
	assert_error(sandbox_find_process(&guest.sandbox, C, "new", &found, &err),
		-ENOENT, "container c1 has no process new");
	assert_error(container_add_process(&guest.sandbox, container, again, &err),
		-EEXIST, "process new of container c1 exists");
	container_drop_process(&guest.sandbox, container, p);
	container_drop_process(&guest.sandbox, container, p);
	assert_int_equal(
		container_add_process(&guest.sandbox, container, again, &err), 0);
	process_put(p);
	process_put(again);
}

static int add_idle(const char *name, struct err *err)
{
	_cleanup_(process) struct process *p = process_new(name, false);
	int r = container_add_process(&guest.sandbox, container, p, err);

	if (r == 0)
		process_set_launched(&guest.sandbox, p);
	return r;
}

static void test_full(void **state)
{
	_cleanup_(process) struct process *p = NULL;
	struct err err = ERR_INIT;
	struct process *found;
	char name[16];

	(void)state;
	for (int i = 1; i < PROCESSES_MAX; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		assert_int_equal(add_idle(name, &err), 0);
	}
	assert_error(add_idle("more", &err), -ENOSPC,
		"container c1 has 512 processes nobody waited for, no more fit");
	for (int i = 7; i >= 5; i -= 2) {
		snprintf(name, sizeof(name), "p%d", i);
		assert_int_equal(
			sandbox_find_process(&guest.sandbox, C, name, &p, &err), 0);
		process_done_with(&guest.sandbox, C, p, PROCESS_WAITED);
		process_put(steal_ptr(p));
	}
	/* The oldest that was waited for goes, read or not. */
	assert_int_equal(add_idle("more", &err), 0);
	assert_error(sandbox_find_process(&guest.sandbox, C, "p5", &found, &err), -ENOENT,
		"container c1 has no process p5");
	assert_int_equal(sandbox_find_process(&guest.sandbox, C, "p7", &p, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_output),
		TEST(test_input),
		TEST(test_large_input),
		TEST(test_input_unread),
		TEST(test_init_names),
		TEST(test_terminal),
		TEST(test_terminal_batch),
		TEST(test_terminal_unread),
		TEST(test_host_leaves),
		TEST(test_signals),
		TEST(test_unlaunched),
		TEST(test_full),
	};

	world_enter(0);
	reaper_start();
	return cmocka_run_group_tests_name("guest/stdio", tests, NULL, NULL);
}
