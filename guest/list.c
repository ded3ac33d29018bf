/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes a container has. */
#include <string.h>

#include "agent-client/proto/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/message.h"
#include "guest/service.h"

static int list_one(void *user, pid_t pid)
{
	Grpc__ListProcessesResponse *out = user;
	Grpc__ListedProcess *p = message_new(&grpc__listed_process__descriptor);

	p->pid = (uint32_t)pid;
	MESSAGE_APPEND(out->n_processes, out->processes, p);
	return 0;
}

/* With the lock. The id of the one that was started as such, and has not ended: its pid
 * may be another's then. */
static const char *find_id(const struct container *c, uint32_t pid)
{
	for (const struct process *p = c->processes; p; p = p->next)
		if (p->launched && p->child.pid == (pid_t)pid &&
			!child_has_ended(&p->child))
			return p->id;
	return "";
}

SERVICE_HANDLER(handle_list_processes)
{
	const Grpc__ListProcessesRequest *req = (const Grpc__ListProcessesRequest *)in;
	_cleanup_(container) struct container *c = NULL;
	struct sandbox *s = user;
	Grpc__ListProcessesResponse *out;
	int r = sandbox_find(s, req->container_id, &c, err);

	(void)request;
	if (r < 0)
		return r;
	out = message_new(&grpc__list_processes_response__descriptor);
	r = cgroup_visit(c->id, list_one, out, err);
	if (r < 0) {
		protobuf_c_message_free_unpacked(&out->base, NULL);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < out->n_processes; i++)
		out->processes[i]->exec_id = xstrdup(find_id(c, out->processes[i]->pid));
	pthread_mutex_unlock(&s->lock);
	*ret_out = &out->base;
	return 0;
}
