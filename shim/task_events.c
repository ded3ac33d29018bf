/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a task: see task_events.h. */
#include "shim/task_events.h"

#include "shim/proto/containerd_events.pb-c.h"

static void set_time(Google__Protobuf__Timestamp *t, const struct timespec *at)
{
	google__protobuf__timestamp__init(t);
	t->seconds = at->tv_sec;
	t->nanos = (int32_t)at->tv_nsec;
}

static bool is_exec(const struct process *p)
{
	return *p->exec_id;
}

void task_publish_create(struct pod *pod,
	const Containerd__Task__V2__CreateTaskRequest *request, uint32_t pid)
{
	Containerd__Events__TaskCreate event = CONTAINERD__EVENTS__TASK_CREATE__INIT;
	Containerd__Events__TaskIO io = CONTAINERD__EVENTS__TASK_IO__INIT;

	io.stdin = request->stdin;
	io.stdout = request->stdout;
	io.stderr = request->stderr;
	io.terminal = request->terminal;
	event.container_id = request->id;
	event.bundle = request->bundle;
	event.rootfs = request->rootfs;
	event.n_rootfs = request->n_rootfs;
	event.io = &io;
	event.pid = pid;
	events_publish(pod->events, "/tasks/create", &event.base);
}

void task_publish_start(const struct process *p)
{
	Containerd__Events__TaskExecStarted exec =
		CONTAINERD__EVENTS__TASK_EXEC_STARTED__INIT;
	Containerd__Events__TaskStart start = CONTAINERD__EVENTS__TASK_START__INIT;
	struct events *events = p->container->pod->events;

	if (is_exec(p)) {
		exec.container_id = p->container->id;
		exec.exec_id = p->exec_id;
		exec.pid = p->pid;
		events_publish(events, "/tasks/exec-started", &exec.base);
	} else {
		start.container_id = p->container->id;
		start.pid = p->pid;
		events_publish(events, "/tasks/start", &start.base);
	}
}

void task_publish_exec_added(const struct process *p)
{
	Containerd__Events__TaskExecAdded event =
		CONTAINERD__EVENTS__TASK_EXEC_ADDED__INIT;

	event.container_id = p->container->id;
	event.exec_id = p->exec_id;
	events_publish(p->container->pod->events, "/tasks/exec-added", &event.base);
}

void task_publish_exit(const struct process *p)
{
	Containerd__Events__TaskExit event = CONTAINERD__EVENTS__TASK_EXIT__INIT;
	Google__Protobuf__Timestamp at;

	set_time(&at, &p->exited_at);
	event.container_id = p->container->id;
	event.id = is_exec(p) ? p->exec_id : p->container->id;
	event.pid = p->pid;
	event.exit_status = p->exit_status;
	event.exited_at = &at;
	events_publish(p->container->pod->events, "/tasks/exit", &event.base);
}

void task_publish_delete(const struct process *p)
{
	Containerd__Events__TaskDelete event = CONTAINERD__EVENTS__TASK_DELETE__INIT;
	Google__Protobuf__Timestamp at;

	set_time(&at, &p->exited_at);
	event.container_id = p->container->id;
	event.pid = p->pid;
	event.exit_status = p->exit_status;
	event.exited_at = &at;
	events_publish(p->container->pod->events, "/tasks/delete", &event.base);
}

void task_publish_paused(const struct container *c, bool paused)
{
	Containerd__Events__TaskResumed out = CONTAINERD__EVENTS__TASK_RESUMED__INIT;
	Containerd__Events__TaskPaused in = CONTAINERD__EVENTS__TASK_PAUSED__INIT;

	in.container_id = out.container_id = c->id;
	if (paused)
		events_publish(c->pod->events, "/tasks/paused", &in.base);
	else
		events_publish(c->pod->events, "/tasks/resumed", &out.base);
}

void task_publish_oom(struct pod *pod, const char *id)
{
	Containerd__Events__TaskOOM event = CONTAINERD__EVENTS__TASK_OOM__INIT;

	event.container_id = (char *)id;
	events_publish(pod->events, "/tasks/oom", &event.base);
}
