/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a container, as containerd lists them. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "shim/container.h"
#include "shim/proto/runc_options.pb-c.h"

#define DETAILS_TYPE_URL "containerd.runc.v1.ProcessDetails"

static Google__Protobuf__Any *new_details(const char *exec_id)
{
	Containerd__Runc__V1__ProcessDetails details =
		CONTAINERD__RUNC__V1__PROCESS_DETAILS__INIT;
	Google__Protobuf__Any *any = xnew0(Google__Protobuf__Any);

	details.exec_id = (char *)(uintptr_t)exec_id;
	google__protobuf__any__init(any);
	any->type_url = xstrdup(DETAILS_TYPE_URL);
	any->value.len = containerd__runc__v1__process_details__get_packed_size(&details);
	any->value.data = xmalloc(any->value.len + 1);
	containerd__runc__v1__process_details__pack(&details, any->value.data);
	return any;
}

static void add_process(
	Containerd__Task__V2__PidsResponse *out, uint32_t pid, const char *exec_id)
{
	Containerd__V1__Types__ProcessInfo *info =
		xnew0(Containerd__V1__Types__ProcessInfo);

	containerd__v1__types__process_info__init(info);
	info->pid = pid;
	if (*exec_id)
		info->info = new_details(exec_id);
	out->processes = xreallocarray(
		out->processes, out->n_processes + 1, sizeof(*out->processes));
	out->processes[out->n_processes++] = info;
}

/* With the pod's lock; NULL if it is none that containerd knows. */
static const struct process *find_known(const struct container *c, const char *agent_id)
{
	const struct process *p = c->execs;

	if (strcmp(c->init->agent_id, agent_id) == 0)
		return c->init;
	while (p && strcmp(p->agent_id, agent_id) != 0)
		p = p->next;
	return p;
}

static void add_listed(struct container *c, const Grpc__ListProcessesResponse *listed,
	Containerd__Task__V2__PidsResponse *out)
{
	pthread_mutex_lock(&c->pod->lock);
	for (size_t i = 0; i < listed->n_processes; i++) {
		const Grpc__ListedProcess *l = listed->processes[i];
		const struct process *p = *l->exec_id ? find_known(c, l->exec_id) : NULL;

		add_process(out, p ? p->pid : CONTAINER_PID_BASE + l->pid,
			p ? p->exec_id : "");
	}
	pthread_mutex_unlock(&c->pod->lock);
}

/* As far as the host knows them. An agent may be older than the call. */
static void add_known(struct container *c, Containerd__Task__V2__PidsResponse *out)
{
	pthread_mutex_lock(&c->pod->lock);
	add_process(out, c->init->pid, "");
	for (const struct process *p = c->execs; p; p = p->next)
		if (p->state == LIFECYCLE_RUNNING)
			add_process(out, p->pid, p->exec_id);
	pthread_mutex_unlock(&c->pod->lock);
}

/* An ended task that was not deleted yet is itself, as a process is that nobody has
 * waited for. containerd 2, when it starts, takes a task without pids for one that it had
 * not made when it crashed, and throws it away with its exit status. */
static bool add_ended(const struct process *init, Containerd__Task__V2__PidsResponse *out)
{
	bool ended;

	pthread_mutex_lock(&init->container->pod->lock);
	ended = init->state == LIFECYCLE_STOPPED;
	pthread_mutex_unlock(&init->container->pod->lock);
	if (ended)
		add_process(out, init->pid, "");
	return ended;
}

int container_pids(
	struct process *init, Containerd__Task__V2__PidsResponse *out, struct err *err)
{
	Grpc__ListProcessesRequest request = GRPC__LIST_PROCESSES_REQUEST__INIT;
	Grpc__ListProcessesResponse *listed = NULL;
	struct container *c = init->container;
	struct process_call call;
	int r;

	/* What may be updated has processes. */
	r = process_begin(init, LIFECYCLE_UPDATE, &call, err);
	if (r < 0)
		return add_ended(init, out) ? 0 : r;
	request.container_id = c->id;
	r = agent_list_processes(
		call.use.agent, &request, &listed, call.use.deadline, err);
	process_end(&call, r);
	if (r == -EOPNOTSUPP) {
		add_known(c, out);
		return 0;
	}
	if (r < 0)
		return add_ended(init, out) ? 0 : r;
	add_listed(c, listed, out);
	/* All have ended, and it is about to be told. */
	if (out->n_processes == 0)
		add_known(c, out);
	grpc__list_processes_response__free_unpacked(listed, NULL);
	return 0;
}
