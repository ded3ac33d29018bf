/* SPDX-License-Identifier: Apache-2.0 */
/* When a container's hooks run: see container_hooks.h. */
#include "shim/container_hooks.h"

#include "base/log.h"
#include "shim/container.h"
#include "shim/hooks.h"
#include "shim/pod_errands.h"

bool container_has_create_hooks(const struct container *c)
{
	return hooks_has(c->hooks, HOOK_PRESTART) ||
	       hooks_has(c->hooks, HOOK_CREATE_RUNTIME);
}

static struct hook_call call_of(const struct container *c, const struct errand *errand)
{
	return (struct hook_call){.container_id = c->id,
		.bundle = c->bundle,
		.pid = (pid_t)c->init->pid,
		.void_fd = errand->void_fd};
}

int container_run_create_hooks(
	const struct container *c, struct errand *errand, struct err *err)
{
	struct hook_call call = call_of(c, errand);
	int r;

	errand_become(errand, c->pod, ERRAND_CREATE_HOOKS);
	r = hooks_run(c->hooks, HOOK_PRESTART, &call, err);
	if (r == 0)
		r = hooks_run(c->hooks, HOOK_CREATE_RUNTIME, &call, err);
	errand_become(errand, c->pod, ERRAND_CREATE);
	return r;
}

/* Nobody hears of a failure but who reads the log. */
static void run_late(
	const struct container *c, enum hook_point point, enum errand_kind kind)
{
	struct err err = ERR_INIT;
	struct hook_call call;
	struct errand errand;
	int r;

	if (!hooks_has(c->hooks, point))
		return;
	r = errand_begin(&errand, c->pod, kind, c->id, &err);
	if (r == 0) {
		call = call_of(c, &errand);
		if (point == HOOK_POSTSTOP)
			call.pid = 0;
		r = hooks_run(c->hooks, point, &call, &err);
		errand_end(&errand, c->pod);
	}
	if (r < 0)
		log_warn("container %s: %s", c->id, err.text);
}

void container_run_poststart(const struct container *c)
{
	run_late(c, HOOK_POSTSTART, ERRAND_POSTSTART);
}

void container_end_poststart(const struct container *c)
{
	pthread_mutex_lock(&c->pod->lock);
	errands_give_up_locked(c->pod, c->id, ERRAND_POSTSTART);
	pthread_mutex_unlock(&c->pod->lock);
}

void container_run_poststop(const struct container *c)
{
	run_late(c, HOOK_POSTSTOP, ERRAND_POSTSTOP);
}
