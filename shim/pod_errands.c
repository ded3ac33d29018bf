/* SPDX-License-Identifier: Apache-2.0 */
/* What is being done for a pod's containers: see pod_errands.h. */
#include "shim/pod_errands.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/thread.h"
#include "base/util.h"
#include "shim/pod.h"

#define CREATIONS (ERRAND_CREATE | ERRAND_CREATE_HOOKS)

static bool is_of(const struct errand *e, const char *container_id)
{
	return !container_id || strcmp(e->container_id, container_id) == 0;
}

static void give_up(struct errand *e)
{
	if (e->is_void)
		return;
	e->is_void = true;
	thread_wake(e->void_fd);
}

static bool is_being_made(const struct pod *pod, const char *container_id)
{
	const struct errand *e = pod->errands;

	while (e && !(e->kind & CREATIONS && is_of(e, container_id)))
		e = e->next;
	return e;
}

int errand_begin(struct errand *e, struct pod *pod, enum errand_kind kind,
	const char *container_id, struct err *err)
{
	int r = 0;

	*e = (struct errand){.kind = kind, .container_id = container_id};
	e->void_fd = eventfd(0, EFD_CLOEXEC);
	if (e->void_fd < 0)
		return err_sys(err, errno, "cannot make an eventfd");
	pthread_mutex_lock(&pod->lock);
	if (kind == ERRAND_CREATE && is_being_made(pod, container_id)) {
		r = err_set(err, -EEXIST, "container %s is being made", container_id);
	} else {
		e->next = pod->errands;
		pod->errands = e;
		if (pod->ending)
			give_up(e);
	}
	pthread_mutex_unlock(&pod->lock);
	if (r < 0)
		close(e->void_fd);
	return r;
}

void errand_become(struct errand *e, struct pod *pod, enum errand_kind kind)
{
	pthread_mutex_lock(&pod->lock);
	e->kind = kind;
	pthread_mutex_unlock(&pod->lock);
}

void errand_end(struct errand *e, struct pod *pod)
{
	struct errand **at;

	pthread_mutex_lock(&pod->lock);
	for (at = &pod->errands; *at != e;)
		at = &(*at)->next;
	*at = e->next;
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
	close(e->void_fd);
}

bool pod_makes_container_locked(const struct pod *pod)
{
	return is_being_made(pod, NULL);
}

bool errands_give_up_locked(struct pod *pod, const char *container_id, unsigned int kinds)
{
	bool any = false;

	for (struct errand *e = pod->errands; e; e = e->next) {
		if (!(e->kind & kinds) || !is_of(e, container_id))
			continue;
		give_up(e);
		any = true;
	}
	return any;
}
