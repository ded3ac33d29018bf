/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of processes whose guest does not answer: a silent agent and no VM. */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/proc.h"
#include "base/thread.h"
#include "shim/container.h"
#include "shim/sandbox.h"
#include "tests/unit/test_shim.h"
#include "vm/vm_internal.h"

/* A VM whose QEMU is a process that holds the guest's
 * end of the channel, and is silent. */
static struct pod pod;
static struct vm vm = {.lock = PTHREAD_MUTEX_INITIALIZER};
static unsigned int n_exits, n_stops;

/* ---- in the place of the VM's files and of containerd ---- */

void pod_stop(struct pod *p)
{
	assert_int_equal(p->uses, 0);
	n_stops++;
}

void sandbox_free(struct sandbox *s)
{
	assert_null(s);
}

void events_publish(struct events *e, const char *topic, const ProtobufCMessage *message)
{
	(void)e, (void)message;
	n_exits += strcmp(topic, "/tasks/exit") == 0;
}

/* ---- a pod ---- */

static const struct process_streams no_streams = {.in = "", .out = "", .err = ""};

static struct container *add_container(const char *id, enum lifecycle_state state)
{
	struct container *c = xnew0(struct container);

	c->pod = &pod;
	c->id = xstrdup(id);
	c->bundle = xstrdup("/");
	c->init = process_new(c, "", &no_streams);
	assert_ok(process_open(c->init, err));
	c->init->state = state;
	c->next = pod.containers;
	pod.containers = c;
	return c;
}

static struct process *add_exec(struct container *c, enum lifecycle_state state)
{
	struct process *p = process_new(c, "e1", &no_streams);

	assert_ok(process_open(p, err));
	p->state = state;
	p->next = c->execs;
	c->execs = p;
	return p;
}

static pid_t start_silent_qemu(int guest_fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		dup2(guest_fd, 3);
		close_range(4, ~0U, 0);
		for (;;)
			pause();
	}
	close(guest_fd);
	return pid;
}

static int setup(void **state)
{
	int fds[2];

	pod = (struct pod){.life = POD_READY, .vm = &vm};
	pod.config.call_timeout_ms = 20;
	pod_init(&pod, NULL);
	n_exits = n_stops = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	vm.qemu.pid = start_silent_qemu(fds[1]);
	assert_int_equal(pidfd_of(vm.qemu.pid, &vm.qemu.pidfd), 0);
	vm.kill_fd = vm.qemu.pidfd;
	vm.killed = false;
	assert_ok(agent_new(fds[0], &vm.agent, err));
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	containers_end_all(&pod);
	agent_free(vm.agent);
	spawned_end(&vm.qemu);
	return 0;
}

static bool vm_lives(void)
{
	return wait_fd(vm.qemu.pidfd, POLLIN, now_ms()) == -ETIMEDOUT;
}

static void await_vm_end(void)
{
	assert_int_equal(pidfd_wait(vm.qemu.pidfd, soon()), 0);
}

/* ---- tests ---- */

static void test_kill_unanswered(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_RUNNING);
	struct process *exec = add_exec(c, LIFECYCLE_RUNNING);
	struct err err = ERR_INIT;

	(void)state;
	/* What can be asked for once more, and harder, costs nobody else anything. */
	assert_int_equal(process_kill(c->init, SIGTERM, false, &err), -ETIMEDOUT);
	assert_int_equal(process_kill(exec, SIGKILL, false, &err), -ETIMEDOUT);
	assert_true(vm_lives());
	assert_int_equal(process_kill(c->init, SIGKILL, true, NULL), 0);
	await_vm_end();
	assert_int_equal(process_kill(c->init, SIGKILL, true, &err), -ENOENT);
}

/* The client of an exec that may not start waits for the end of its streams before it
 * tells so. */
static void test_start_refused(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_PAUSED);
	struct scratch scratch;
	_cleanup_free_ char *fifo = NULL;
	_cleanup_close_ int fd = -1;
	struct process *p;

	(void)state;
	scratch_make(&scratch);
	fifo = scratch_path(&scratch, "out");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	p = process_new(
		c, "e1", &(struct process_streams){.in = "", .out = fifo, .err = ""});
	fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_ok(process_open(p, err));
	p->next = c->execs;
	c->execs = p;
	assert_err(process_start(p, err), LIFECYCLE_REFUSED,
		"cannot exec in a paused process: c1");
	assert_int_equal(wait_fd(fd, POLLHUP, soon()), 0);
	scratch_remove(&scratch);
}

static void *wait_in_guest(void *arg)
{
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *response;
	struct timespec at = {.tv_sec = 1};

	assert_int_equal(
		agent_wait_process(vm.agent, &request, &response, DEADLINE_NONE, NULL),
		-ECONNRESET);
	process_exit(arg, EXIT_STATUS_KILLED, &at);
	return NULL;
}

/* An exec whose end nobody tells: the delete of its container comes to its end. */
static void test_delete_unanswered(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_STOPPED);
	struct process *exec = add_exec(c, LIFECYCLE_RUNNING);
	_cleanup_(process) struct process *init = NULL;

	(void)state;
	assert_ok(process_find(&pod, "c1", "", &init, err));
	add_container("c2", LIFECYCLE_STOPPED);
	assert_int_equal(thread_start(wait_in_guest, exec, 0, false, &exec->waiter), 0);
	exec->has_waiter = true;
	assert_ok(container_delete(init, err));
	await_vm_end();
	assert_int_equal(n_exits, 1);
	assert_string_equal(pod.containers->id, "c2");
	assert_null(pod.containers->next);
	assert_int_equal(n_stops, 0);
}

/* The last container takes the VM along, and nobody uses that any more. */
static void test_delete_last(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_STOPPED);
	_cleanup_(process) struct process *init = NULL;

	(void)state;
	add_exec(c, LIFECYCLE_RUNNING);
	assert_ok(process_find(&pod, "c1", "", &init, err));
	assert_ok(container_delete(init, err));
	assert_int_equal(n_stops, 1);
	assert_null(pod.containers);
	await_vm_end();
}

/* As runc's shim: with a status of 0, and without a time. */
static void assert_never_was(const struct process *p)
{
	assert_int_equal(wait_fd(p->exit_fd, POLLIN, now_ms()), 0);
	assert_int_equal(p->exit_status, 0);
	assert_int_equal(p->exited_at.tv_sec, 0);
	assert_int_equal(p->state, LIFECYCLE_DELETED);
}

/* Who waits for an exec that is deleted before it ran, or its container, is told. */
static void test_delete_unstarted(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_STOPPED);
	_cleanup_(process) struct process *first = NULL, *second = NULL, *init = NULL;

	(void)state;
	add_exec(c, LIFECYCLE_CREATED);
	assert_ok(process_find(&pod, "c1", "", &init, err));
	assert_ok(process_find(&pod, "c1", "e1", &first, err));
	assert_ok(process_delete_exec(first, err));
	assert_never_was(first);
	assert_null(c->execs);
	add_exec(c, LIFECYCLE_CREATED);
	assert_ok(process_find(&pod, "c1", "e1", &second, err));
	assert_ok(container_delete(init, err));
	assert_never_was(second);
	assert_int_equal(n_exits, 0);
}

/* A client that waits for the end of the output before it deletes, as dockerd 28 does,
 * would wait for ever. */
static void test_kill_unstarted(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_CREATED);
	struct stdio_config config = {
		.container_id = "c1", .exec_id = "c1", .in = "", .err = ""};
	_cleanup_free_ char *fifo = NULL;
	_cleanup_close_ int fd = -1;
	struct scratch scratch;
	char byte;

	(void)state;
	scratch_make(&scratch);
	config.out = fifo = scratch_path(&scratch, "out");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	stdio_free(c->init->stdio);
	assert_ok(stdio_open(&config, &c->init->stdio, err));
	fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(read(fd, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_ok(process_kill(c->init, SIGKILL, false, err));
	assert_int_equal(read(fd, &byte, 1), 0);
	assert_int_equal(c->init->exit_status, EXIT_STATUS_KILLED);
	assert_int_equal(n_exits, 1);
	await_vm_end();
	scratch_remove(&scratch);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill_unanswered),
		TEST(test_start_refused),
		TEST(test_delete_unanswered),
		TEST(test_delete_last),
		TEST(test_delete_unstarted),
		TEST(test_kill_unstarted),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
