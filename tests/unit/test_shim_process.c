/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of processes whose guest does not answer: a silent agent and no VM. */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/thread.h"
#include "shim/task.h"
#include "tests/unit/test_shim.h"

static struct shim shim;
static struct agent *agent;
static int guest_fd = -1;
static unsigned int n_given_up, n_exits;

/* ---- in the place of the sandbox and of containerd ---- */

struct agent *sandbox_agent(struct sandbox *s)
{
	(void)s;
	return agent;
}

int64_t sandbox_deadline(const struct sandbox *s)
{
	(void)s;
	return deadline_after_ms(20);
}

void sandbox_give_up(struct sandbox *s, const char *what)
{
	(void)s, (void)what;
	n_given_up++;
	close_fd(steal_fd(&guest_fd));
}

void sandbox_kill(struct sandbox *s)
{
	(void)s;
}

void sandbox_free(struct sandbox *s)
{
	(void)s;
}

void sandbox_report(struct sandbox *s)
{
	(void)s;
}

struct trace *sandbox_trace(struct sandbox *s)
{
	(void)s;
	return NULL;
}

struct vm *sandbox_vm(struct sandbox *s)
{
	(void)s;
	return NULL;
}

int vm_export_detach(struct vm *vm, const char *id, struct err *err)
{
	(void)vm, (void)id, (void)err;
	return 0;
}

void events_publish(struct events *e, const char *topic, const ProtobufCMessage *message)
{
	(void)e, (void)message;
	n_exits += strcmp(topic, "/tasks/exit") == 0;
}

/* ---- a pod ---- */

static struct container *add_container(const char *id, enum lifecycle_state state)
{
	struct container *c = xnew0(struct container);

	c->shim = &shim;
	c->id = xstrdup(id);
	c->bundle = xstrdup("/");
	c->init = process_new(c, "", false, "", "", "");
	assert_ok(process_open(c->init, err));
	c->init->state = state;
	c->next = shim.containers;
	shim.containers = c;
	return c;
}

static struct process *add_exec(struct container *c, enum lifecycle_state state)
{
	struct process *p = process_new(c, "e1", false, "", "", "");

	assert_ok(process_open(p, err));
	p->state = state;
	p->next = c->execs;
	c->execs = p;
	return p;
}

static int setup(void **state)
{
	int fds[2];

	shim = (struct shim){.lock = PTHREAD_MUTEX_INITIALIZER};
	cond_init(&shim.changed);
	n_given_up = n_exits = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	guest_fd = fds[1];
	assert_ok(agent_new(fds[0], &agent, err));
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	shim_end_all(&shim);
	agent_free(agent);
	close_fd(steal_fd(&guest_fd));
	return 0;
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
	assert_int_equal(n_given_up, 0);
	assert_int_equal(process_kill(c->init, SIGKILL, true, NULL), 0);
	assert_int_equal(n_given_up, 1);
	/* A VM that has ended is none to give up. */
	assert_int_equal(process_kill(c->init, SIGKILL, true, &err), -ENOENT);
	assert_int_equal(n_given_up, 1);
}

static void *wait_in_guest(void *arg)
{
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *response;
	struct timespec at = {.tv_sec = 1};

	assert_int_equal(
		agent_wait_process(agent, &request, &response, DEADLINE_NONE, NULL),
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
	assert_ok(process_find(&shim, "c1", "", &init, err));
	add_container("c2", LIFECYCLE_STOPPED);
	assert_int_equal(thread_start(wait_in_guest, exec, 0, false, &exec->waiter), 0);
	exec->has_waiter = true;
	assert_ok(container_delete(init, err));
	assert_int_equal(n_given_up, 1);
	assert_int_equal(n_exits, 1);
	assert_string_equal(shim.containers->id, "c2");
	assert_null(shim.containers->next);
}

static void assert_killed(const struct process *p)
{
	assert_int_equal(wait_fd(p->exit_fd, POLLIN, now_ms()), 0);
	assert_int_equal(p->exit_status, EXIT_STATUS_KILLED);
	assert_true(p->exited_at.tv_sec > 0);
	assert_int_equal(p->state, LIFECYCLE_DELETED);
}

/* Who waits for an exec that is deleted before it ran, or its container, is told. */
static void test_delete_unstarted(void **state)
{
	struct container *c = add_container("c1", LIFECYCLE_STOPPED);
	_cleanup_(process) struct process *first = NULL, *second = NULL, *init = NULL;

	(void)state;
	add_exec(c, LIFECYCLE_CREATED);
	assert_ok(process_find(&shim, "c1", "", &init, err));
	assert_ok(process_find(&shim, "c1", "e1", &first, err));
	assert_ok(process_delete_exec(first, err));
	assert_killed(first);
	assert_null(c->execs);
	add_exec(c, LIFECYCLE_CREATED);
	assert_ok(process_find(&shim, "c1", "e1", &second, err));
	assert_ok(container_delete(init, err));
	assert_killed(second);
	assert_int_equal(n_exits, 2);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill_unanswered),
		TEST(test_delete_unanswered),
		TEST(test_delete_unstarted),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
