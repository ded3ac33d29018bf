/* SPDX-License-Identifier: Apache-2.0 */
/* Where a pod's VM comes from: see factory.h. */
#include "shim/factory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/* templated answers in milliseconds; on a machine that stands still it may take long, and
 * a cold boot there longer. */
#define LEASE_TIMEOUT_MS 10000

/* What came of asking a factory. */
enum answer {
	GAVE,    /* the VM is ready */
	NOTHING, /* there is none to be had: `why` is the reason */
	FAILED,  /* there was one, and it did not work: `why` */
	STOP,    /* `why` is the end of the search */
};

struct search {
	const struct factory_order *order;
	struct factory_result *result;
	bool asked; /* templated, for whatever it has: result->lease is its answer */
};

static enum answer note_failure(int r)
{
	return r == -ETIMEDOUT ? STOP : FAILED;
}

/* ---- cache ---- */

static const char *cache_off(const struct config *c)
{
	return c->vm_cache_number == 0 ? "" : NULL;
}

/*
 * The VM is ours as soon as it is adopted, whatever becomes of the word that it was:
 * templated would find that out by itself. The grant is over when the VM is ours.
 */
static int adopt_cached(struct search *s, struct err *err)
{
	struct lease *lease = &s->result->lease;
	struct err why = ERR_INIT;
	int r = vm_adopt(s->order->vm, &lease->vm, err);

	trace_end(s->order->trace, TRACE_GRANT);
	if (r != 0)
		return r;
	if (lease_taken(lease, deadline_after_ms(LEASE_TIMEOUT_MS), &why) < 0)
		log_warn("%s", why.text);
	return vm_resume(s->order->vm, err);
}

/* Asks for a VM and, in the same breath, for a template in its stead. */
static enum answer cache_give(struct search *s, struct err *why)
{
	struct lease *lease = &s->result->lease;
	int r;

	trace_begin(s->order->trace, TRACE_GRANT);
	if (lease_acquire(s->order->config, s->order->sandbox,
		    deadline_after_ms(LEASE_TIMEOUT_MS), lease, why) < 0)
		return STOP;
	s->asked = true;
	if (lease->kind != LEASE_VM) {
		trace_end(s->order->trace, TRACE_GRANT);
		err_set(why, -ENOENT, "%s", lease->reason);
		return NOTHING;
	}
	r = adopt_cached(s, why);
	if (r == 0)
		return GAVE;
	s->asked = false;
	log_warn("a cached VM is not used: %s", why->text);
	err_wrap(why, "the cached VM failed");
	return note_failure(r);
}

/* ---- template ---- */

static const char *template_off(const struct config *c)
{
	return c->enable_template ? NULL : "enable_template is off";
}

static int ask_for_template(struct search *s, struct err *err)
{
	int r;

	if (s->asked)
		return 0;
	trace_begin(s->order->trace, TRACE_GRANT);
	r = lease_acquire_template(s->order->config, s->order->sandbox,
		deadline_after_ms(LEASE_TIMEOUT_MS), &s->result->lease, err);
	trace_end(s->order->trace, TRACE_GRANT);
	return r;
}

static enum answer template_give(struct search *s, struct err *why)
{
	struct lease *lease = &s->result->lease;
	struct vm_template template;
	int r;

	if (ask_for_template(s, why) < 0)
		return STOP;
	if (lease->kind != LEASE_TEMPLATE) {
		err_set(why, -ENOENT, "no template: %s", lease->reason);
		return NOTHING;
	}
	template = (struct vm_template){.memory_fd = lease->memory_fd,
		.state_fd = lease->state_fd,
		.manifest = &lease->manifest,
		.generation = lease->generation};
	r = vm_clone(s->order->vm, &template, why);
	if (r == 0)
		return GAVE;
	err_wrap(why, "the clone failed");
	return note_failure(r);
}

/* ---- direct ---- */

static const char *direct_off(const struct config *c)
{
	(void)c;
	return NULL;
}

/* Cold boots are slow: each says why it was one. */
static enum answer direct_give(struct search *s, struct err *why)
{
	log_line(s->order->config->enable_template ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "",
		"booting cold: %s", s->result->reason);
	return vm_boot(s->order->vm, -1, why) == 0 ? GAVE : STOP;
}

/* ---- the search ---- */

static const struct factory {
	const char *name;
	/* Why it is not to be asked ("": nobody wants to know), or NULL. */
	const char *(*off)(const struct config *c);
	enum answer (*give)(struct search *s, struct err *why);
	bool clones; /* if not, `strict` may be against it */
} factories[] = {
	{"cache", cache_off, cache_give, true},
	{"template", template_off, template_give, true},
	{"direct", direct_off, direct_give, false},
};

/* The better one's reason comes behind, where both have one to tell. */
static void add_reason(struct factory_result *result, const char *reason, bool is_off)
{
	_cleanup_free_ char *both = NULL;

	if (!*reason)
		return;
	if (is_off && *result->reason)
		both = xasprintf("%s, and %s", reason, result->reason);
	str_copy(result->reason, both ? both : reason);
}

/* Whether that factory must not be asked any more; err says why. */
static bool is_too_strict(const struct search *s, const struct factory *f,
	const struct err *why, struct err *err)
{
	const struct config *c = s->order->config;

	if (f->clones || !c->strict || !c->enable_template)
		return false;
	err_copy(err, why);
	err_wrap(err, "strict is set");
	return true;
}

static int try_factories(struct search *s, struct err *err)
{
	struct err why = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(factories); i++) {
		const struct factory *f = &factories[i];
		const char *off = f->off(s->order->config);

		if (off) {
			add_reason(s->result, off, true);
			continue;
		}
		if (vm_is_killed(s->order->vm))
			return err_set(err, -ECANCELED, "the VM was killed");
		if (is_too_strict(s, f, &why, err))
			return err->code;
		if (!f->clones)
			lease_release(&s->result->lease);
		why = ERR_INIT;
		s->result->factory = f->name;
		switch (f->give(s, &why)) {
		case GAVE:
			return 0;
		case STOP:
			return err_copy(err, &why);
		case FAILED:
			lease_release(&s->result->lease);
			break;
		case NOTHING:
			break;
		}
		add_reason(s->result, why.text, false);
	}
	return err_copy(err, &why);
}

int factory_start(
	const struct factory_order *order, struct factory_result *ret, struct err *err)
{
	struct search s = {.order = order, .result = ret};
	int r;

	*ret = (struct factory_result){.factory = "", .lease = LEASE_INIT};
	r = try_factories(&s, err);
	if (r < 0)
		lease_release(&ret->lease);
	return r;
}
