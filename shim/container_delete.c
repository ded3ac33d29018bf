/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a container, and the sandbox with the last of them: see task.h. */
#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "shim/task.h"

int shim_change_begin(struct shim *shim, struct err *err)
{
	bool ending;

	pthread_mutex_lock(&shim->lock);
	while (shim->changing)
		pthread_cond_wait(&shim->changed, &shim->lock);
	ending = shim->ending;
	shim->changing = !ending;
	pthread_mutex_unlock(&shim->lock);
	return ending ? err_set(err, -ESHUTDOWN, "the shim is about to end") : 0;
}

void shim_change_end(struct shim *shim)
{
	pthread_mutex_lock(&shim->lock);
	shim->changing = false;
	pthread_cond_broadcast(&shim->changed);
	pthread_mutex_unlock(&shim->lock);
}

static void remove_in_guest(struct container *c)
{
	Grpc__RemoveContainerRequest request = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	struct sandbox *sandbox = c->shim->sandbox;
	_cleanup_free_ char *what = NULL;
	struct err err = ERR_INIT;
	int r;

	request.container_id = c->id;
	r = agent_remove_container(
		sandbox_agent(sandbox), &request, sandbox_deadline(sandbox), &err);
	if (r == -ETIMEDOUT) {
		/* Its processes may run on, and their waiters are about to be joined. */
		what = xasprintf(
			"the guest does not remove container %s (%s)", c->id, err.text);
		sandbox_give_up(sandbox, what);
	} else if (r < 0) {
		log_error("container %s stays in the guest until its pod ends: %s", c->id,
			err.text);
	}
}

/* Takes each exec for good: its agent calls end, since its container or the VM is gone.
 */
static void join_execs(struct container *c)
{
	struct shim *shim = c->shim;
	struct process *p;

	for (;;) {
		pthread_mutex_lock(&shim->lock);
		while (c->execs && c->execs->busy)
			pthread_cond_wait(&shim->changed, &shim->lock);
		p = c->execs;
		if (p) {
			p->busy = true;
			c->execs = p->next;
		}
		pthread_mutex_unlock(&shim->lock);
		if (!p)
			return;
		process_join(p);
		process_end_unstarted(p);
		pthread_mutex_lock(&shim->lock);
		p->state = LIFECYCLE_DELETED;
		p->busy = false;
		pthread_cond_broadcast(&shim->changed);
		pthread_mutex_unlock(&shim->lock);
		process_unref(p);
	}
}

static void unlink_container(struct container *c)
{
	struct shim *shim = c->shim;
	struct container **at;

	pthread_mutex_lock(&shim->lock);
	for (at = &shim->containers; *at != c;)
		at = &(*at)->next;
	*at = c->next;
	c->init->state = LIFECYCLE_DELETED;
	task_publish_delete(c->init);
	pthread_mutex_unlock(&shim->lock);
}

static void remove_container(struct container *c)
{
	struct shim *shim = c->shim;
	bool is_last = shim->containers == c && !c->next;
	struct err err = ERR_INIT;

	/* The guest need not tidy up what ends with it. */
	if (is_last)
		sandbox_kill(shim->sandbox);
	else
		remove_in_guest(c);
	join_execs(c);
	process_join(c->init);
	process_end_unstarted(c->init);
	if (is_last) {
		sandbox_free(shim->sandbox);
		shim->sandbox = NULL;
	} else if (vm_export_detach(sandbox_vm(shim->sandbox), c->id, &err) < 0) {
		log_error(
			"files of container %s stay in the export: %s", c->id, err.text);
	}
	unlink_container(c);
	process_unref(c->init); /* the container's reference */
}

int container_delete(struct process *init, struct err *err)
{
	struct shim *shim = init->container->shim;
	enum lifecycle_state next;
	int r;

	r = shim_change_begin(shim, err);
	if (r < 0)
		return r;
	r = process_begin(init, LIFECYCLE_DELETE, &next, err);
	if (r == 0) {
		remove_container(init->container);
		process_end(init, next, 0);
	}
	shim_change_end(shim);
	return r;
}

void shim_end_all(struct shim *shim)
{
	if (shim->sandbox)
		sandbox_kill(shim->sandbox);
	while (shim->containers)
		remove_container(shim->containers);
}
