/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with a container that exists: see container.h. */
#include "shim/container.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/util.h"
#include "shim/cmdline.h"
#include "shim/oci/from_json.h"
#include "shim/pod_errands.h"
#include "shim/spec.h"
#include "shim/task_events.h"

static int parse_process(const Containerd__Task__V2__ExecProcessRequest *request,
	Grpc__Process **ret, struct err *err)
{
	_cleanup_json_ struct json_object *json = NULL;
	int r;

	if (!request->spec)
		return err_set(err, -EINVAL, "the request has no process spec");
	r = json_parse("process spec", (const char *)request->spec->value.data,
		request->spec->value.len, SPEC_DEPTH_MAX, &json, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(json, json_type_object))
		return err_set(err, -EINVAL, "the process spec is no JSON object");
	json_set_bool(json, "terminal", request->terminal);
	json_object_object_del(json, "apparmorProfile");
	json_object_object_del(json, "selinuxLabel");
	return oci_process_from_json(json, ret, err);
}

static int add_exec(struct process *p, struct err *err)
{
	struct container *c = p->container;
	struct process *other;

	/* The container's id is the name of its first process in the guest. */
	if (strcmp(p->exec_id, c->id) == 0)
		return err_set(err, -EEXIST, "process %s exists already", p->exec_id);
	pthread_mutex_lock(&c->pod->lock);
	for (other = c->execs; other; other = other->next)
		if (strcmp(other->exec_id, p->exec_id) == 0)
			break;
	if (!other) {
		p->next = c->execs;
		c->execs = p;
		task_publish_exec_added(p);
	}
	pthread_mutex_unlock(&c->pod->lock);
	return other ? err_set(err, -EEXIST, "process %s exists already", p->exec_id) : 0;
}

static int make_exec(struct process *init,
	const Containerd__Task__V2__ExecProcessRequest *request, struct err *err)
{
	const struct process_streams streams = {.terminal = request->terminal,
		.in = request->stdin,
		.out = request->stdout,
		.err = request->stderr};
	struct container *c = init->container;
	struct process *p;
	int r;

	pthread_mutex_lock(&c->pod->lock);
	p = process_new(c, request->exec_id, &streams);
	pthread_mutex_unlock(&c->pod->lock);
	r = parse_process(request, &p->spec, err);
	if (r == 0)
		r = process_open(p, err);
	if (r == 0)
		r = add_exec(p, err);
	if (r < 0) {
		process_join(p);
		process_unref(p);
	}
	return r;
}

int container_exec(struct process *init,
	const Containerd__Task__V2__ExecProcessRequest *request, struct err *err)
{
	struct process_call call;
	int r;

	r = name_check("exec id", request->exec_id, err);
	if (r == 0)
		r = process_begin(init, LIFECYCLE_EXEC, &call, err);
	if (r < 0)
		return r;
	r = make_exec(init, request, err);
	process_end(&call, r);
	return r;
}

int container_pause(struct process *init, bool pause, struct err *err)
{
	Grpc__PauseContainerRequest pause_request = GRPC__PAUSE_CONTAINER_REQUEST__INIT;
	Grpc__ResumeContainerRequest resume_request =
		GRPC__RESUME_CONTAINER_REQUEST__INIT;
	struct container *c = init->container;
	struct process_call call;
	int r;

	r = process_begin(init, pause ? LIFECYCLE_PAUSE : LIFECYCLE_RESUME, &call, err);
	if (r < 0)
		return r;
	pause_request.container_id = resume_request.container_id = c->id;
	r = pause ? agent_pause_container(
			    call.use.agent, &pause_request, call.use.deadline, err)
		  : agent_resume_container(
			    call.use.agent, &resume_request, call.use.deadline, err);
	if (r == 0)
		task_publish_paused(c, pause);
	process_end(&call, r);
	return r;
}

static int update_in_guest(
	const struct process_call *call, Grpc__LinuxResources *resources, struct err *err)
{
	Grpc__UpdateContainerRequest request = GRPC__UPDATE_CONTAINER_REQUEST__INIT;

	request.container_id = call->p->container->id;
	request.resources = resources;
	return agent_update_container(call->use.agent, &request, call->use.deadline, err);
}

/* The VM has what a higher limit needs before the limit is told, so that it is there when
 * the answer is. In a change of the pod. */
static int update_and_fit(const struct process_call *call, struct json_object *o,
	Grpc__LinuxResources *resources, struct err *err)
{
	struct container *c = call->p->container;
	struct pod_size was = c->size, now = was;
	int r = pod_size_of_resources(o, &now, err);

	if (r < 0)
		return r;
	c->size.cpu_millis = MAX(was.cpu_millis, now.cpu_millis);
	c->size.memory_bytes = MAX(was.memory_bytes, now.memory_bytes);
	r = pod_size_fit(c->pod, NULL, err);
	if (r == 0)
		r = update_in_guest(call, resources, err);
	c->size = r == 0 ? now : was;
	if (r == 0)
		pod_share_renew(c->pod);
	return r;
}

static int update_container(struct process *init, struct json_object *o,
	Grpc__LinuxResources *resources, struct err *err)
{
	struct pod *pod = init->container->pod;
	struct process_call call;
	int r = pod_change_begin(pod, err);

	if (r < 0)
		return r;
	r = process_begin(init, LIFECYCLE_UPDATE, &call, err);
	if (r == 0) {
		r = update_and_fit(&call, o, resources, err);
		process_end(&call, r);
	}
	pod_change_end(pod);
	return r;
}

int container_update(struct process *init, const void *json, size_t len, struct err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	Grpc__LinuxResources *resources;
	int r;

	r = json_parse("resources", json, len, SPEC_DEPTH_MAX, &o, err);
	if (r == 0)
		r = oci_resources_from_json(o, &resources, err);
	if (r < 0)
		return r;
	r = update_container(init, o, resources, err);
	grpc__linux_resources__free_unpacked(resources, NULL);
	return r;
}

static struct process *find_unstarted(struct container *c)
{
	struct process *p = c->execs;

	if (c->init->state == LIFECYCLE_CREATED)
		return c->init;
	while (p && p->state != LIFECYCLE_CREATED)
		p = p->next;
	return p;
}

void containers_lost(struct pod *pod)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&pod->lock);
	errands_give_up_locked(pod, NULL, ERRAND_CREATE_HOOKS);
	pthread_mutex_unlock(&pod->lock);
	for (;;) {
		struct process *p = NULL;

		/* Processes that run have a thread which sees it. */
		pthread_mutex_lock(&pod->lock);
		for (struct container *c = pod->containers; c && !p; c = c->next)
			p = find_unstarted(c);
		if (p)
			p->refs++;
		pthread_mutex_unlock(&pod->lock);
		if (!p)
			return;
		process_hang_up_unstarted(p);
		process_exit(p, EXIT_STATUS_KILLED, &now);
		process_unref(p);
	}
}
