/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a container, and stopping the pod with the last of them: see container.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/container.h"
#include "shim/container_hooks.h"
#include "shim/pod_errands.h"
#include "shim/task_events.h"

void container_remove_in_guest(struct container *c, const struct pod_use *use)
{
	Grpc__RemoveContainerRequest request = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	_cleanup_free_ char *what = NULL;
	struct err err = ERR_INIT;
	int r;

	request.container_id = c->id;
	r = agent_remove_container(use->agent, &request, use->deadline, &err);
	if (r == -ETIMEDOUT) {
		/* Its processes may run on, and their waiters are about to be joined. */
		what = xasprintf(
			"the guest does not remove container %s (%s)", c->id, err.text);
		pod_give_up(use->pod, what);
	} else if (r < 0) {
		log_error("container %s stays in the guest until its pod ends: %s", c->id,
			err.text);
	}
}

/* Takes each exec for good: its agent calls end,
 * since its container or the VM is gone. */
static void join_execs(struct container *c)
{
	struct pod *pod = c->pod;
	struct process *p;

	for (;;) {
		pthread_mutex_lock(&pod->lock);
		while (c->execs && c->execs->busy)
			pthread_cond_wait(&pod->changed, &pod->lock);
		p = c->execs;
		if (p) {
			p->busy = true;
			c->execs = p->next;
		}
		pthread_mutex_unlock(&pod->lock);
		if (!p)
			return;
		process_join(p);
		process_end_unstarted(p);
		pthread_mutex_lock(&pod->lock);
		p->state = LIFECYCLE_DELETED;
		p->busy = false;
		pthread_cond_broadcast(&pod->changed);
		pthread_mutex_unlock(&pod->lock);
		process_unref(p);
	}
}

static void unlink_container(struct container *c)
{
	struct pod *pod = c->pod;
	struct container **at;

	pthread_mutex_lock(&pod->lock);
	for (at = &pod->containers; *at != c;)
		at = &(*at)->next;
	*at = c->next;
	c->init->state = LIFECYCLE_DELETED;
	task_publish_delete(c->init);
	pthread_mutex_unlock(&pod->lock);
}

/* Ends all that runs for it here: its guest's half is gone, or its VM. */
static void join_processes(struct container *c)
{
	join_execs(c);
	process_join(c->init);
	process_end_unstarted(c->init);
}

/* As long as there is a pod to remove it from; of one that goes with it only what the
 * guest must end itself. */
static void remove_from_pod(struct container *c, bool pod_goes)
{
	struct pod_use use;

	if (pod_use_begin(c->pod, &use, NULL) < 0) {
		join_processes(c);
		return;
	}
	container_remove_in_guest(c, &use);
	join_processes(c);
	if (!pod_goes) {
		trees_withdraw(c->trees, use.files);
		disks_unplug(c->disks, &use);
	}
	pod_use_end(&use);
}

/* What the guest has written to the host's disks must get there, if there is a guest. */
static bool has_unwritten(struct container *c)
{
	struct pod *pod = c->pod;
	bool alive;

	pthread_mutex_lock(&pod->lock);
	alive = pod->vm && !pod->vm_ended && !vm_is_killed(pod->vm);
	pthread_mutex_unlock(&pod->lock);
	return alive && disks_are_writable(c->disks);
}

static void remove_container(struct container *c)
{
	struct pod *pod = c->pod;
	bool is_last = !pod->sandbox && pod->containers == c && !c->next;

	container_end_poststart(c);
	/* Else the guest need not tidy up what ends with it. */
	if (!is_last || has_unwritten(c)) {
		remove_from_pod(c, is_last);
	} else {
		pod_kill_vm(pod);
		join_processes(c);
	}
	unlink_container(c);
	trees_settle(c->trees);
	if (is_last)
		pod_stop(pod);
	else
		pod_share_renew(pod);
	process_unref(c->init); /* the container's reference */
}

int container_delete(struct process *init, struct err *err)
{
	struct pod *pod = init->container->pod;
	struct process_call call;
	int r;

	r = pod_change_begin(pod, err);
	if (r < 0)
		return r;
	r = process_begin(init, LIFECYCLE_DELETE, &call, err);
	if (r == 0) {
		remove_container(init->container);
		process_end(&call, 0);
	}
	pod_change_end(pod);
	if (r == 0)
		container_run_poststop(init->container);
	return r;
}

/* What is being made is not to be: without a VM that starts for it, it would take
 * long. */
static void void_creation(struct pod *pod, const char *id)
{
	pthread_mutex_lock(&pod->lock);
	if (errands_give_up_locked(pod, id, ERRAND_CREATE | ERRAND_CREATE_HOOKS) &&
		pod->vm && pod->life == POD_STARTING)
		vm_kill(pod->vm);
	pthread_mutex_unlock(&pod->lock);
}

/* SIGKILL ends it, or the guest that does not obey: process_kill(). */
static void end_discarded(struct process *p)
{
	struct err err = ERR_INIT;

	/* Fails for one that has ended. */
	process_kill(p, SIGKILL, true, NULL);
	wait_fd(p->exit_fd, POLLIN,
		deadline_after_ms(p->container->pod->config.call_timeout_ms));
	if (container_delete(p, &err) < 0)
		log_error("container %s, which containerd has given up, stays: %s",
			p->container->id, err.text);
}

void container_discard(struct pod *pod, const char *id)
{
	_cleanup_(process) struct process *p = NULL;

	void_creation(pod, id);
	if (process_find(pod, id, "", &p, NULL) < 0)
		return;
	log_warn("container %s is removed: containerd has given it up", id);
	end_discarded(p);
}

void containers_end_all(struct pod *pod)
{
	pod_kill_vm(pod);
	while (pod->containers)
		remove_container(pod->containers);
	pod_stop(pod);
}
