/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of containerd.task.v2.Task: see service.h. */
#include "shim/service.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "agent-client/proto/empty.pb-c.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/pod_errands.h"
#include "shim/sandbox_service.h"

/* Handlers run everything from libnl to a cold boot; only touched pages count. */
#define HANDLER_STACK_BYTES (256u * 1024)
/* A Wait for each process, and what a client may do at the same time. */
#define REQUESTS_MAX 512

/* A method's handler, with the request under its own type. */
#define HANDLER(method, in_type)                                                         \
	static int handle_##method(struct service *service, struct ttrpc_request *call,  \
		const struct Containerd__Task__V2__##in_type *in,                        \
		ProtobufCMessage **ret_out, struct err *err);                            \
	static int on_##method(void *user, struct ttrpc_request *call,                   \
		const ProtobufCMessage *in, ProtobufCMessage **ret_out, struct err *err) \
	{                                                                                \
		return handle_##method(user, call, (const void *)in, ret_out, err);      \
	}                                                                                \
	static int handle_##method(struct service *service,                              \
		__attribute__((unused)) struct ttrpc_request *call,                      \
		const struct Containerd__Task__V2__##in_type *in,                        \
		__attribute__((unused)) ProtobufCMessage **ret_out, struct err *err)

Google__Protobuf__Timestamp *service_new_timestamp(const struct timespec *at)
{
	Google__Protobuf__Timestamp *t = xnew0(Google__Protobuf__Timestamp);

	google__protobuf__timestamp__init(t);
	t->seconds = at->tv_sec;
	t->nanos = (int32_t)at->tv_nsec;
	return t;
}

/* A file that is missing is not a task that is missing: "not found" has a meaning of its
 * own for containerd's clients. */
static int not_a_task(int r, struct err *err)
{
	if (r < 0 && ttrpc_code_of_errno(r) == TTRPC_NOT_FOUND)
		r = err->code = -EIO;
	return r;
}

HANDLER(create, CreateTaskRequest)
{
	Containerd__Task__V2__CreateTaskResponse *out;
	_cleanup_(process) struct process *p = NULL;
	int r = not_a_task(container_create(service->pod, in, err), err);

	if (r == 0)
		r = process_find(service->pod, in->id, "", &p, err);
	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__CreateTaskResponse);
	containerd__task__v2__create_task_response__init(out);
	out->pid = p->pid;
	*ret_out = &out->base;
	return 0;
}

HANDLER(start, StartRequest)
{
	Containerd__Task__V2__StartResponse *out;
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	if (r == 0)
		r = not_a_task(process_start(p, err), err);
	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__StartResponse);
	containerd__task__v2__start_response__init(out);
	out->pid = p->pid;
	*ret_out = &out->base;
	return 0;
}

static Containerd__V1__Types__Status wire_status(enum lifecycle_state state)
{
	switch (state) {
	case LIFECYCLE_CREATED:
		return CONTAINERD__V1__TYPES__STATUS__CREATED;
	case LIFECYCLE_RUNNING:
		return CONTAINERD__V1__TYPES__STATUS__RUNNING;
	case LIFECYCLE_PAUSED:
		return CONTAINERD__V1__TYPES__STATUS__PAUSED;
	case LIFECYCLE_STOPPED:
	case LIFECYCLE_DELETED:
		return CONTAINERD__V1__TYPES__STATUS__STOPPED;
	case LIFECYCLE_STATES:
		break;
	}
	return CONTAINERD__V1__TYPES__STATUS__UNKNOWN;
}

HANDLER(state, StateRequest)
{
	Containerd__Task__V2__StateResponse *out;
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__StateResponse);
	containerd__task__v2__state_response__init(out);
	out->id = xstrdup(*p->exec_id ? p->exec_id : p->container->id);
	out->exec_id = xstrdup(p->exec_id);
	out->bundle = xstrdup(p->container->bundle);
	out->stdin = xstrdup(p->in);
	out->stdout = xstrdup(p->out);
	out->stderr = xstrdup(p->err);
	out->terminal = p->terminal;
	pthread_mutex_lock(&service->pod->lock);
	out->status = wire_status(p->state);
	out->pid = p->pid;
	out->exit_status = p->exit_status;
	out->exited_at = service_new_timestamp(&p->exited_at);
	pthread_mutex_unlock(&service->pod->lock);
	*ret_out = &out->base;
	return 0;
}

int service_wait_end(
	int end_fd, const char *what, struct ttrpc_request *call, struct err *err)
{
	struct pollfd fds[] = {{.fd = end_fd, .events = POLLIN},
		{.fd = ttrpc_request_closed_fd(call), .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds),
		       deadline_poll_ms(ttrpc_request_deadline(call))) < 0)
		if (errno != EINTR)
			return err_sys(err, errno, "cannot wait for %s", what);
	if (fds[0].revents)
		return 0;
	return fds[1].revents ? err_set(err, -ECONNRESET, "the client has left")
			      : err_set(err, -ETIMEDOUT, "%s still runs", what);
}

HANDLER(wait, WaitRequest)
{
	Containerd__Task__V2__WaitResponse *out;
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	if (r == 0)
		r = service_wait_end(p->exit_fd, "the process", call, err);
	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__WaitResponse);
	containerd__task__v2__wait_response__init(out);
	pthread_mutex_lock(&service->pod->lock);
	out->exit_status = p->exit_status;
	out->exited_at = service_new_timestamp(&p->exited_at);
	pthread_mutex_unlock(&service->pod->lock);
	*ret_out = &out->base;
	return 0;
}

HANDLER(kill, KillRequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	return r == 0 ? process_kill(p, in->signal, in->all, err) : r;
}

HANDLER(delete, DeleteRequest)
{
	Containerd__Task__V2__DeleteResponse *out;
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	if (r == 0)
		r = *in->exec_id ? process_delete_exec(p, err) : container_delete(p, err);
	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__DeleteResponse);
	containerd__task__v2__delete_response__init(out);
	out->pid = p->pid;
	out->exit_status = p->exit_status;
	out->exited_at = service_new_timestamp(&p->exited_at);
	*ret_out = &out->base;
	return 0;
}

HANDLER(exec, ExecProcessRequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, "", &p, err);

	return r == 0 ? container_exec(p, in, err) : r;
}

HANDLER(resize_pty, ResizePtyRequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	return r == 0 ? process_resize(p, in->width, in->height, err) : r;
}

HANDLER(close_io, CloseIORequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, in->exec_id, &p, err);

	return r == 0 && in->stdin ? process_close_io(p, err) : r;
}

HANDLER(pids, PidsRequest)
{
	Containerd__Task__V2__PidsResponse *out;
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, "", &p, err);

	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__PidsResponse);
	containerd__task__v2__pids_response__init(out);
	*ret_out = &out->base;
	return container_pids(p, out, err);
}

HANDLER(pause, PauseRequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, "", &p, err);

	return r == 0 ? container_pause(p, true, err) : r;
}

HANDLER(resume, ResumeRequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, "", &p, err);

	return r == 0 ? container_pause(p, false, err) : r;
}

HANDLER(update, UpdateTaskRequest)
{
	_cleanup_(process) struct process *p = NULL;
	int r = process_find(service->pod, in->id, "", &p, err);

	if (r < 0)
		return r;
	if (!in->resources)
		return err_set(err, -EINVAL, "the request has no resources");
	return container_update(
		p, in->resources->value.data, in->resources->value.len, err);
}

HANDLER(stats, StatsRequest)
{
	Containerd__Task__V2__StatsResponse *out;
	_cleanup_(process) struct process *p = NULL;
	void *data;
	size_t len;
	int r = process_find(service->pod, in->id, "", &p, err);

	if (r == 0)
		r = container_stats(p, &data, &len, err);
	if (r < 0)
		return r;
	out = xnew0(Containerd__Task__V2__StatsResponse);
	containerd__task__v2__stats_response__init(out);
	out->stats = xnew0(Google__Protobuf__Any);
	google__protobuf__any__init(out->stats);
	out->stats->type_url = xstrdup(STATS_TYPE_URL);
	out->stats->value.data = data;
	out->stats->value.len = len;
	*ret_out = &out->base;
	return 0;
}

/* A container that is not there (yet) is no error:
 * it is asked to see whether the shim lives. */
HANDLER(connect, ConnectRequest)
{
	Containerd__Task__V2__ConnectResponse *out =
		xnew0(Containerd__Task__V2__ConnectResponse);
	_cleanup_(process) struct process *p = NULL;

	(void)err;
	containerd__task__v2__connect_response__init(out);
	out->shim_pid = (uint32_t)getpid();
	if (process_find(service->pod, in->id, "", &p, NULL) == 0)
		out->task_pid = p->pid;
	out->version = xstrdup(STENCIL_VERSION);
	*ret_out = &out->base;
	return 0;
}

/* Containers keep the pod, one that is being made, too, and a sandbox. */
static int end_if_empty(struct pod *pod, bool *ret_ended, struct err *err)
{
	bool is_empty;
	int r = pod_change_begin(pod, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&pod->lock);
	is_empty = !pod->containers && !pod->sandbox && !pod_makes_container_locked(pod);
	pod->ending = is_empty;
	if (is_empty)
		errands_give_up_locked(pod, NULL, ERRAND_ALL);
	pthread_mutex_unlock(&pod->lock);
	if (is_empty) {
		pod_stop(pod);
		/* Before the connection ends: containerd runs `delete` when it does. */
		pod_remove_state(pod);
	}
	pod_change_end(pod);
	*ret_ended = is_empty;
	return 0;
}

/* A shim whose pod is not empty goes on; that is no error. `now` comes from our verb
 * `delete` (peer.h). */
HANDLER(shutdown, ShutdownRequest)
{
	bool ended = false;
	int r;

	if (in->now)
		container_discard(service->pod, in->id);
	r = end_if_empty(service->pod, &ended, err);
	if (ended)
		ttrpc_request_stop_server(call);
	return r;
}

/*
 * Who asked for what there was may have no time to ask for Shutdown: a containerd that is
 * killed, of which a new one knows nothing. Or it has no reason to: containerd 2 asks
 * once, when a pod's pause container is deleted, whatever else there is. It is seen by
 * its leaving.
 */
static void on_left(void *user)
{
	struct service *service = user;
	bool ended = false;

	end_if_empty(service->pod, &ended, NULL);
	if (ended)
		ttrpc_server_stop(service->server);
}

#define EMPTY (&google__protobuf__empty__descriptor)
/* Both versions have the same messages; that of containerd 2 knows streams beside. */
#define METHOD(name, handler, in, out)                                                   \
	{"containerd.task.v2.Task", name, &containerd__task__v2__##in##__descriptor,     \
		out, on_##handler},                                                      \
	{                                                                                \
		"containerd.task.v3.Task", name,                                         \
			&containerd__task__v2__##in##__descriptor, out, on_##handler     \
	}
#define OUT(name) (&containerd__task__v2__##name##__descriptor)

/* Checkpoint is not among them: it answers UNIMPLEMENTED, by name. */
static const struct ttrpc_method task_methods[] = {
	METHOD("Create", create, create_task_request, OUT(create_task_response)),
	METHOD("Start", start, start_request, OUT(start_response)),
	METHOD("State", state, state_request, OUT(state_response)),
	METHOD("Wait", wait, wait_request, OUT(wait_response)),
	METHOD("Kill", kill, kill_request, EMPTY),
	METHOD("Delete", delete, delete_request, OUT(delete_response)),
	METHOD("Exec", exec, exec_process_request, EMPTY),
	METHOD("ResizePty", resize_pty, resize_pty_request, EMPTY),
	METHOD("CloseIO", close_io, close_iorequest, EMPTY),
	METHOD("Pids", pids, pids_request, OUT(pids_response)),
	METHOD("Pause", pause, pause_request, EMPTY),
	METHOD("Resume", resume, resume_request, EMPTY),
	METHOD("Update", update, update_task_request, EMPTY),
	METHOD("Stats", stats, stats_request, OUT(stats_response)),
	METHOD("Connect", connect, connect_request, OUT(connect_response)),
	METHOD("Shutdown", shutdown, shutdown_request, EMPTY),
};

int service_new_server(struct service *service, struct err *err)
{
	struct ttrpc_server_config config = {
		.tables = {{task_methods, ARRAY_SIZE(task_methods)},
			{sandbox_methods, n_sandbox_methods}},
		.user = service,
		.left = on_left,
		.thread_stack_bytes = HANDLER_STACK_BYTES,
		.max_requests = REQUESTS_MAX};

	return ttrpc_server_new(&config, &service->server, err);
}
