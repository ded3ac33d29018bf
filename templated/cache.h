/* SPDX-License-Identifier: Apache-2.0 */
/* The cache: VMs that are kept ready for the sandboxes to come. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "mm/manifest.h"
#include "templated/store.h"
#include "vm/handover.h"

struct daemon;
struct cache;
struct cached; /* one VM in it */

/* What a VM of the cache is called, by its number. */
#define CACHED_NAME "cache-%u"

/*
 * vm_cache_number VMs are made one after the other by one thread: clones of the current
 * generation, or booted where templates are switched off; each has answered, is stopped
 * and taken apart (vm/handover.h). A second thread hears of the end of each one's QEMU,
 * reaps it, in the cache or handed over, and has those that died replaced.
 *
 * A VM that can't be made is logged, counted, and not tried again before something has
 * happened: a request, a new generation, a drain, a death.
 *
 * Lifecycle of a VM: ready; offered by cache_take(); given or ended by cache_settle().
 * Thread-safe; one lock, which is taken before the store's.
 */
struct cache *cache_new(struct daemon *d);
/* Starts filling, and does again whenever something has happened. */
void cache_kick(struct cache *c);
/* Ends what is in it and fills it no more; what is offered can be settled still. */
void cache_close(struct cache *c);
/* After cache_close(), when nothing is offered any more. Given VMs run on. */
void cache_free(struct cache *c);

/* Ends all that are ready or being prepared, and returns when they have ended. `why` is
 * for the log. Then it is filled again. */
void cache_drain(struct cache *c, const char *why);
/* The same in two halves: none is prepared between them. They nest. */
void cache_hold(struct cache *c, const char *why);
void cache_release(struct cache *c);

/*
 * A VM for a sandbox that wants `want` and would otherwise get a template (or not, if
 * `template` is false), with its state below state_dir: it lives, must-equals `want`, and
 * a clone's generation is current and sound. NULL if there is none, with the reason, ""
 * if the cache is switched off; counted. cache_settle() must follow.
 */
struct cached *cache_take(struct cache *c, const struct manifest *want, bool template,
	const char *state_dir, struct err *why);

const struct vm_handover *cached_handover(const struct cached *vm); /* borrowed */
const char *cached_generation(const struct cached *vm); /* "" if it was booted */

/*
 * The end of an offer: the sandbox has said that it took the VM, or its connection has
 * ended. vm is not the caller's any more. The VM's record tells what happened: one that
 * was taken is the sandbox's, and *ret_lease, if the caller wants it, is the lease of its
 * generation under the sandbox's name, or NULL; one that was not taken is ended.
 */
void cache_settle(struct cache *c, struct cached *vm, const char *sandbox,
	struct store_lease **ret_lease);

/* {"wanted", "ready", "preparing", "hits", "misses": {<reason>: n…, "total"}, "died",
 * "failures", "vms": [{"id", "age_s", "pid"}]}; "error" if the last one failed. */
struct json_object *cache_status(struct cache *c);
