/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's VM from its start to its end: see pod.h.
 *
 * What a start waits for runs side by side: the namespace's half of the network needs no
 * VM, and NICs, CPUs and memory don't need each other. Each of these is a job in a thread
 * that ends before pod_start() does. Whoever kills the VM ends all of them with it.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/container.h"
#include "shim/disks.h"
#include "shim/pod.h"
#include "shim/pod_disks.h"
#include "shim/pod_errands.h"
#include "shim/pod_files.h"
#include "shim/pod_images.h"
#include "shim/pod_names.h"
#include "shim/pod_net.h"
#include "shim/pod_oom.h"
#include "shim/pod_ports.h"
#include "shim/pod_streams.h"
#include "shim/sandbox.h"

/* libnl and QMP need more than the smallest stack. */
#define JOB_STACK_BYTES (256u * 1024)

static bool move_life(struct pod *pod, enum pod_event event)
{
	bool moved;

	pthread_mutex_lock(&pod->lock);
	moved = pod_life_next(&pod->life, event);
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
	return moved;
}

/* ---- its end by itself ---- */

/* From the VM's thread. pod_start() finds it out in become_ready() at the latest. */
static void on_vm_ended(void *user)
{
	struct pod *pod = user;
	char why[2048];
	struct vm *vm;
	bool lost;

	/* vm_free() waits for this thread, whoever has taken the VM out of the pod. */
	pthread_mutex_lock(&pod->lock);
	vm = pod->vm;
	pod->vm_ended = true;
	lost = pod_life_next(&pod->life, POD_LOSE);
	if (lost)
		sandbox_note_end_locked(pod);
	pthread_mutex_unlock(&pod->lock);
	if (!lost)
		return;
	pod_oom_tell(pod, vm);
	vm_post_mortem(vm, why, sizeof(why));
	log_error("the VM has ended, and all processes in it%s", why);
	containers_lost(pod);
}

/* ---- jobs ---- */

struct job {
	struct pod *pod;
	const struct pod_needs *needs;
	int r;
	struct err err;
	pthread_t thread;
};

static int job_start(struct job *job, void *(*run)(void *job), struct err *err)
{
	int r = thread_start(run, job, JOB_STACK_BYTES, false, &job->thread);

	return r < 0 ? err_sys(err, r, "cannot start a thread") : 0;
}

/* r: what the thread that waits has come to. The first failure counts. */
static int job_finish(struct job *job, int r, struct err *err)
{
	pthread_join(job->thread, NULL);
	return r == 0 && job->r < 0 ? err_copy(err, &job->err) : r;
}

/* How many ports they take; 0 from when they have them. */
static void set_nics(struct pod *pod, int n)
{
	pthread_mutex_lock(&pod->lock);
	pod->nics = n;
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
}

static int join_net(struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	int r;

	free(pod->state.netns);
	pod->state.netns = xstrdup(needs->netns);
	r = state_save(&pod->state, err); /* before there is something to undo */
	pod->streams = pod_streams_new(pod);
	if (r == 0)
		r = pod_names_new(pod, &pod->names, err);
	if (r == 0)
		r = pod_net_join(pod, &pod->net, err);
	set_nics(pod, r == 0 ? (int)pod_net_nics(pod->net) : 0);
	if (r == 0)
		pod_ports_open(pod, &pod->ports);
	return r < 0 ? err_wrap(err, "network") : 0;
}

static void *run_net_job(void *arg)
{
	struct job *job = arg;

	job->r = join_net(job->pod, job->needs, &job->err);
	return NULL;
}

static void *run_resize_job(void *arg)
{
	struct job *job = arg;

	job->r = pod_resize(
		job->pod, job->needs->cpu_millis, job->needs->memory_bytes, &job->err);
	return NULL;
}

static void *run_files_job(void *arg)
{
	struct job *job = arg;

	job->r = pod_files_start(job->pod, &job->err);
	return NULL;
}

static int plug_disks(struct pod *pod, struct disks *disks, struct err *err)
{
	struct pod_use use;
	int r = pod_use_begin(pod, &use, err);

	if (r < 0)
		return r;
	r = disks_plug(disks, &use, err);
	pod_use_end(&use);
	return r;
}

/* The guest looks at each while others go on. */
static void *run_plug_job(void *arg)
{
	struct job *job = arg;

	job->r = plug_disks(job->pod, job->needs->disks, &job->err);
	if (job->r == 0)
		job->r = pod_images_plug(job->pod, job->needs->trees, &job->err);
	return NULL;
}

/* ---- the start ---- */

/* From here on others may kill it. */
static int make_vm(struct pod *pod, const struct errand *errand, struct err *err)
{
	struct vm_options options = {.config = &pod->config,
		.namespace = pod->state.namespace,
		.sandbox = pod->state.id,
		.pod_cgroup = pod->cgroup,
		.trace = &pod->trace,
		.ended = on_vm_ended,
		.user = pod};
	struct vm *vm;
	int r = vm_new(&options, &vm, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&pod->lock);
	pod->vm = vm;
	pod->vm_ended = pod->oom_told = false;
	if (pod->ending || (errand && errand->is_void))
		vm_kill(vm);
	pthread_mutex_unlock(&pod->lock);
	return 0;
}

/* Devices are nothing that the identity gate has to be before. */
static int make_unique_and_plug(
	struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	struct job job = {.pod = pod, .needs = needs};
	int r;

	if (!needs->trees)
		return vm_make_unique(pod->vm, needs->hostname, err);
	r = job_start(&job, run_plug_job, err);
	if (r < 0)
		return r;
	r = vm_make_unique(pod->vm, needs->hostname, err);
	return job_finish(&job, r, err);
}

static int prepare_vm(struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	struct job job = {.pod = pod, .needs = needs};
	int r = job_start(&job, run_files_job, err);

	if (r < 0)
		return r;
	r = make_unique_and_plug(pod, needs, err);
	return job_finish(&job, r, err);
}

static int start_vm(struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	struct factory_order order = {.config = &pod->config,
		.sandbox = pod->state.id,
		.trace = &pod->trace,
		.vm = pod->vm};
	int r = factory_start(&order, &pod->factory, err);

	return r < 0 ? r : prepare_vm(pod, needs, err);
}

static int start_vm_and_net(
	struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	struct job job = {.pod = pod, .needs = needs};
	int r;

	set_nics(pod, pod->netns_fd >= 0 ? -1 : 0);
	if (pod->netns_fd < 0)
		return start_vm(pod, needs, err);
	trace_begin(&pod->trace, TRACE_NETWORK);
	r = job_start(&job, run_net_job, err);
	if (r < 0)
		return r;
	r = start_vm(pod, needs, err);
	return job_finish(&job, r, err);
}

static int plug_net(struct pod *pod, struct err *err)
{
	int r;

	if (!pod->net)
		return 0;
	r = pod_net_start(pod->net, err);
	if (r == 0)
		r = pod_ports_start(pod->ports, err);
	set_nics(pod, 0);
	trace_end(&pod->trace, TRACE_NETWORK);
	return r < 0 ? err_wrap(err, "network") : 0;
}

static int plug_all(struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	struct job job = {.pod = pod, .needs = needs};
	int r = job_start(&job, run_resize_job, err);

	if (r < 0)
		return r;
	r = plug_net(pod, err);
	return job_finish(&job, r, err);
}

/* A VM that ended before anybody was told of its end is no VM that is ready. */
static int become_ready(struct pod *pod, struct err *err)
{
	char why[800];
	bool ended;

	pthread_mutex_lock(&pod->lock);
	ended = pod->vm_ended;
	if (!ended)
		pod_life_next(&pod->life, POD_STARTED);
	pthread_mutex_unlock(&pod->lock);
	if (!ended)
		return 0;
	vm_post_mortem(pod->vm, why, sizeof(why));
	return err_set(err, -ECONNRESET, "the VM has ended%s", why);
}

/* Its clock starts with the pod, not with the shim, and anew with each start. */
static void restart_trace(struct pod *pod)
{
	trace_done(&pod->trace);
	trace_init(&pod->trace);
	pod->reported = false;
}

static void undo_pod(struct pod *pod);

int pod_start(struct pod *pod, const struct pod_needs *needs, struct err *err)
{
	int r;

	if (!move_life(pod, POD_START))
		return err_set(err, -EBUSY, "the pod is %s", pod_state_name(pod->life));
	restart_trace(pod);
	r = make_vm(pod, needs->errand, err);
	if (r == 0)
		r = start_vm_and_net(pod, needs, err);
	if (r == 0)
		r = plug_all(pod, needs, err);
	if (r == 0)
		r = pod_oom_start(pod, err);
	if (r == 0)
		r = become_ready(pod, err);
	if (r < 0) {
		undo_pod(pod);
		move_life(pod, POD_FAILED);
	}
	return r;
}

/* The VM's size is one's at a time: not of whoever changes the pod, since a container
 * that is being made may need the memory that is to come. */
static void resize_begin(struct pod *pod)
{
	pthread_mutex_lock(&pod->lock);
	while (pod->resizing)
		pthread_cond_wait(&pod->changed, &pod->lock);
	pod->resizing = true;
	pthread_mutex_unlock(&pod->lock);
}

static void resize_end(struct pod *pod)
{
	pthread_mutex_lock(&pod->lock);
	pod->resizing = false;
	pthread_cond_broadcast(&pod->changed);
	pthread_mutex_unlock(&pod->lock);
}

static uint64_t add_bytes(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

int pod_resize(
	struct pod *pod, uint64_t cpu_millis, uint64_t memory_bytes, struct err *err)
{
	uint64_t vcpus = MAX(pod->config.default_vcpus, (cpu_millis + 999) / 1000);
	struct pod_use use;
	int r;

	if (vcpus == pod->config.default_vcpus && memory_bytes == 0)
		return 0;
	if (vcpus > UINT32_MAX)
		return err_set(err, -ERANGE, "the CPU limit is out of range");
	r = pod_use_begin(pod, &use, err);
	if (r < 0)
		return r;
	resize_begin(pod);
	pod->wanted_bytes = memory_bytes;
	r = vm_resize(use.vm, (unsigned int)vcpus,
		add_bytes(memory_bytes, pod->grown_bytes), err);
	resize_end(pod);
	pod_use_end(&use);
	return r;
}

bool pod_may_grow(struct pod *pod)
{
	bool may_grow;

	resize_begin(pod);
	may_grow =
		!pod->grows_no_more && pod->grown_bytes < pod->config.memory_growth * MiB;
	resize_end(pod);
	return may_grow;
}

int pod_grow(struct pod *pod, struct vm *vm, struct err *err)
{
	uint64_t most = pod->config.memory_growth * MiB, step;
	int r;

	resize_begin(pod);
	step = add_bytes(
		pod->config.default_memory * MiB + pod->grown_bytes, pod->wanted_bytes);
	step = MIN(step, most - MIN(most, pod->grown_bytes));
	pod->grown_bytes += step;
	r = vm_resize(vm, 0, add_bytes(pod->wanted_bytes, pod->grown_bytes), err);
	if (r < 0) {
		pod->grown_bytes -= step;
		pod->grows_no_more = true;
	}
	resize_end(pod);
	return r;
}

/* ---- the stop ---- */

/* Whoever has a use leaves soon: QEMU is dead. Then nobody can come by the VM any
 * more. */
static struct vm *take_vm(struct pod *pod)
{
	struct vm *vm;

	pthread_mutex_lock(&pod->lock);
	while (pod->uses > 0)
		pthread_cond_wait(&pod->changed, &pod->lock);
	vm = steal_ptr(pod->vm);
	pthread_mutex_unlock(&pod->lock);
	return vm;
}

void pod_close_namespaces(struct pod *pod)
{
	close_fd(steal_fd(&pod->netns_fd));
	close_fd(steal_fd(&pod->ipcns_fd));
	close_fd(steal_fd(&pod->utsns_fd));
}

/* The file server goes before the VM's cgroup, in which it is. */
static void undo_pod(struct pod *pod)
{
	struct vm *vm;

	pod_kill_vm(pod);
	pod_oom_stop(pod);
	pod->wanted_bytes = pod->grown_bytes = 0;
	pod->grows_no_more = false;
	pod_streams_hang_up(pod->streams);
	pod_names_hang_up(pod->names);
	vm = take_vm(pod);
	pod_files_stop(pod);
	pod_images_forget(pod);
	pod_disks_forget(pod);
	pod->left |= vm_free(vm) < 0;
	pod_ports_free(steal_ptr(pod->ports));
	pod->left |= pod_net_end(steal_ptr(pod->net)) < 0;
	pod_names_free(steal_ptr(pod->names));
	pod_streams_free(steal_ptr(pod->streams));
	pod_close_namespaces(pod);
	lease_release(&pod->factory.lease);
}

void pod_remove_state(struct pod *pod)
{
	struct err err = ERR_INIT;

	if (pod->left)
		log_error("the state folder stays: something of the pod is left");
	else if (state_remove(&pod->state, &err) < 0)
		log_error("the state folder stays: %s", err.text);
}

void pod_stop(struct pod *pod)
{
	if (!move_life(pod, POD_STOP))
		return;
	pthread_mutex_lock(&pod->lock);
	errands_give_up_locked(pod, NULL, ERRAND_CREATE_HOOKS);
	pthread_mutex_unlock(&pod->lock);
	undo_pod(pod);
	pthread_mutex_lock(&pod->lock);
	sandbox_note_end_locked(pod);
	pthread_mutex_unlock(&pod->lock);
	move_life(pod, POD_STOPPED);
}
