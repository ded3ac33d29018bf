/* SPDX-License-Identifier: Apache-2.0 */
/* What all of templated's parts share: see daemon.h. */
#include "templated/daemon.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "templated/builder.h"
#include "templated/cache.h"
#include "templated/images.h"
#include "templated/measured.h"
#include "templated/status.h"

void daemon_init(struct daemon *d, struct config *c, const char *config_path)
{
	*d = (struct daemon){.config_path = config_path};
	d->settings = settings_new(c);
	pthread_mutex_init(&d->settings_lock, NULL);
	d->inputs = vm_inputs_new();
	d->foreign_inputs = vm_inputs_new();
	d->store = store_new(d->settings->config.template_path);
	stats_init(&d->stats);
	d->builder = builder_new(d);
	d->cache = cache_new(d);
	d->images = images_new(d->settings->config.images_path);
	d->usage = usage_new();
	d->started_ms = now_ms();
}

void daemon_done(struct daemon *d)
{
	builder_free(d->builder);
	cache_free(d->cache);
	images_free(d->images);
	store_free(d->store);
	vm_inputs_free(d->inputs);
	vm_inputs_free(d->foreign_inputs);
	usage_free(d->usage);
	stats_done(&d->stats);
	settings_put(steal_ptr(d->settings));
	pthread_mutex_destroy(&d->settings_lock);
}

/* ---- the configuration ---- */

struct settings *daemon_settings(struct daemon *d)
{
	struct settings *s;

	pthread_mutex_lock(&d->settings_lock);
	s = settings_ref(d->settings);
	pthread_mutex_unlock(&d->settings_lock);
	return s;
}

void daemon_change_settings(struct daemon *d, struct settings *next)
{
	struct settings *former;

	pthread_mutex_lock(&d->settings_lock);
	former = d->settings;
	d->settings = next;
	pthread_mutex_unlock(&d->settings_lock);
	settings_put(former);
	images_trim(d->images, &next->config);
	/* What was made under the former one is stale, or nobody knows. */
	cache_drain(d->cache, "the configuration has changed");
}

void daemon_note_config(struct daemon *d, const char *error)
{
	pthread_mutex_lock(&d->settings_lock);
	snprintf(d->config_error, sizeof(d->config_error), "%.500s", error);
	pthread_mutex_unlock(&d->settings_lock);
}

/* ---- the tmpfs ---- */

/* The plan with what is mounted now. retained: whether what is used there counts. */
static int plan_size(const struct config *c, bool retained, struct size_plan *ret,
	struct tmpfs_usage *ret_usage, struct err *err)
{
	struct tmpfs_usage usage;
	int r = tmpfs_look(c->template_path, &usage, err);

	if (r < 0)
		return r;
	size_plan(c, retained && usage.used_bytes ? usage.used_bytes : SIZE_UNKNOWN, ret);
	ret->tmpfs_bytes = MAX(ret->tmpfs_bytes, usage.size_bytes);
	*ret_usage = usage;
	return 0;
}

static int open_store(
	struct daemon *d, const struct config *c, bool recovered, struct err *err)
{
	struct tmpfs_usage usage;
	struct size_plan plan;
	int r;

	r = plan_size(c, recovered, &plan, &usage, err);
	if (r < 0)
		return r;
	r = size_check(&plan, err);
	return r < 0 ? r : store_open(d->store, plan.tmpfs_bytes, err);
}

int daemon_open_store(struct daemon *d, const struct config *c, struct err *err)
{
	/* What a killed build left would count as retained until it is recovered: look
	 * twice. */
	int r = open_store(d, c, false, err);

	return r < 0 ? r : open_store(d, c, true, err);
}

int daemon_size(const struct config *c, struct json_object **ret, struct err *err)
{
	struct json_object *obj, *tmpfs;
	struct tmpfs_usage usage;
	struct size_plan plan;
	int r = plan_size(c, true, &plan, &usage, err);

	if (r < 0)
		return r;
	tmpfs = json_object_new_object();
	json_set_string(tmpfs, "path", c->template_path);
	json_set_bool(tmpfs, "mounted", usage.mounted);
	json_set_u64(tmpfs, "size_bytes", usage.size_bytes);
	json_set_u64(tmpfs, "used_bytes", usage.used_bytes);
	obj = json_object_new_object();
	json_object_object_add(obj, "plan", size_to_json(&plan));
	json_object_object_add(obj, "tmpfs", tmpfs);
	json_set_u64(obj, "missing_bytes",
		plan.total_bytes > usage.size_bytes ? plan.total_bytes - usage.size_bytes
						    : 0);
	tmpfs = measured_newest(c->template_path);
	if (tmpfs)
		json_object_object_add(obj, "measured", tmpfs);
	*ret = obj;
	return 0;
}

/* ---- inputs ---- */

int daemon_check_inputs(struct daemon *d, const struct config *c,
	const struct manifest *before, struct err *err)
{
	enum manifest_field field;
	struct manifest now;
	int r = vm_inputs_collect(d->inputs, c, &now, err);

	if (r < 0)
		return r;
	r = manifest_match_all(before, &now, &field, NULL);
	manifest_done(&now);
	return r < 0 ? err_set(err, -ESTALE, "%s changed meanwhile; once more",
			       manifest_field_name(field))
		     : 0;
}

/* ---- acquiring ---- */

/* What the sandbox's own configuration makes of a VM. */
static int collect_foreign(struct daemon *d, const struct config *own,
	const struct lease_request *request, struct manifest *ret, struct err *err)
{
	struct config c;
	int r;

	r = lease_request_config(request, own, &c, err);
	if (r < 0)
		return r;
	r = vm_inputs_collect(d->foreign_inputs, &c, ret, err);
	config_done(&c);
	return r;
}

/* Counted; false, as the answer to whoever wanted one. */
static bool note_miss(struct daemon *d, enum stats_miss why, enum manifest_field field)
{
	stats_miss(&d->stats, why, field);
	return false;
}

/* Another QEMU is a miss in any case: it isn't executed to learn its version. */
static bool differs_in_qemu(
	const struct config *own, const struct lease_request *request, struct err *err)
{
	const char *want = request->want[LEASE_WANT_QEMU_PATH];

	if (strcmp(want, own->qemu_path) == 0)
		return false;
	err_set(err, -ESTALE, "%s: wanted %s, the template has %s",
		manifest_field_name(MANIFEST_QEMU_PATH), err_quote(want, 100),
		err_quote(own->qemu_path, 100));
	return true;
}

static bool note_no_template(struct daemon *d, struct err *err)
{
	char excuse[512];
	bool building = builder_excuse(d->builder, excuse, sizeof(excuse));
	const struct err why = *err;

	err_set(err, -ENOENT, "%s%s%s", why.text, *why.text ? ", " : "", excuse);
	return note_miss(d, building ? STATS_MISS_BUILDING : STATS_MISS_NONE, 0);
}

static bool acquire_current(struct daemon *d, const struct manifest *want,
	const char *sandbox, struct grant *ret, struct err *err)
{
	switch (store_grant(d->store, want, sandbox, ret, err)) {
	case STORE_GRANTED:
		stats_hit(&d->stats, store_lease_stale(ret->lease));
		return true;
	case STORE_NONE:
		return note_no_template(d, err);
	case STORE_UNSOUND:
		return note_miss(d, STATS_MISS_UNSOUND, 0);
	case STORE_DIFFERS:
		return note_miss(d, STATS_MISS_FIELD, ret->differs);
	}
	abort();
}

/* A sandbox with templated's own configuration. What it can't have, or has of an old
 * generation, a build may mend. */
static bool acquire_own(struct daemon *d, const struct config *c,
	const struct lease_request *request, struct grant *ret, struct err *err)
{
	struct manifest want;
	bool granted;

	if (vm_inputs_collect(d->inputs, c, &want, err) < 0)
		return note_miss(d, STATS_MISS_INPUTS, 0);
	granted = acquire_current(d, &want, request->sandbox, ret, err);
	if (granted ? store_lease_stale(ret->lease) != NULL
		    : ret->differs != MANIFEST_FIELDS)
		builder_nudge(d->builder, &want);
	manifest_done(&want);
	return granted;
}

static bool acquire_foreign(struct daemon *d, const struct config *c,
	const struct lease_request *request, struct grant *ret, struct err *err)
{
	struct manifest want;
	bool granted;

	if (differs_in_qemu(c, request, err)) {
		ret->differs = MANIFEST_QEMU_PATH;
		return note_miss(d, STATS_MISS_FIELD, MANIFEST_QEMU_PATH);
	}
	if (collect_foreign(d, c, request, &want, err) < 0)
		return note_miss(d, STATS_MISS_INPUTS, 0);
	granted = acquire_current(d, &want, request->sandbox, ret, err);
	manifest_done(&want);
	return granted;
}

bool daemon_acquire(struct daemon *d, const struct lease_request *request,
	struct grant *ret, struct err *err)
{
	_cleanup_settings_ struct settings *s = daemon_settings(d);
	const struct config *c = &s->config;

	*ret = GRANT_INIT;
	if (!c->enable_template) {
		err_set(err, -ENOENT,
			"templated is configured with enable_template = false");
		return note_miss(d, STATS_MISS_DISABLED, 0);
	}
	return lease_request_is_own(request, c)
		       ? acquire_own(d, c, request, ret, err)
		       : acquire_foreign(d, c, request, ret, err);
}

/* A machine that can't be found out is a miss of the template, too, with the reason. */
static int collect_wanted(struct daemon *d, const struct config *c,
	const struct lease_request *request, struct manifest *ret, struct err *err)
{
	if (lease_request_is_own(request, c))
		return vm_inputs_collect(d->inputs, c, ret, err);
	if (differs_in_qemu(c, request, err))
		return -ESTALE;
	return collect_foreign(d, c, request, ret, err);
}

struct cached *daemon_take_cached(
	struct daemon *d, const struct lease_request *request, struct err *why)
{
	_cleanup_settings_ struct settings *s = daemon_settings(d);
	struct cached *vm;
	struct manifest want;

	err_set(why, -ENOENT, "%s", "");
	if (!request->state_dir || s->config.vm_cache_number == 0)
		return NULL;
	if (collect_wanted(d, &s->config, request, &want, why) < 0) {
		stats_cache_miss(&d->stats, STATS_CACHE_DIFFERS);
		return NULL;
	}
	vm = cache_take(d->cache, &want, request->template, request->state_dir, why);
	manifest_done(&want);
	return vm;
}

/* ---- status ---- */

struct json_object *daemon_status(struct daemon *d)
{
	struct json_object *obj = json_object_new_object(),
			   *template = json_object_new_object();
	_cleanup_settings_ struct settings *s = daemon_settings(d);

	json_set_string(obj, "version", STENCIL_VERSION);
	json_set_i64(obj, "pid", getpid());
	json_set_i64(obj, "uptime_s", (now_ms() - d->started_ms) / 1000);
	json_set_string(obj, "config", s->config.loaded_from);
	pthread_mutex_lock(&d->settings_lock);
	json_set_string(obj, "config_error", d->config_error);
	pthread_mutex_unlock(&d->settings_lock);
	json_set_bool(template, "enabled", s->config.enable_template);
	store_status(d->store, template);
	usage_add(d->usage, &s->config, template);
	json_object_object_add(obj, "template", template);
	json_object_object_add(obj, "build", builder_status(d->builder));
	json_object_object_add(obj, "counters", stats_to_json(&d->stats));
	json_object_object_add(obj, "cache", cache_status(d->cache));
	json_object_object_add(obj, "images", images_status(d->images, &s->config));
	status_fit(obj);
	return obj;
}
