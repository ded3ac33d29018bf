/* SPDX-License-Identifier: Apache-2.0 */
/* One process of a container, from its creation to its end: see task.h. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/cmdline.h"
#include "shim/task.h"

/* How long an end is kept back for output that its client does not read, or that a child
 * which lives on may still write. */
#define DRAIN_MS 10000

static const char *name_of(const struct process *p)
{
	return *p->exec_id ? p->exec_id : p->container->id;
}

struct process *process_new(struct container *c, const char *exec_id, bool terminal,
	const char *in, const char *out, const char *err)
{
	struct process *p = xnew0(struct process);

	p->container = c;
	p->refs = 1;
	p->exec_id = xstrdup(exec_id);
	p->agent_id = *exec_id ? p->exec_id : c->id;
	p->terminal = terminal;
	p->in = xstrdup(in);
	p->out = xstrdup(out);
	p->err = xstrdup(err);
	p->exit_fd = -1;
	c->refs++;
	return p;
}

int process_open(struct process *p, struct err *err)
{
	struct stdio_config config = {.container_id = p->container->id,
		.exec_id = p->agent_id,
		.terminal = p->terminal,
		.in = p->in,
		.out = p->out,
		.err = p->err};

	p->exit_fd = eventfd(0, EFD_CLOEXEC);
	if (p->exit_fd < 0)
		return err_sys(err, errno, "cannot make an eventfd");
	return stdio_open(&config, &p->stdio, err);
}

static void container_unref(struct container *c)
{
	if (--c->refs > 0)
		return;
	free(c->id);
	free(c->bundle);
	free(c);
}

static void process_destroy(struct process *p)
{
	if (p->spec)
		grpc__process__free_unpacked(p->spec, NULL);
	close_fd(p->exit_fd);
	free(p->exec_id);
	free(p->in);
	free(p->out);
	free(p->err);
	free(p);
}

void process_unref(struct process *p)
{
	struct container *c = p ? p->container : NULL;
	struct shim *shim = c ? c->shim : NULL;

	if (!p)
		return;
	pthread_mutex_lock(&shim->lock);
	if (--p->refs == 0) {
		process_destroy(p);
		container_unref(c);
	}
	pthread_mutex_unlock(&shim->lock);
}

static struct process *find_locked(
	struct shim *shim, const char *id, const char *exec_id, bool *ret_has_container)
{
	struct container *c = shim->containers;
	struct process *p;

	while (c && strcmp(c->id, id) != 0)
		c = c->next;
	*ret_has_container = c;
	if (!c || !*exec_id)
		return c ? c->init : NULL;
	for (p = c->execs; p; p = p->next)
		if (strcmp(p->exec_id, exec_id) == 0)
			return p;
	return NULL;
}

int process_find(struct shim *shim, const char *id, const char *exec_id,
	struct process **ret, struct err *err)
{
	bool has_container;
	struct process *p;

	pthread_mutex_lock(&shim->lock);
	p = find_locked(shim, id, exec_id, &has_container);
	if (p)
		p->refs++;
	pthread_mutex_unlock(&shim->lock);
	if (!has_container)
		return err_set(err, -ENOENT, "container %s does not exist",
			err_quote(id, NAME_LENGTH_MAX));
	if (!p)
		return err_set(err, -ENOENT, "process %s does not exist",
			err_quote(exec_id, NAME_LENGTH_MAX));
	*ret = p;
	return 0;
}

int process_begin(struct process *p, enum lifecycle_request request,
	enum lifecycle_state *ret_next, struct err *err)
{
	struct shim *shim = p->container->shim;
	int r;

	pthread_mutex_lock(&shim->lock);
	while (p->busy)
		pthread_cond_wait(&shim->changed, &shim->lock);
	r = lifecycle_next(p->state, request, name_of(p), ret_next, err);
	if (r == 0) {
		p->busy = true;
		p->begun_in = p->state;
	}
	pthread_mutex_unlock(&shim->lock);
	return r;
}

void process_end(struct process *p, enum lifecycle_state next, int r)
{
	struct shim *shim = p->container->shim;

	pthread_mutex_lock(&shim->lock);
	/* It may have ended meanwhile, by itself. */
	if (r == 0 && p->state == p->begun_in)
		p->state = next;
	p->busy = false;
	pthread_cond_broadcast(&shim->changed);
	pthread_mutex_unlock(&shim->lock);
}

void process_exit(struct process *p, uint32_t status, const struct timespec *at)
{
	struct shim *shim = p->container->shim;
	enum lifecycle_state next;

	pthread_mutex_lock(&shim->lock);
	if (lifecycle_next(p->state, LIFECYCLE_EXIT, name_of(p), &next, NULL) == 0) {
		p->state = next;
		p->exit_status = status;
		p->exited_at = *at;
		if (eventfd_write(p->exit_fd, 1) < 0)
			log_error("cannot wake who waits for %s: %s", name_of(p),
				strerror(errno));
		task_publish_exit(p);
		pthread_cond_broadcast(&shim->changed);
	}
	pthread_mutex_unlock(&shim->lock);
}

/* ---- start ---- */

static void *wait_thread(void *arg)
{
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;
	struct process *p = arg;
	Grpc__WaitProcessResponse *response = NULL;
	uint32_t status = EXIT_STATUS_KILLED;
	struct err err = ERR_INIT;
	struct timespec at;
	int r;

	request.container_id = p->container->id;
	request.exec_id = (char *)p->agent_id;
	r = agent_wait_process(sandbox_agent(p->container->shim->sandbox), &request,
		&response, DEADLINE_NONE, &err);
	clock_gettime(CLOCK_REALTIME, &at);
	if (r == 0) {
		status = (uint32_t)response->status;
		grpc__wait_process_response__free_unpacked(response, NULL);
	} else if (r != -ECONNRESET) {
		log_error("process %s counts as killed: %s", name_of(p), err.text);
	}
	if (stdio_drain(p->stdio, deadline_after_ms(DRAIN_MS)) < 0)
		log_warn("process %s has ended, but not all of its output has been read",
			name_of(p));
	process_exit(p, status, &at);
	return NULL;
}

static int start_first(
	struct process *p, struct agent *agent, int64_t deadline, struct err *err)
{
	Grpc__StartContainerRequest request = GRPC__START_CONTAINER_REQUEST__INIT;

	request.container_id = p->container->id;
	return agent_start_container(agent, &request, deadline, err);
}

static int start_exec(
	struct process *p, struct agent *agent, int64_t deadline, struct err *err)
{
	Grpc__ExecProcessRequest request = GRPC__EXEC_PROCESS_REQUEST__INIT;

	request.container_id = p->container->id;
	request.exec_id = p->exec_id;
	request.process = p->spec;
	return agent_exec_process(agent, &request, deadline, err);
}

static int start_in_guest(struct process *p, struct err *err)
{
	struct sandbox *sandbox = p->container->shim->sandbox;
	struct agent *agent = sandbox_agent(sandbox);
	int64_t deadline = sandbox_deadline(sandbox);
	int r;

	trace_begin(sandbox_trace(sandbox), TRACE_STARTED);
	r = *p->exec_id ? start_exec(p, agent, deadline, err)
			: start_first(p, agent, deadline, err);
	trace_end(sandbox_trace(sandbox), TRACE_STARTED);
	if (r == 0)
		r = stdio_start(p->stdio, agent, err);
	else
		stdio_hang_up(p->stdio);
	if (r < 0)
		return err_wrap(err, "start %s", name_of(p));
	return 0;
}

/* The waiter comes after the event: an exit is never published before its start. */
static int follow(struct process *p, struct err *err)
{
	struct timespec now;
	int r;

	task_publish_start(p);
	r = thread_start(wait_thread, p, 0, false, &p->waiter);
	p->has_waiter = r == 0;
	if (r < 0) {
		clock_gettime(CLOCK_REALTIME, &now);
		process_exit(p, EXIT_STATUS_KILLED, &now);
		return err_sys(err, r, "cannot start a thread");
	}
	return 0;
}

int process_start(struct process *p, struct err *err)
{
	struct process *init = p->container->init;
	enum lifecycle_state next, init_next;
	int r;

	if (p != init) {
		r = process_begin(init, LIFECYCLE_EXEC, &init_next, err);
		if (r < 0)
			return r;
		process_end(init, init_next, 0);
	}
	r = process_begin(p, LIFECYCLE_START, &next, err);
	if (r < 0)
		return r;
	r = start_in_guest(p, err);
	if (r == 0)
		r = follow(p, err);
	process_end(p, next, r);
	if (r == 0)
		sandbox_report(p->container->shim->sandbox);
	return r;
}

/* ---- kill ---- */

static int signal_in_guest(struct process *p, uint32_t signal, bool all, struct err *err)
{
	Grpc__SignalProcessRequest request = GRPC__SIGNAL_PROCESS_REQUEST__INIT;
	struct sandbox *sandbox = p->container->shim->sandbox;
	int r;

	request.container_id = p->container->id;
	/* No exec id: all processes of the container. */
	request.exec_id = all ? (char *)"" : (char *)p->agent_id;
	request.signal = signal;
	r = agent_signal_process(
		sandbox_agent(sandbox), &request, sandbox_deadline(sandbox), err);
	/* It may have ended just now: that is what ESRCH and a dead VM mean, too. */
	if (r == -ENOENT || r == -ESRCH || r == -ECONNRESET)
		return err_set(err, -ENOENT, "process %s already finished", name_of(p));
	return r;
}

/* Nobody can ask for more than SIGKILL: a guest that does not answer that is as good as
 * gone, and containerd would wait for the exit for ever. */
static int kill_in_guest(struct process *p, uint32_t signal, bool all, struct err *err)
{
	_cleanup_free_ char *what = NULL;
	struct err why = ERR_INIT;
	int r = signal_in_guest(p, signal, all, &why);

	if (r != -ETIMEDOUT || signal != SIGKILL || *p->exec_id)
		return r < 0 ? err_copy(err, &why) : 0;
	what = xasprintf("the guest does not answer SIGKILL for container %s (%s)",
		p->container->id, why.text);
	sandbox_give_up(p->container->shim->sandbox, what);
	return 0;
}

int process_kill(struct process *p, uint32_t signal, bool all, struct err *err)
{
	bool in_guest, ends;
	enum lifecycle_state next;
	struct timespec now;
	int r;

	if (signal == 0 || signal > 64)
		return err_set(err, -EINVAL, "there is no signal %u", signal);
	r = process_begin(p, LIFECYCLE_KILL, &next, err);
	if (r < 0)
		return r;
	in_guest = p->begun_in != LIFECYCLE_CREATED || !*p->exec_id;
	if (in_guest)
		r = kill_in_guest(p, signal, all && !*p->exec_id, err);
	/* Nobody waits in the guest for what has not been started. */
	ends = p->begun_in == LIFECYCLE_CREATED &&
	       (signal == SIGKILL || signal == SIGTERM);
	process_end(p, next, r);
	if (r == 0 && ends) {
		clock_gettime(CLOCK_REALTIME, &now);
		process_exit(p, 128 + signal, &now);
	}
	return r;
}

/* ---- terminal and input ---- */

int process_resize(struct process *p, uint32_t width, uint32_t height, struct err *err)
{
	Grpc__TtyWinResizeRequest request = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;
	struct sandbox *sandbox = p->container->shim->sandbox;
	enum lifecycle_state next;
	int r;

	r = process_begin(p, LIFECYCLE_RESIZE, &next, err);
	if (r < 0)
		return r;
	request.container_id = p->container->id;
	request.exec_id = (char *)p->agent_id;
	request.row = height;
	request.column = width;
	/* An exec that has not been started has no terminal yet; its client resizes
	 * again. */
	if (p->terminal && (p->begun_in != LIFECYCLE_CREATED || !*p->exec_id))
		r = agent_tty_win_resize(
			sandbox_agent(sandbox), &request, sandbox_deadline(sandbox), err);
	process_end(p, next, r);
	return r;
}

int process_close_io(struct process *p, struct err *err)
{
	enum lifecycle_state next;
	int r = process_begin(p, LIFECYCLE_CLOSE_IO, &next, err);

	if (r < 0)
		return r;
	stdio_close_stdin(p->stdio);
	process_end(p, next, 0);
	return 0;
}

/* ---- its end ---- */

void process_join(struct process *p)
{
	if (p->has_waiter)
		pthread_join(p->waiter, NULL);
	p->has_waiter = false;
	stdio_free(p->stdio);
	p->stdio = NULL;
}

void process_end_unstarted(struct process *p)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	process_exit(p, EXIT_STATUS_KILLED, &now);
}

int process_delete_exec(struct process *p, struct err *err)
{
	struct shim *shim = p->container->shim;
	enum lifecycle_state next;
	struct process **at;
	int r = process_begin(p, LIFECYCLE_DELETE, &next, err);

	if (r < 0)
		return r;
	process_join(p);
	process_end_unstarted(p);
	pthread_mutex_lock(&shim->lock);
	p->state = next;
	for (at = &p->container->execs; *at && *at != p;)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	pthread_mutex_unlock(&shim->lock);
	process_end(p, next, 0);
	process_unref(p); /* the container's; the caller has one of its own */
	return 0;
}
