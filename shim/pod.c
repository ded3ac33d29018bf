/* SPDX-License-Identifier: Apache-2.0 */
/* The pod of a shim: see pod.h. Who may do what when; what is done is in pod_vm.c. */
#include "shim/pod.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/pod_errands.h"
#include "shim/sandbox.h"

void pod_init(struct pod *pod, struct events *events)
{
	pod->events = events;
	pod->life = POD_EMPTY;
	pod->netns_fd = pod->ipcns_fd = pod->utsns_fd = pod->files_log_fd = -1;
	pod->factory = (struct factory_result){.factory = "", .lease = LEASE_INIT};
	pthread_mutex_init(&pod->lock, NULL);
	cond_init(&pod->changed);
	trace_init(&pod->trace);
}

void pod_done(struct pod *pod)
{
	standins_free(pod->standins);
	sandbox_free(pod->sandbox);
	trace_done(&pod->trace);
	state_done(&pod->state);
	config_done(&pod->config);
	pthread_cond_destroy(&pod->changed);
	pthread_mutex_destroy(&pod->lock);
}

/* ---- changes ---- */

int pod_change_begin(struct pod *pod, struct err *err)
{
	bool ending;

	pthread_mutex_lock(&pod->lock);
	while (pod->changing)
		pthread_cond_wait(&pod->changed, &pod->lock);
	ending = pod->ending;
	pod->changing = !ending;
	pthread_mutex_unlock(&pod->lock);
	return ending ? err_set(err, -ESHUTDOWN, "the shim is about to end") : 0;
}

void pod_change_end(struct pod *pod)
{
	pthread_mutex_lock(&pod->lock);
	pod->changing = false;
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
}

void pod_change_take_back(struct pod *pod)
{
	pthread_mutex_lock(&pod->lock);
	while (pod->changing)
		pthread_cond_wait(&pod->changed, &pod->lock);
	pod->changing = true;
	pthread_mutex_unlock(&pod->lock);
}

bool pod_begin_end(struct pod *pod)
{
	bool first;

	pthread_mutex_lock(&pod->lock);
	first = !pod->ending;
	pod->ending = true;
	errands_give_up_locked(pod, NULL, ERRAND_ALL);
	if (pod->vm)
		vm_kill(pod->vm);
	while (pod->changing || pod_makes_container_locked(pod))
		pthread_cond_wait(&pod->changed, &pod->lock);
	pthread_mutex_unlock(&pod->lock);
	return first;
}

/* ---- the VM ---- */

bool pod_has_vm(struct pod *pod)
{
	bool has;

	pthread_mutex_lock(&pod->lock);
	has = pod->vm;
	pthread_mutex_unlock(&pod->lock);
	return has;
}

unsigned int pod_reserved_ports(struct pod *pod)
{
	unsigned int n;

	pthread_mutex_lock(&pod->lock);
	while (pod->nics < 0)
		pthread_cond_wait(&pod->changed, &pod->lock);
	n = (unsigned int)pod->nics;
	pthread_mutex_unlock(&pod->lock);
	return n;
}

void pod_kill_vm(struct pod *pod)
{
	pthread_mutex_lock(&pod->lock);
	if (pod->vm)
		vm_kill(pod->vm);
	pthread_mutex_unlock(&pod->lock);
}

void pod_give_up(struct pod *pod, const char *what)
{
	log_error("%s: its VM is killed, and all containers of the pod with it", what);
	pthread_mutex_lock(&pod->lock);
	if (pod->vm)
		pidfd_kill(
			vm_pidfd(pod->vm), SIGKILL); /* fails if it has ended: as well */
	pthread_mutex_unlock(&pod->lock);
}

int pod_use_begin_locked(struct pod *pod, struct pod_use *ret, struct err *err)
{
	if (!pod->vm)
		return err_set(err, -ECONNRESET, "the pod's VM has ended");
	pod->uses++;
	*ret = (struct pod_use){.pod = pod,
		.vm = pod->vm,
		.files = pod->files,
		.agent = vm_agent(pod->vm),
		.deadline = deadline_after_ms((int64_t)pod->config.call_timeout_ms)};
	return 0;
}

int pod_use_begin(struct pod *pod, struct pod_use *ret, struct err *err)
{
	int r;

	pthread_mutex_lock(&pod->lock);
	r = pod_use_begin_locked(pod, ret, err);
	pthread_mutex_unlock(&pod->lock);
	return r;
}

void pod_use_end_locked(struct pod_use *use)
{
	if (!use->pod)
		return;
	use->pod->uses--;
	pthread_cond_broadcast(&use->pod->changed);
	*use = (struct pod_use){0};
}

void pod_use_end(struct pod_use *use)
{
	struct pod *pod = use->pod;

	if (!pod)
		return;
	pthread_mutex_lock(&pod->lock);
	pod_use_end_locked(use);
	pthread_mutex_unlock(&pod->lock);
}

void pod_report(struct pod *pod)
{
	const char *file = getenv("STENCIL_TRACE");
	bool reported;

	pthread_mutex_lock(&pod->lock);
	reported = pod->reported;
	pod->reported = true;
	pthread_mutex_unlock(&pod->lock);
	if (reported)
		return;
	trace_report(&pod->trace, pod->state.id, pod->factory.factory,
		*pod->factory.reason ? pod->factory.reason : NULL,
		file && *file ? file : pod->config.trace_file);
}
