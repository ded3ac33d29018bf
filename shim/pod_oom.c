/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest tells of memory that runs out, or has: see pod_oom.h. */
#include "shim/pod_oom.h"

#include <errno.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/container.h"
#include "shim/process.h"
#include "shim/task_events.h"

/* More than a guest has reason to tell; each is an event that containerd has to take. */
#define OOM_PER_MINUTE 256
#define MINUTE_MS      60000

/* The guest may say any name: of others' containers it has nothing to tell. */
static void pass_on(struct pod *pod, const char *container_id)
{
	_cleanup_(process) struct process *p = NULL;

	if (process_find(pod, container_id, "", &p, NULL) == 0)
		task_publish_oom(pod, container_id);
	else
		log_warn("the guest tells of memory that ran out in %s, which is no "
			 "container of it",
			err_quote(container_id, 64));
}

static void grow_memory(struct pod *pod, struct vm *vm)
{
	struct err err = ERR_INIT;
	int r;

	if (!pod_may_grow(pod))
		return;
	r = pod_grow(pod, vm, &err);
	if (r == 0)
		log_info("the pod's containers need more memory: it grows, if its VM can "
			 "have more");
	else if (r != -ECONNRESET)
		log_warn("the pod's containers need more memory, which could not be "
			 "added: %s",
			err.text);
}

/* Whether one more is too many. */
static bool is_flood(int64_t *since_ms, unsigned int *told)
{
	if (now_ms() >= *since_ms + MINUTE_MS) {
		*since_ms = now_ms();
		*told = 0;
	}
	return ++*told > OOM_PER_MINUTE;
}

/* Until then, or the thread is to end. */
static void rest_until(struct pod *pod, int64_t deadline)
{
	pthread_mutex_lock(&pod->lock);
	while (!pod->oom_stops &&
		cond_wait(&pod->changed, &pod->lock, deadline) != -ETIMEDOUT)
		continue;
	pthread_mutex_unlock(&pod->lock);
}

static void listen_for_oom(const struct pod_use *use)
{
	Grpc__GetOOMEventRequest request = GRPC__GET_OOMEVENT_REQUEST__INIT;
	struct pod *pod = use->pod;
	int64_t since_ms = now_ms();
	unsigned int told = 0;
	Grpc__OOMEvent *event;
	struct err err;

	for (;;) {
		int r;

		if (is_flood(&since_ms, &told)) {
			log_warn("the guest tells more than %d times a minute of memory "
				 "that runs out: the rest of this one is not listened to",
				OOM_PER_MINUTE);
			rest_until(pod, since_ms + MINUTE_MS);
		}
		err = ERR_INIT;
		request.memory_may_grow = pod_may_grow(pod);
		r = agent_get_oom_event(
			use->agent, &request, &event, DEADLINE_NONE, &err);
		if (r == -ECONNRESET)
			return;
		if (r < 0) {
			log_info("the agent tells no more of processes that ran out of "
				 "memory: %s",
				err.text);
			return;
		}
		if (event->memory_wanted)
			grow_memory(pod, use->vm);
		else
			pass_on(pod, event->container_id);
		grpc__oomevent__free_unpacked(event, NULL);
	}
}

static void *oom_main(void *arg)
{
	struct pod *pod = arg;
	struct pod_use use;

	if (pod_use_begin(pod, &use, NULL) < 0)
		return NULL;
	listen_for_oom(&use);
	pod_use_end(&use);
	return NULL;
}

void pod_oom_tell(struct pod *pod, struct vm *vm)
{
	if (!vm_ran_out_of_memory(vm))
		return;
	pthread_mutex_lock(&pod->lock);
	for (struct container *c = pod->containers; c && !pod->oom_told; c = c->next)
		task_publish_oom(pod, c->id);
	pod->oom_told = true;
	pthread_mutex_unlock(&pod->lock);
}

int pod_oom_start(struct pod *pod, struct err *err)
{
	int r;

	pod->oom_stops = false;
	r = thread_start(oom_main, pod, 0, false, &pod->oom);
	pod->has_oom = r == 0;
	return r < 0 ? err_sys(err, r, "cannot start a thread") : 0;
}

void pod_oom_stop(struct pod *pod)
{
	pthread_mutex_lock(&pod->lock);
	pod->oom_stops = true;
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
	if (pod->has_oom)
		pthread_join(pod->oom, NULL);
	pod->has_oom = false;
}
