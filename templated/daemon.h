/* SPDX-License-Identifier: Apache-2.0 */
/* What all of templated's parts share. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/config.h"
#include "templated/settings.h"
#include "templated/stats.h"
#include "templated/store.h"
#include "templated/usage.h"
#include "vm/inputs.h"
#include "vm/vm.h"

struct builder;
struct cache;
struct images;

/* Filled by daemon_init() before there are threads; nothing in it changes afterwards but
 * by the objects' own locks. */
struct daemon {
	const char *config_path;          /* of the --config option, or NULL */
	pthread_mutex_t settings_lock;    /* of the next two */
	struct settings *settings;        /* see daemon_settings() */
	char config_error[512];           /* why the file was refused at the last look */
	struct vm_inputs *inputs;         /* of the own configuration */
	struct vm_inputs *foreign_inputs; /* of sandboxes configured otherwise */
	struct store *store;
	struct builder *builder;
	struct cache *cache;
	struct images *images;
	struct stats stats;
	struct usage *usage;
	int64_t started_ms;
};

/* c was read from config_path (the caller's, may be NULL), and is emptied. */
void daemon_init(struct daemon *d, struct config *c, const char *config_path);
void daemon_done(struct daemon *d);

/* The configuration in force, for settings_put().
 * A request or build takes it once and works with that. */
struct settings *daemon_settings(struct daemon *d);
void daemon_change_settings(struct daemon *d, struct settings *next); /* takes next */
/* For the status: why a configuration was refused, or "". */
void daemon_note_config(struct daemon *d, const char *error);

/*
 * Mounts or grows the tmpfs as calculated and recovers what is in it. Fails if tmpfs_size
 * does not leave room for one generation more; a tmpfs that the administrator mounted
 * larger than that is taken as it is.
 */
int daemon_open_store(struct daemon *d, const struct config *c, struct err *err);

/* Fails if the inputs are not those any more that something was made of, since nobody
 * knows then which one the guest has; err names the field. */
int daemon_check_inputs(struct daemon *d, const struct config *c,
	const struct manifest *before, struct err *err);

/* Whether a sandbox with this request is granted a template: *ret as store_grant() fills
 * it. On a miss err has the reason, and `differs` the field, if it is one. Counted. */
bool daemon_acquire(struct daemon *d, const struct lease_request *request,
	struct grant *ret, struct err *err);

/*
 * A VM of the cache for a sandbox with this request, for cache_settle(); or NULL, counted
 * if there is a cache, and the reason ("" if there is none).
 */
struct cached *daemon_take_cached(
	struct daemon *d, const struct lease_request *request, struct err *why);

/*
 * {"version", "pid", "uptime_s", "config", "config_error", "template": {…}, "build": {…},
 * "counters": {…}, "cache": {…}, "images": {…}}; templatectl(8) lists all keys. Waits for
 * nobody, and changes nothing, but a generation that has grown is compacted behind it. A
 * status that is too long for a message of the lease protocol has "truncated": true
 * instead of the clones of each generation and the manifests of those that are retired.
 */
struct json_object *daemon_status(struct daemon *d);
/* {"plan": {…}, "tmpfs": {…}, "missing_bytes", "measured": {…}}: needs no daemon that
 * runs. "measured" is measured_newest()'s, and left out where that has nothing. */
int daemon_size(const struct config *c, struct json_object **ret, struct err *err);
