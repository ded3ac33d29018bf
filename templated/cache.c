/* SPDX-License-Identifier: Apache-2.0 */
/* The cache: see cache.h. Handing out, draining, status. */
#include "templated/cache.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/cache_internal.h"

/* How long killed QEMUs may take to be gone and undone. */
#define END_MS 20000

struct cache *cache_new(struct daemon *d)
{
	struct cache *c = xnew0(struct cache);

	c->daemon = d;
	c->epoll_fd = c->stop_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	cond_init(&c->changed);
	return c;
}

/* ---- starting and ending ---- */

static int cache_start_threads(struct cache *c)
{
	struct epoll_event stop = {.events = EPOLLIN};
	int r;

	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (c->epoll_fd < 0 || c->stop_fd < 0 ||
		epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->stop_fd, &stop) < 0)
		return -errno;
	r = thread_start(cache_keep_main, c, 256 << 10, false, &c->keeper);
	if (r < 0)
		return r;
	r = thread_start(cache_fill_main, c, 512 << 10, false, &c->filler);
	if (r < 0) {
		thread_wake(c->stop_fd);
		pthread_join(c->keeper, NULL);
	}
	return r;
}

static int start_or_nothing(struct cache *c)
{
	int r = cache_start_threads(c);

	if (r < 0) {
		close_fd(steal_fd(&c->epoll_fd));
		close_fd(steal_fd(&c->stop_fd));
	}
	return r;
}

uint64_t cache_wanted(struct cache *c)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);

	return s->config.vm_cache_number;
}

void cache_note_event(struct cache *c)
{
	int r;

	if (!c->started && !c->closed && cache_wanted(c) > 0) {
		r = start_or_nothing(c);
		c->started = r == 0;
		if (r < 0)
			log_error("there is no cache of VMs, its threads can't start: %s",
				strerror(-r));
	}
	c->events++;
	pthread_cond_broadcast(&c->changed);
}

void cache_kick(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	cache_note_event(c);
	pthread_mutex_unlock(&c->lock);
}

unsigned int cache_count(const struct cache *c, enum cached_state state)
{
	unsigned int n = 0;

	for (const struct cached *vm = c->all; vm; vm = vm->next)
		n += vm->state == state;
	return n;
}

void cached_end(struct cached *vm)
{
	vm->state = CACHED_ENDING;
	vm_kill(vm->vm);
}

/* The lock is held. The one that is being prepared stops at its next step. */
static void cancel_preparing(struct cache *c)
{
	if (!c->preparing)
		return;
	c->cancelled = true;
	if (c->making)
		vm_kill(c->making);
}

void cache_hold(struct cache *c, const char *why)
{
	int64_t deadline = deadline_after_ms(END_MS);
	unsigned int n = 0;

	pthread_mutex_lock(&c->lock);
	c->held++;
	cancel_preparing(c);
	for (struct cached *vm = c->all; vm; vm = vm->next) {
		if (vm->state != CACHED_READY)
			continue;
		cached_end(vm);
		n++;
	}
	if (n > 0)
		log_info("ending %u cached VMs: %s", n, why);
	while (c->preparing || cache_count(c, CACHED_ENDING) > 0) {
		if (cond_wait(&c->changed, &c->lock, deadline) == 0)
			continue;
		log_error("cached VMs have not ended in time: %s", why);
		break;
	}
	pthread_mutex_unlock(&c->lock);
}

void cache_release(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	c->held--;
	cache_note_event(c);
	pthread_mutex_unlock(&c->lock);
}

void cache_drain(struct cache *c, const char *why)
{
	cache_hold(c, why);
	cache_release(c);
}

void cache_close(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	c->closed = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cache_hold(c, "templated is ending");
	if (c->started)
		pthread_join(c->filler, NULL);
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	if (c->started) {
		cache_hold(c, "templated is ending"); /* offers that were withdrawn */
		thread_wake(c->stop_fd);
		pthread_join(c->keeper, NULL);
	}
	while (c->all) {
		struct cached *next = c->all->next;

		cached_free(c, c->all); /* given ones, which run on */
		c->all = next;
	}
	close_fd(c->epoll_fd);
	close_fd(c->stop_fd);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- handing out; the lock is held ---- */

static bool is_dead(const struct cached *vm)
{
	struct pollfd p = {.fd = vm_pidfd(vm->vm), .events = POLLIN};

	return vm->ended || poll(&p, 1, 0) != 0;
}

/* Whether a clone's generation is the one that a new clone would get. */
static bool is_current(
	struct cache *c, const struct cached *vm, const struct manifest *want)
{
	char id[GENERATION_ID_SIZE];

	return store_has(c->daemon->store, want, id) && strcmp(id, vm->generation) == 0;
}

/* Why a sandbox does not get it, or STATS_CACHE_MISSES: it does. */
static enum stats_cache cached_find_misfit(struct cache *c, const struct cached *vm,
	const struct manifest *want, bool template, struct err *why)
{
	enum manifest_field field;

	if (is_dead(vm)) {
		err_set(why, -ESRCH, "the cached VM %s has died", vm->id);
		return STATS_CACHE_DIED;
	}
	if (vm->lease && !template) {
		err_set(why, -ESTALE,
			"cached VMs are clones, and enable_template is off");
		return STATS_CACHE_DIFFERS;
	}
	if (manifest_match_all(&vm->want, want, &field, why) < 0) {
		err_wrap(why, "the cached VMs differ");
		return STATS_CACHE_DIFFERS;
	}
	if (vm->lease && !is_current(c, vm, want)) {
		err_set(why, -ESTALE, "the cached VM %s is stale", vm->id);
		return STATS_CACHE_STALE;
	}
	return STATS_CACHE_MISSES;
}

static struct cached *cache_find_vm(struct cache *c, const struct manifest *want,
	bool template, enum stats_cache *ret_miss, struct err *why)
{
	*ret_miss = c->preparing ? STATS_CACHE_PREPARING : STATS_CACHE_EMPTY;
	err_set(why, -ENOENT, "no cached VM is ready%s",
		c->preparing          ? ", one is being prepared"
		: c->failure.code < 0 ? ", the last one failed"
				      : "");
	for (struct cached *vm = c->all; vm; vm = vm->next) {
		enum stats_cache misfit;

		if (vm->state != CACHED_READY)
			continue;
		misfit = cached_find_misfit(c, vm, want, template, why);
		if (misfit == STATS_CACHE_MISSES)
			return vm;
		*ret_miss = misfit;
		if (misfit == STATS_CACHE_STALE)
			cached_end(vm);
	}
	return NULL;
}

struct cached *cache_take(struct cache *c, const struct manifest *want, bool template,
	const char *state_dir, struct err *why)
{
	_cleanup_settings_ struct settings *s = daemon_settings(c->daemon);
	enum stats_cache miss = STATS_CACHE_STATE_DIR;
	struct cached *vm = NULL;

	err_set(why, -ENOENT, "%s", "");
	if (s->config.vm_cache_number == 0)
		return NULL;
	pthread_mutex_lock(&c->lock);
	if (strcmp(state_dir, s->config.state_dir) != 0)
		err_set(why, -EXDEV, "the cached VMs have another state_dir: %s",
			s->config.state_dir);
	else
		vm = cache_find_vm(c, want, template, &miss, why);
	if (vm && vm_offer(vm->vm, why) < 0) {
		miss = STATS_CACHE_DIED;
		cached_end(steal_ptr(vm));
	}
	if (vm)
		vm->state = CACHED_OFFERED;
	cache_note_event(c);
	pthread_mutex_unlock(&c->lock);
	if (!vm)
		stats_cache_miss(&c->daemon->stats, miss);
	return vm;
}

const struct vm_handover *cached_handover(const struct cached *vm)
{
	return &vm->handover;
}

const char *cached_generation(const struct cached *vm)
{
	return vm->generation;
}

/* ---- the end of an offer ---- */

/* Whether the sandbox has it. */
static bool was_taken(struct cached *vm, const char *sandbox)
{
	struct err err = ERR_INIT;
	int r = vm_withdraw(vm->vm, &err);

	if (r == VM_TAKEN)
		log_info("the cached VM %s is the sandbox %s's", vm->id, sandbox);
	else if (r == VM_OURS)
		log_warn("the sandbox %s did not take the cached VM %s, which is ended",
			sandbox, vm->id);
	else
		/* It may run a pod: the next start sweeps it if nobody has it. */
		log_error("the cached VM %s is left alone: %s", vm->id, err.text);
	return r != VM_OURS;
}

void cache_settle(struct cache *c, struct cached *vm, const char *sandbox,
	struct store_lease **ret_lease)
{
	bool given = was_taken(vm, sandbox), gone;

	if (given && ret_lease) {
		stats_cache_hit(&c->daemon->stats);
		*ret_lease = steal_ptr(vm->lease);
		if (*ret_lease)
			store_lease_rename(c->daemon->store, *ret_lease, sandbox);
	}
	pthread_mutex_lock(&c->lock);
	vm_handover_done(&vm->handover); /* the sandbox has its own */
	if (given)
		vm->state = CACHED_GIVEN;
	else
		cached_end(vm);
	gone = vm->ended;
	cache_note_event(c);
	pthread_mutex_unlock(&c->lock);
	if (gone)
		cache_remove(c, vm);
}

/* ---- status ---- */

struct json_object *cache_status(struct cache *c)
{
	struct json_object *obj = json_object_new_object(),
			   *list = json_object_new_array();

	pthread_mutex_lock(&c->lock);
	json_set_u64(obj, "wanted", cache_wanted(c));
	json_set_u64(obj, "ready", cache_count(c, CACHED_READY));
	json_set_u64(obj, "preparing", c->preparing);
	stats_cache_to_json(&c->daemon->stats, obj);
	if (c->failure.code < 0)
		json_set_string(obj, "error", c->failure.text);
	for (const struct cached *vm = c->all; vm; vm = vm->next) {
		struct json_object *one;

		if (vm->state != CACHED_READY)
			continue;
		one = json_object_new_object();
		json_set_string(one, "id", vm->id);
		json_set_i64(one, "age_s", (now_ms() - vm->since_ms) / 1000);
		json_set_i64(one, "pid", vm_pid(vm->vm));
		json_object_array_add(list, one);
	}
	pthread_mutex_unlock(&c->lock);
	json_object_object_add(obj, "vms", list);
	return obj;
}
