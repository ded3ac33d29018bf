/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's VM: see sandbox.h. */
#include "shim/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/sandbox_net.h"

#define LEASE_TIMEOUT_MS 2000
/* More than a guest has reason to tell; each is an event that containerd has to take. */
#define OOM_PER_MINUTE 256

struct sandbox {
	const struct config *config;
	struct state *state;
	struct sandbox_events events;
	struct trace trace;
	struct lease lease;
	struct vm *vm;
	char *vm_dir;
	struct net *net;
	const char *factory;
	char reason[512]; /* why the factory is not the better one */
	atomic_bool reported, killed;
	int stop_fd; /* eventfd: the watch must end */
	pthread_t watch, oom;
	bool has_watch, has_oom;
};

struct vm *sandbox_vm(struct sandbox *s)
{
	return s->vm;
}

struct agent *sandbox_agent(struct sandbox *s)
{
	return vm_agent(s->vm);
}

struct trace *sandbox_trace(struct sandbox *s)
{
	return &s->trace;
}

int64_t sandbox_deadline(const struct sandbox *s)
{
	return deadline_after_ms((int64_t)s->config->call_timeout_ms);
}

void sandbox_report(struct sandbox *s)
{
	const char *file = getenv("STENCIL_TRACE");

	if (atomic_exchange(&s->reported, true))
		return;
	trace_report(&s->trace, s->state->id, s->factory, *s->reason ? s->reason : NULL,
		file && *file ? file : s->config->trace_file);
}

/* ---- the VM ---- */

/* Cold boots are slow: each says why it was one. */
static int boot(struct sandbox *s, const struct vm_options *options, const char *reason,
	struct err *err)
{
	s->factory = "direct";
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	if (s->config->enable_template)
		log_warn("booting cold: %s", reason);
	else
		log_info("booting cold: %s", reason);
	return vm_boot(options, -1, &s->vm, err);
}

/*
 * A VM that templated kept ready. It is ours as soon as it is adopted, whatever becomes
 * of the word that it was: templated would find that out by itself. The grant is over
 * when the VM is ours.
 */
static int take_cached(
	struct sandbox *s, const struct vm_options *options, struct err *err)
{
	struct err why = ERR_INIT;
	int r = vm_adopt(options, &s->lease.vm, s->lease.vm_dir, &s->vm, err);

	trace_end(&s->trace, TRACE_GRANT);
	if (r < 0)
		return r;
	if (lease_taken(&s->lease, deadline_after_ms(LEASE_TIMEOUT_MS), &why) < 0)
		log_warn("%s", why.text);
	r = vm_resume(s->vm, err);
	if (r < 0)
		vm_free(steal_ptr(s->vm));
	return r;
}

/* The next best after a cached VM that failed: a template, or none. */
static int get_template_instead(
	struct sandbox *s, const struct err *failure, struct err *err)
{
	int r = 0;

	lease_release(&s->lease);
	log_warn("a cached VM is not used: %s", failure->text);
	if (s->config->enable_template)
		r = lease_acquire_template(s->config, s->state->id,
			deadline_after_ms(LEASE_TIMEOUT_MS), &s->lease, err);
	if (r == 0 && !*s->lease.reason)
		snprintf(s->lease.reason, sizeof(s->lease.reason),
			"the cached VM failed: %.450s", failure->text);
	return r;
}

/* s->vm, a lease of a template, or none and its reason. A second wait as long as that for
 * a cached VM which is silent would outlast containerd's patience. */
static int get_lease(struct sandbox *s, const struct vm_options *options, struct err *err)
{
	struct err why = ERR_INIT;
	int r;

	trace_begin(&s->trace, TRACE_GRANT);
	r = lease_acquire(s->config, s->state->id, deadline_after_ms(LEASE_TIMEOUT_MS),
		&s->lease, err);
	if (r < 0 || s->lease.kind != LEASE_VM) {
		trace_end(&s->trace, TRACE_GRANT);
		return r;
	}
	s->factory = "cache";
	r = take_cached(s, options, &why);
	if (r == 0)
		return 0;
	return r == -ETIMEDOUT ? err_copy(err, &why) : get_template_instead(s, &why, err);
}

static int start_vm(struct sandbox *s, struct err *err)
{
	struct vm_options options = {.config = s->config,
		.id = s->state->id,
		.dir = s->vm_dir,
		.trace = &s->trace};
	struct err why = ERR_INIT;
	int r;

	if (!s->config->enable_template && s->config->vm_cache_number == 0)
		return boot(s, &options, "enable_template is off", err);
	r = get_lease(s, &options, err);
	if (r < 0 || s->vm)
		return r;
	if (!s->config->enable_template) {
		err_set(&why, -ENOENT, "enable_template is off, and %s", s->lease.reason);
		lease_release(&s->lease);
		return boot(s, &options, why.text, err);
	}
	if (s->lease.kind == LEASE_NONE) {
		err_set(&why, -ENOENT, "no template: %s", s->lease.reason);
	} else {
		s->factory = "template";
		if (*s->lease.reason)
			str_copy(s->reason, s->lease.reason);
		r = vm_clone(&options, s->lease.memory_fd, s->lease.state_fd,
			&s->lease.manifest, &s->vm, &why);
		if (r == 0)
			return 0;
		lease_release(&s->lease);
		err_wrap(&why, "the clone failed");
	}
	/* A second wait as long as the first would outlast containerd's patience. */
	if (s->config->strict || why.code == -ETIMEDOUT) {
		err_copy(err, &why);
		return s->config->strict ? err_wrap(err, "strict is set") : why.code;
	}
	return boot(s, &options, why.text, err);
}

static int make_unique(struct sandbox *s, const char *hostname, struct err *err)
{
	struct vm_identity identity = {.hostname = hostname};
	int r = vm_make_unique(s->vm, &identity, err);

	return r < 0 ? err_wrap(err, "identity gate") : 0;
}

int sandbox_resize(
	struct sandbox *s, uint64_t cpu_millis, uint64_t memory_bytes, struct err *err)
{
	uint64_t vcpus = MAX(s->config->default_vcpus, (cpu_millis + 999) / 1000);

	if (vcpus == s->config->default_vcpus && memory_bytes == 0)
		return 0;
	if (vcpus > UINT32_MAX)
		return err_set(err, -ERANGE, "the CPU limit is out of range");
	return vm_resize(s->vm, (unsigned int)vcpus, memory_bytes, err);
}

/* ---- its end, and what it tells ---- */

static void *run_watch(void *arg)
{
	struct sandbox *s = arg;
	struct pollfd fds[] = {{.fd = vm_pidfd(s->vm), .events = POLLIN},
		{.fd = s->stop_fd, .events = POLLIN}};
	char why[2048];

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		if (errno != EINTR)
			return NULL;
	if (fds[1].revents || atomic_load(&s->killed))
		return NULL;
	vm_post_mortem(s->vm, why, sizeof(why));
	log_error("the VM has ended, and all processes in it: %s", why);
	s->events.died(s->events.user);
	return NULL;
}

static void *run_oom(void *arg)
{
	Grpc__GetOOMEventRequest request = GRPC__GET_OOMEVENT_REQUEST__INIT;
	struct sandbox *s = arg;
	int64_t since = now_ms();
	unsigned int told = 0;
	Grpc__OOMEvent *event;
	struct err err;
	int r;

	for (;;) {
		if (now_ms() > since + 60000) {
			since = now_ms();
			told = 0;
		}
		if (++told > OOM_PER_MINUTE) {
			log_warn("the guest tells of more than %d processes a minute "
				 "that ran out of memory: it is not listened to any more",
				OOM_PER_MINUTE);
			return NULL;
		}
		err = ERR_INIT;
		event = NULL;
		r = agent_get_oom_event(
			sandbox_agent(s), &request, &event, DEADLINE_NONE, &err);
		if (r < 0)
			break;
		s->events.oom(s->events.user, event->container_id);
		grpc__oomevent__free_unpacked(event, NULL);
	}
	if (!atomic_load(&s->killed) && r != -ECONNRESET)
		log_info(
			"the agent tells no more of processes that ran out of memory: %s",
			err.text);
	return NULL;
}

static int start_threads(struct sandbox *s, struct err *err)
{
	int r = thread_start(run_watch, s, 0, false, &s->watch);

	s->has_watch = r == 0;
	if (r == 0)
		r = thread_start(run_oom, s, 0, false, &s->oom);
	s->has_oom = r == 0;
	return r < 0 ? err_sys(err, r, "cannot start a thread") : 0;
}

void sandbox_kill(struct sandbox *s)
{
	atomic_store(&s->killed, true);
	if (!s->vm)
		return;
	if (eventfd_write(s->stop_fd, 1) < 0)
		log_warn("cannot end the watch of the VM: %s", strerror(errno));
	pidfd_kill(vm_pidfd(s->vm), SIGKILL); /* fails if it has ended: as well */
}

void sandbox_give_up(struct sandbox *s, const char *what)
{
	log_error("%s: its VM is killed, and all containers of the pod with it", what);
	pidfd_kill(vm_pidfd(s->vm), SIGKILL); /* fails if it has ended: as well */
}

static void leave_net(struct sandbox *s)
{
	struct err err = ERR_INIT;

	if (!s->net)
		return;
	if (net_leave(s->net, &err) < 0)
		log_error("the pod's network namespace is not as it was: %s", err.text);
	net_free(s->net);
	s->net = NULL;
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	sandbox_kill(s);
	if (s->has_watch)
		pthread_join(s->watch, NULL);
	if (s->has_oom)
		pthread_join(s->oom, NULL);
	vm_free(s->vm);
	leave_net(s);
	lease_release(&s->lease);
	trace_done(&s->trace);
	close_fd(s->stop_fd);
	free(s->vm_dir);
	free(s);
}

/* ---- making it ---- */

struct net_job {
	struct sandbox *s;
	const char *netns;
	int r;
	struct err err;
};

/* The namespace's side of the network: nothing of it needs the VM. */
static void *run_net_job(void *arg)
{
	struct net_job *job = arg;
	struct state *state = job->s->state;

	free(state->netns);
	state->netns = xstrdup(job->netns);
	job->r = net_scan(job->netns, &job->s->net, &job->err);
	if (job->r == 0)
		job->r = state_save(
			state, &job->err); /* before there is something to undo */
	if (job->r == 0)
		job->r = net_join(job->s->net, &job->err);
	return NULL;
}

struct resize_job {
	struct sandbox *s;
	const struct sandbox_config *config;
	int r;
	struct err err;
};

static void *run_resize_job(void *arg)
{
	struct resize_job *job = arg;

	job->r = sandbox_resize(
		job->s, job->config->cpu_millis, job->config->memory_bytes, &job->err);
	return NULL;
}

static int start_and_join_net(
	struct sandbox *s, const struct sandbox_config *config, struct err *err)
{
	struct net_job job = {.s = s, .netns = config->netns};
	pthread_t thread;
	int r;

	trace_begin(&s->trace, TRACE_NETWORK);
	r = *config->netns ? thread_start(run_net_job, &job, 256 * 1024, false, &thread)
			   : 0;
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	r = start_vm(s, err);
	if (r == 0)
		r = make_unique(s, config->hostname, err);
	if (!*config->netns)
		return r;
	pthread_join(thread, NULL);
	if (r == 0 && job.r < 0) {
		err_copy(err, &job.err);
		r = err_wrap(err, "network");
	}
	return r;
}

static int plug_all(
	struct sandbox *s, const struct sandbox_config *config, struct err *err)
{
	struct resize_job job = {.s = s, .config = config};
	pthread_t thread;
	int r;

	r = thread_start(run_resize_job, &job, 256 * 1024, false, &thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	if (s->net) {
		r = sandbox_net_plug(s->vm, s->net, sandbox_deadline(s), err);
		if (r < 0)
			err_wrap(err, "network");
		trace_end(&s->trace, TRACE_NETWORK);
	}
	pthread_join(thread, NULL);
	return r == 0 && job.r < 0 ? err_copy(err, &job.err) : r;
}

int sandbox_new(
	const struct sandbox_config *config, struct sandbox **ret, struct err *err)
{
	struct sandbox *s = xnew0(struct sandbox);
	int r;

	s->config = config->config;
	s->state = config->state;
	s->events = config->events;
	s->lease = LEASE_INIT;
	s->factory = "direct";
	s->vm_dir = state_path(s->state, "vm");
	trace_init(&s->trace);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = s->stop_fd < 0 ? err_sys(err, errno, "cannot make an eventfd") : 0;
	if (r == 0)
		r = start_and_join_net(s, config, err);
	if (r == 0)
		r = plug_all(s, config, err);
	if (r == 0)
		r = start_threads(s, err);
	if (r < 0) {
		sandbox_free(s);
		return r;
	}
	*ret = s;
	return 0;
}
