/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's filler: makes VMs, one after the other.
 *
 * It wakes for events alone. For each it ends what has become stale, then makes VMs until
 * there are enough or one can't be made; that is logged once for each reason, since it is
 * tried again at each event. After an event it begins anew: the configuration and the
 * inputs may be others, and a VM of the former ones would be stale from its birth.
 *
 * Cancelling: while a VM is being made its QEMU is known here from before it is executed
 * (vm_options.spawned), and whoever cancels kills it: clone or boot then fail as for any
 * QEMU that dies.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/cache_internal.h"

/* Ids are drawn: a VM that was handed over keeps its cgroup's name, which is made of it,
 * for longer than templated may live. */
static int make_folder(const struct config *config, struct cached *vm, struct err *err)
{
	_cleanup_free_ char *folder = xasprintf("%s/.templated", config->state_dir);
	uint64_t id;
	int r;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return err_sys(err, errno, "getrandom");
	snprintf(vm->id, sizeof(vm->id), "cache-%016llx", (unsigned long long)id);
	vm->dir = xasprintf("%s/%s", folder, vm->id);
	/* A build removes the folder when it leaves it empty: once more then. */
	for (int attempt = 0; attempt < 16; attempt++) {
		r = mkdir_parents(folder, 0700, err);
		if (r < 0)
			return r;
		if (mkdir(vm->dir, 0700) == 0)
			return 0;
		if (errno != ENOENT)
			break;
	}
	return err_sys(err, errno, "cannot create the folder %s", vm->dir);
}

static int note_qemu(void *user, const struct proc_id *qemu, struct err *err)
{
	struct cache *c = user;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	c->qemu = *qemu;
	if (c->cancelled)
		r = err_set(err, -ECANCELED, "it is not wanted any more");
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* -EAGAIN: there is no template that one could be cloned of, and that is no failure. */
static int clone_current(struct cache *c, struct cached *vm,
	const struct vm_options *options, struct vm **ret, struct err *err)
{
	struct manifest manifest;
	enum manifest_field field;
	int fds[2], r;

	switch (store_grant(c->daemon->store, &vm->want, vm->id, &vm->lease, fds,
		&manifest, &field, err)) {
	case STORE_GRANTED:
		break;
	case STORE_NONE:
		return -EAGAIN;
	case STORE_UNSOUND:
	case STORE_DIFFERS:
		return err->code;
	}
	/* A newer one is on its way. */
	r = store_lease_stale(vm->lease) ? err_set(err, -EAGAIN, "the template is old")
					 : 0;
	snprintf(vm->generation, sizeof(vm->generation), "%s",
		store_lease_generation(vm->lease));
	if (r == 0)
		r = vm_clone(options, fds[0], fds[1], &manifest, ret, err);
	close(fds[0]);
	close(fds[1]);
	manifest_done(&manifest);
	return r;
}

/* An input that was replaced meanwhile: nobody knows which one the VM has. */
static int check_inputs(struct cache *c, const struct config *config,
	const struct cached *vm, struct err *err)
{
	enum manifest_field field;
	struct manifest now;
	int r = vm_inputs_collect(c->daemon->inputs, config, &now, err);

	if (r < 0)
		return r;
	r = manifest_match_all(&vm->want, &now, &field, NULL);
	manifest_done(&now);
	return r < 0 ? err_set(err, -ESTALE, "%s changed while the VM was made",
			       manifest_field_name(field))
		     : 0;
}

static int make(
	struct cache *c, const struct config *config, struct cached *vm, struct err *err)
{
	struct vm_options options = {.config = config,
		.id = vm->id,
		.cpu_percent = (unsigned int)config->vm_cache_cpu_percent,
		.spawned = note_qemu,
		.user = c};
	struct vm *made;
	int r = make_folder(config, vm, err);

	options.dir = vm->dir;
	if (r == 0)
		r = config->enable_template ? clone_current(c, vm, &options, &made, err)
					    : vm_boot(&options, -1, &made, err);
	if (r == 0)
		r = vm_detach(made, &vm->vm, err);
	return r == 0 ? check_inputs(c, config, vm, err) : r;
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
	c->qemu = (struct proc_id){0};
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
	struct cache *c, const struct config *config, const struct manifest *want)
{
	struct cached *vm = xnew0(struct cached);
	struct err err = ERR_INIT;
	int64_t began_ms = now_ms();
	char id[CACHED_ID_SIZE];
	bool cancelled;
	int r;

	vm->vm = VM_HANDOVER_INIT;
	vm->state = CACHED_ENDING;
	manifest_copy(&vm->want, want);
	r = make(c, config, vm, &err);
	str_copy(id, vm->id);
	if (r == 0)
		r = cache_add(c, vm, &err);
	if (r < 0)
		cached_abandon(c, vm);
	pthread_mutex_lock(&c->lock);
	cancelled = c->cancelled;
	end_preparing(c);
	pthread_mutex_unlock(&c->lock);
	if (r == 0)
		note_success(c, id, began_ms);
	else if (!cancelled && r != -EAGAIN && r != -ECANCELED)
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

static void fill(struct cache *c, uint64_t seen)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	struct err err = ERR_INIT;
	struct manifest want;

	if (vm_inputs_collect(c->daemon->inputs, &s->config, &want, &err) < 0) {
		note_failure(c, &err);
		return;
	}
	end_stale(c, &s->config, &want);
	while (begin_preparing(c, seen) && fill_one(c, &s->config, &want))
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
		fill(c, seen);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
