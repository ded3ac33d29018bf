/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's filler: makes VMs, one after the other.
 *
 * It wakes for events alone. For each it ends what has become stale, then makes VMs until
 * there are enough or one can't be made; that is logged once for each reason, since it is
 * tried again at each event. After an event it begins anew: the configuration and the
 * inputs may be others, and a VM of the former ones would be stale from its birth.
 *
 * Cancelling: a VM that is being made is known here from before it starts, and whoever
 * cancels kills it: clone or boot then fail.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/cache_internal.h"

/* Whoever cancels finds it from here on. */
static void cache_hold_vm(struct cache *c, struct vm *vm)
{
	pthread_mutex_lock(&c->lock);
	c->making = vm;
	if (vm && c->cancelled)
		vm_kill(vm);
	pthread_mutex_unlock(&c->lock);
}

/* 0, CACHE_NO_TEMPLATE or a negative errno. */
static int clone_current(struct cache *c, struct cached *vm, struct err *err)
{
	struct grant grant = GRANT_INIT;
	struct vm_template template;
	int r;

	switch (store_grant(c->daemon->store, &vm->want, vm->id, &grant, err)) {
	case STORE_GRANTED:
		break;
	case STORE_NONE:
		return CACHE_NO_TEMPLATE;
	case STORE_UNSOUND:
	case STORE_DIFFERS:
		return err->code;
	}
	vm->lease = grant.lease;
	str_copy(vm->generation, store_lease_generation(vm->lease));
	template = (struct vm_template){.memory_fd = grant.memory_fd,
		.state_fd = grant.state_fd,
		.manifest = &grant.manifest,
		.generation = vm->generation};
	/* A newer one is on its way. */
	r = store_lease_stale(vm->lease) ? CACHE_NO_TEMPLATE
					 : vm_clone(vm->vm, &template, err);
	grant_done(&grant);
	return r;
}

/* 0, CACHE_NO_TEMPLATE or a negative errno. */
static int cached_make(struct cache *c, struct cached *vm, struct err *err)
{
	const struct config *config = &vm->settings->config;
	struct vm_options options = {.config = config,
		.namespace = "",
		.sandbox = "cache",
		.cpu_percent = (unsigned int)config->vm_cache_cpu_percent};
	int r = vm_new(&options, &vm->vm, err);

	if (r < 0)
		return r;
	snprintf(vm->id, sizeof(vm->id), CACHED_NAME, vm_number(vm->vm));
	cache_hold_vm(c, vm->vm);
	r = config->enable_template ? clone_current(c, vm, err)
				    : vm_boot(vm->vm, -1, err);
	if (r == 0)
		r = vm_set_aside(vm->vm, &vm->handover, err);
	cache_hold_vm(c, NULL);
	return r == 0 ? daemon_check_inputs(c->daemon, config, &vm->want, err) : r;
}

/* ---- the loop ---- */

/* The lock is held for these. */

static bool wants_more(struct cache *c)
{
	return !c->closed && c->held == 0 &&
	       cache_count(c, CACHED_READY) < cache_wanted(c);
}

static void end_preparing(struct cache *c)
{
	c->preparing = c->cancelled = false;
	pthread_cond_broadcast(&c->changed);
}

/* Told once for each reason; the lock is not held. */
static void note_failure(struct cache *c, const struct err *err)
{
	bool known;

	stats_cache_failure(&c->daemon->stats);
	pthread_mutex_lock(&c->lock);
	known = strcmp(c->failure.text, err->text) == 0;
	c->failure = *err;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	log_line(known ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "",
		"no VM could be made for the cache, which is tried again at the next "
		"request or refresh: %s",
		err->text);
}

static void note_success(struct cache *c, const char *id, int64_t began_ms)
{
	unsigned int ready;

	pthread_mutex_lock(&c->lock);
	c->failure = ERR_INIT;
	pthread_cond_broadcast(&c->changed);
	ready = cache_count(c, CACHED_READY);
	pthread_mutex_unlock(&c->lock);
	log_info("the cached VM %s is ready after %lld ms, %u of %llu are", id,
		(long long)(now_ms() - began_ms), ready,
		(unsigned long long)cache_wanted(c));
}

/* One VM: whether there may be a next one before something happens. */
static bool fill_one(
	struct cache *c, struct settings *settings, const struct manifest *want)
{
	struct cached *vm = xnew0(struct cached);
	struct err err = ERR_INIT;
	int64_t began_ms = now_ms();
	char id[CACHED_ID_SIZE];
	bool cancelled;
	int r;

	vm->handover = VM_HANDOVER_INIT;
	vm->state = CACHED_ENDING;
	vm->settings = settings_ref(settings);
	manifest_copy(&vm->want, want);
	r = cached_make(c, vm, &err);
	str_copy(id, vm->id);
	if (r == 0)
		r = cache_add(c, vm, &err);
	if (r != 0)
		cached_free(c, vm);
	pthread_mutex_lock(&c->lock);
	cancelled = c->cancelled;
	end_preparing(c);
	pthread_mutex_unlock(&c->lock);
	if (r == 0)
		note_success(c, id, began_ms);
	else if (r < 0 && !cancelled)
		note_failure(c, &err);
	return r == 0 || cancelled;
}

/* Those that a request of our own configuration would not get any more. */
static void end_stale(
	struct cache *c, const struct config *config, const struct manifest *want)
{
	char current[GENERATION_ID_SIZE] = "";

	if (config->enable_template)
		store_has(c->daemon->store, want, current);
	pthread_mutex_lock(&c->lock);
	for (struct cached *vm = c->all; vm; vm = vm->next) {
		enum manifest_field field;

		if (vm->state != CACHED_READY ||
			(manifest_match_all(&vm->want, want, &field, NULL) == 0 &&
				strcmp(vm->generation, current) == 0))
			continue;
		log_info("the cached VM %s is stale and ended", vm->id);
		cached_end(vm);
	}
	pthread_mutex_unlock(&c->lock);
}

/* Not after an event that is newer than those seen. */
static bool begin_preparing(struct cache *c, uint64_t seen)
{
	bool begins;

	pthread_mutex_lock(&c->lock);
	begins = c->events == seen && wants_more(c);
	c->preparing = begins;
	pthread_mutex_unlock(&c->lock);
	return begins;
}

static void cache_fill_up(struct cache *c, uint64_t seen)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	struct err err = ERR_INIT;
	struct manifest want;

	if (vm_inputs_collect(c->daemon->inputs, &s->config, &want, &err) < 0) {
		note_failure(c, &err);
		return;
	}
	end_stale(c, &s->config, &want);
	while (begin_preparing(c, seen) && fill_one(c, s, &want))
		;
	manifest_done(&want);
}

void *cache_fill_main(void *arg)
{
	struct cache *c = arg;
	uint64_t seen = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->closed) {
		if (c->events == seen || c->held > 0) {
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		seen = c->events;
		pthread_mutex_unlock(&c->lock);
		cache_fill_up(c, seen);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
