/* SPDX-License-Identifier: Apache-2.0 */
/* One process of a container, from its creation to its end: see process.h. */
#include "shim/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/cmdline.h"
#include "shim/container.h"
#include "shim/container_hooks.h"
#include "shim/hooks.h"
#include "shim/pod_net.h"
#include "shim/pod_standins.h"
#include "shim/task_events.h"

/* How long an end is kept back for output that its client does not read, or that a child
 * which lives on may still write. */
#define DRAIN_MS 10000

static const char *name_of(const struct process *p)
{
	return *p->exec_id ? p->exec_id : p->container->id;
}

struct process *process_new(
	struct container *c, const char *exec_id, const struct process_streams *streams)
{
	struct process *p = xnew0(struct process);

	p->container = c;
	p->refs = 1;
	p->exec_id = xstrdup(exec_id);
	p->agent_id = *exec_id ? p->exec_id : c->id;
	p->terminal = streams->terminal;
	p->in = xstrdup(streams->in);
	p->out = xstrdup(streams->out);
	p->err = xstrdup(streams->err);
	p->exit_fd = -1;
	c->refs++;
	return p;
}

int process_open(struct process *p, struct err *err)
{
	struct stdio_config config = {.container_id = p->container->id,
		.exec_id = p->agent_id,
		.namespace = p->container->pod->state.namespace,
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
	trees_free(c->trees);
	disks_free(c->disks);
	hooks_free(c->hooks);
	free(c);
}

static void process_destroy(struct process *p)
{
	if (p->spec)
		grpc__process__free_unpacked(p->spec, NULL);
	standin_free(p->standin);
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
	struct pod *pod = c ? c->pod : NULL;

	if (!p)
		return;
	pthread_mutex_lock(&pod->lock);
	if (--p->refs == 0) {
		process_destroy(p);
		container_unref(c);
	}
	pthread_mutex_unlock(&pod->lock);
}

static struct process *find_locked(
	struct pod *pod, const char *id, const char *exec_id, bool *ret_has_container)
{
	struct container *c = pod->containers;
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

int process_find(struct pod *pod, const char *id, const char *exec_id,
	struct process **ret, struct err *err)
{
	bool has_container;
	struct process *p;

	pthread_mutex_lock(&pod->lock);
	p = find_locked(pod, id, exec_id, &has_container);
	if (p)
		p->refs++;
	pthread_mutex_unlock(&pod->lock);
	if (!has_container)
		return err_set(err, -ENOENT, "container %s does not exist",
			err_quote(id, NAME_LENGTH_MAX));
	if (!p)
		return err_set(err, -ENOENT, "process %s does not exist",
			err_quote(exec_id, NAME_LENGTH_MAX));
	*ret = p;
	return 0;
}

/* What is done without the guest: such a request needs no VM. */
static bool stays_here(enum lifecycle_request request)
{
	return request == LIFECYCLE_DELETE || request == LIFECYCLE_CLOSE_IO;
}

int process_begin(struct process *p, enum lifecycle_request request,
	struct process_call *ret, struct err *err)
{
	struct pod *pod = p->container->pod;
	struct process_call call = {.p = p};
	int r;

	pthread_mutex_lock(&pod->lock);
	while (p->busy)
		pthread_cond_wait(&pod->changed, &pod->lock);
	r = lifecycle_next(p->state, request, name_of(p), &call.next, err);
	if (r == 0 && !stays_here(request))
		r = pod_use_begin_locked(pod, &call.use, err);
	if (r == 0) {
		p->busy = true;
		p->begun_in = p->state;
		*ret = call;
	}
	pthread_mutex_unlock(&pod->lock);
	return r;
}

void process_end(struct process_call *call, int r)
{
	struct process *p = call->p;
	struct pod *pod = p->container->pod;

	pthread_mutex_lock(&pod->lock);
	/* It may have ended meanwhile, by itself. */
	if (r == 0 && p->state == p->begun_in)
		p->state = call->next;
	p->busy = false;
	pod_use_end_locked(&call->use);
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
}

/* Takes one that was not started, or leaves it to who has it: that one sees to it, and
 * waiting for it might be for who waits for this thread. */
static bool take_unstarted(struct process *p)
{
	struct pod *pod = p->container->pod;
	bool idle;

	pthread_mutex_lock(&pod->lock);
	idle = !p->busy && p->state == LIFECYCLE_CREATED;
	if (idle)
		p->busy = true;
	pthread_mutex_unlock(&pod->lock);
	return idle;
}

static void give_back(struct process *p)
{
	struct pod *pod = p->container->pod;

	pthread_mutex_lock(&pod->lock);
	p->busy = false;
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
}

void process_hang_up_unstarted(struct process *p)
{
	if (!take_unstarted(p))
		return;
	stdio_hang_up(p->stdio);
	give_back(p);
}

/* In front of the host nothing is left of it. */
static void end_standin(struct process *p)
{
	struct standin *s;

	pthread_mutex_lock(&p->container->pod->lock);
	s = p->standin;
	pthread_mutex_unlock(&p->container->pod->lock);
	standin_end(s);
}

/* With the lock. Whether it had not ended before. */
static bool mark_ended(struct process *p, uint32_t status, const struct timespec *at)
{
	enum lifecycle_state next;

	if (lifecycle_next(p->state, LIFECYCLE_EXIT, name_of(p), &next, NULL) < 0)
		return false;
	p->state = next;
	p->exit_status = status;
	p->exited_at = *at;
	thread_wake(p->exit_fd);
	pthread_cond_broadcast(&p->container->pod->changed);
	return true;
}

void process_exit(struct process *p, uint32_t status, const struct timespec *at)
{
	struct pod *pod = p->container->pod;

	end_standin(p);
	pthread_mutex_lock(&pod->lock);
	if (mark_ended(p, status, at))
		task_publish_exit(p);
	pthread_mutex_unlock(&pod->lock);
}

/* ---- start ---- */

/* A process and the use of the VM that its waiter has. */
struct waiting {
	struct process *p;
	struct pod_use use;
};

/* A guest that breaks its agent's protocol can't be asked any more, nor told to end. */
static void lose_guest(struct waiting *w, int r, const struct err *err)
{
	_cleanup_free_ char *what = NULL;

	if (r != -EBADMSG)
		return;
	what = xasprintf(
		"what the guest's agent says is none of its protocol (%s)", err->text);
	pod_give_up(w->use.pod, what);
}

/* The status that counts for a process whose end the guest can't tell. */
static uint32_t wait_in_guest(struct waiting *w)
{
	Grpc__WaitProcessRequest request = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *response = NULL;
	struct err err = ERR_INIT;
	uint32_t status;
	int r;

	request.container_id = w->p->container->id;
	request.exec_id = (char *)w->p->agent_id;
	r = agent_wait_process(w->use.agent, &request, &response, DEADLINE_NONE, &err);
	if (r < 0) {
		if (r != -ECONNRESET)
			log_error("process %s counts as killed: %s", name_of(w->p),
				err.text);
		lose_guest(w, r, &err);
		return EXIT_STATUS_KILLED;
	}
	status = (uint32_t)response->status;
	grpc__wait_process_response__free_unpacked(response, NULL);
	return status;
}

static void *wait_main(void *arg)
{
	struct waiting *w = arg;
	struct process *p = w->p;
	uint32_t status = wait_in_guest(w);
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	if (stdio_drain(p->stdio, deadline_after_ms(DRAIN_MS)) < 0)
		log_warn("process %s has ended, but not all of its output has been read",
			name_of(p));
	pod_use_end(&w->use);
	free(w);
	process_exit(p, status, &at);
	return NULL;
}

/* Docker gives a container its interfaces between its creation and its start. It finds
 * them when it runs. */
static int start_first(struct process *p, const struct pod_use *use, struct err *err)
{
	Grpc__StartContainerRequest request = GRPC__START_CONTAINER_REQUEST__INIT;
	int r = pod_net_catch_up(use->pod->net, use->deadline, err);

	if (r < 0)
		return r;
	request.container_id = p->container->id;
	return agent_start_container(use->agent, &request, use->deadline, err);
}

static int start_exec(struct process *p, const struct pod_use *use, struct err *err)
{
	Grpc__ExecProcessRequest request = GRPC__EXEC_PROCESS_REQUEST__INIT;

	request.container_id = p->container->id;
	request.exec_id = p->exec_id;
	request.process = p->spec;
	return agent_exec_process(use->agent, &request, use->deadline, err);
}

static int start_in_guest(struct process *p, const struct pod_use *use, struct err *err)
{
	struct trace *trace = &use->pod->trace;
	int r;

	trace_begin(trace, TRACE_STARTED);
	r = *p->exec_id ? start_exec(p, use, err) : start_first(p, use, err);
	trace_end(trace, TRACE_STARTED);
	if (r == 0)
		r = stdio_start(p->stdio, use->agent, err);
	else
		stdio_hang_up(p->stdio);
	return r < 0 ? err_wrap(err, "start %s", name_of(p)) : 0;
}

static int start_waiter(struct process *p, struct err *err)
{
	struct waiting *w = xnew0(struct waiting);
	int r;

	w->p = p;
	r = pod_use_begin(p->container->pod, &w->use, err);
	if (r == 0) {
		r = thread_start(wait_main, w, 0, false, &p->waiter);
		if (r < 0)
			err_sys(err, r, "cannot start a thread");
	}
	p->has_waiter = r == 0;
	if (r < 0) {
		pod_use_end(&w->use);
		free(w);
	}
	return r;
}

/* The waiter comes after the event: an exit is never published before its start. */
static int follow_process(struct process *p, struct err *err)
{
	struct timespec now;
	int r;

	task_publish_start(p);
	r = start_waiter(p, err);
	if (r < 0) {
		clock_gettime(CLOCK_REALTIME, &now);
		process_exit(p, EXIT_STATUS_KILLED, &now);
	}
	return r;
}

/* Whether the container's first process is in a state that lets others start. */
static int check_exec_allowed(struct process *init, struct err *err)
{
	struct process_call call;
	int r = process_begin(init, LIFECYCLE_EXEC, &call, err);

	if (r == 0)
		process_end(&call, 0);
	return r;
}

static int stand_in_for_exec(
	struct process *p, const struct pod_use *use, struct err *err)
{
	int r = process_stand_in(p, p->spec, "", err);

	if (r == 0)
		r = process_join_vm(p, use, err);
	if (r < 0)
		stdio_hang_up(p->stdio);
	return r;
}

/* One that did not start: it may be deleted, and nothing else. */
static void end_failed_start(struct process *p)
{
	if (p != p->container->init)
		end_standin(p);
}

int process_start(struct process *p, struct err *err)
{
	struct process *init = p->container->init;
	struct process_call call;
	int r;

	r = p == init ? 0 : check_exec_allowed(init, err);
	if (r == 0)
		r = process_begin(p, LIFECYCLE_START, &call, err);
	if (r < 0) {
		/* containerd's client waits for the end of an exec's streams before it
		 * says that the start has failed. */
		if (p != init)
			process_hang_up_unstarted(p);
		return r;
	}
	r = p == init ? 0 : stand_in_for_exec(p, &call.use, err);
	if (r == 0)
		r = start_in_guest(p, &call.use, err);
	if (r == 0)
		r = follow_process(p, err);
	if (r == 0)
		pod_report(call.use.pod);
	else
		end_failed_start(p);
	process_end(&call, r);
	if (r == 0 && p == init)
		container_run_poststart(init->container);
	return r;
}

/* ---- kill ---- */

/* Whether it ends a process that has not said otherwise. */
static bool is_fatal(uint32_t signal)
{
	switch (signal) {
	case SIGCHLD:
	case SIGCONT:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
	case SIGWINCH:
		return false;
	default:
		return true;
	}
}

/* Nobody waits in the guest for what has not been started. Its client sees the end of its
 * streams, as of one that ran. */
static void end_killed_unstarted(struct process *p, uint32_t signal)
{
	struct timespec now;

	stdio_hang_up(p->stdio);
	clock_gettime(CLOCK_REALTIME, &now);
	process_exit(p, 128 + signal, &now);
}

static int signal_in_guest(
	const struct process_call *call, uint32_t signal, bool all, struct err *err)
{
	Grpc__SignalProcessRequest request = GRPC__SIGNAL_PROCESS_REQUEST__INIT;
	struct process *p = call->p;
	int r;

	request.container_id = p->container->id;
	/* No exec id: all processes of the container. */
	request.exec_id = all ? (char *)"" : (char *)p->agent_id;
	request.signal = signal;
	r = agent_signal_process(call->use.agent, &request, call->use.deadline, err);
	/* It may have ended just now: that is what ESRCH and a dead VM mean, too. */
	if (r == -ENOENT || r == -ESRCH || r == -ECONNRESET)
		return err_set(err, -ENOENT, "process %s already finished", name_of(p));
	return r;
}

/* Nobody can ask for more than SIGKILL: a guest that does not answer that is as good as
 * gone, and containerd would wait for the exit for ever. */
static int kill_in_guest(
	const struct process_call *call, uint32_t signal, bool all, struct err *err)
{
	_cleanup_free_ char *what = NULL;
	struct err why = ERR_INIT;
	int r = signal_in_guest(call, signal, all, &why);

	if (r != -ETIMEDOUT || signal != SIGKILL || *call->p->exec_id)
		return r < 0 ? err_copy(err, &why) : 0;
	what = xasprintf("the guest does not answer SIGKILL for container %s (%s)",
		call->p->container->id, why.text);
	pod_give_up(call->use.pod, what);
	return 0;
}

int process_kill(struct process *p, uint32_t signal, bool all, struct err *err)
{
	struct process_call call;
	bool unstarted;
	int r;

	if (signal == 0 || signal > 64)
		return err_set(err, -EINVAL, "there is no signal %u", signal);
	r = process_begin(p, LIFECYCLE_KILL, &call, err);
	if (r < 0)
		return r;
	unstarted = p->begun_in == LIFECYCLE_CREATED;
	if (!unstarted || !*p->exec_id)
		r = kill_in_guest(&call, signal, all && !*p->exec_id, err);
	if (r == 0 && unstarted && is_fatal(signal))
		end_killed_unstarted(p, signal);
	process_end(&call, r);
	return r;
}

/* ---- terminal and input ---- */

int process_resize(struct process *p, uint32_t width, uint32_t height, struct err *err)
{
	Grpc__TtyWinResizeRequest request = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;
	struct process_call call;
	int r;

	r = process_begin(p, LIFECYCLE_RESIZE, &call, err);
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
			call.use.agent, &request, call.use.deadline, err);
	process_end(&call, r);
	return r;
}

int process_close_io(struct process *p, struct err *err)
{
	struct process_call call;
	int r = process_begin(p, LIFECYCLE_CLOSE_IO, &call, err);

	if (r < 0)
		return r;
	stdio_close_stdin(p->stdio);
	process_end(&call, 0);
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
	struct pod *pod = p->container->pod;
	struct timespec now;

	if (p == p->container->init) {
		clock_gettime(CLOCK_REALTIME, &now);
		process_exit(p, EXIT_STATUS_KILLED, &now);
		return;
	}
	end_standin(p);
	pthread_mutex_lock(&pod->lock);
	mark_ended(p, 0, &(struct timespec){0});
	pthread_mutex_unlock(&pod->lock);
}

static void unlink_exec(struct process *p)
{
	struct pod *pod = p->container->pod;
	struct process **at;

	pthread_mutex_lock(&pod->lock);
	for (at = &p->container->execs; *at && *at != p;)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	p->state = LIFECYCLE_DELETED;
	pthread_mutex_unlock(&pod->lock);
}

int process_delete_exec(struct process *p, struct err *err)
{
	struct process_call call;
	int r = process_begin(p, LIFECYCLE_DELETE, &call, err);

	if (r < 0)
		return r;
	process_join(p);
	process_end_unstarted(p);
	unlink_exec(p);
	process_end(&call, 0);
	process_unref(p); /* the container's; the caller has one of its own */
	return 0;
}
