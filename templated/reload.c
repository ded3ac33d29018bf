/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping up with the world: see reload.h. */
#include "templated/reload.h"

#include <stdio.h>
#include <string.h>

#include "base/config_kept.h"
#include "base/log.h"
#include "base/util.h"
#include "templated/builder.h"
#include "templated/input_watch.h"

/* ---- the configuration ---- */

/* Locks, mounts, sockets and the records of VMs hang on these. */
static const struct {
	const char *section, *key;
} fixed[] = {
	{"factory", "template_path"},
	{"factory", "template_endpoint"},
	{"factory", "metrics_endpoint"},
	{"images", "path"},
	{"runtime", "state_dir"},
	{"runtime", "cgroup_parent"},
};

/* What was read takes over the values in force where it has to. */
static void keep_fixed(struct config *next, const struct config *now)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		_cleanup_free_ char *was =
			config_text(now, fixed[i].section, fixed[i].key);
		_cleanup_free_ char *is =
			config_text(next, fixed[i].section, fixed[i].key);

		if (strcmp(was, is) == 0)
			continue;
		log_warn("%s = %s needs a restart of templated; until then it is %s",
			fixed[i].key, err_quote(is, 128), err_quote(was, 128));
		if (config_set(next, fixed[i].section, fixed[i].key, was, "", NULL) < 0)
			abort();
	}
}

struct comparison {
	const struct config *next;
	unsigned int changed;
};

static void note_change(void *user, const char *section, const char *key)
{
	struct comparison *c = user;
	_cleanup_free_ char *text = config_text(c->next, section, key);

	log_info("configuration: %s is now \"%s\"", key, err_quote(text, 128));
	c->changed++;
}

void reload_keep_config(const struct config *c)
{
	struct err err = ERR_INIT;

	if (config_keep(c, &err) < 0)
		log_warn(
			"a wrong line in the configuration will stop new pods, they can't "
			"have the one in force: %s",
			err.text);
}

static void reload_adopt_config(
	struct daemon *d, struct config *next, const struct config *now)
{
	struct comparison c = {.next = next};

	keep_fixed(next, now);
	config_compare(now, next, note_change, &c);
	if (c.changed == 0 && strcmp(now->loaded_from, next->loaded_from) == 0) {
		config_done(next);
		return;
	}
	log_set_level((enum log_level)next->log_level);
	reload_keep_config(next);
	daemon_change_settings(d, settings_new(next));
}

void reload_config(struct daemon *d)
{
	_cleanup_settings_ struct settings *now = daemon_settings(d);
	struct err err = ERR_INIT;
	struct config next;
	int r;

	config_init(&next);
	r = config_load_default(&next, d->config_path, &err);
	if (r < 0) {
		log_error("the configuration is refused, the one in force stays: %s",
			err.text);
		config_done(&next);
	} else {
		reload_adopt_config(d, &next, &now->config);
	}
	daemon_note_config(d, err.text);
}

/* ---- the watch ---- */

struct reload {
	struct daemon *daemon;
	struct input_watch *watch;
};

static void on_change(void *user)
{
	struct reload *r = user;

	reload_config(r->daemon);
}

static void reload_add_path(void *user, const char *path, bool folder)
{
	input_watch_add(user, path, folder);
}

static void reload_list_paths(void *user, struct input_watch *w)
{
	struct reload *r = user;
	_cleanup_settings_ struct settings *s = daemon_settings(r->daemon);
	const char *file = config_default_path(r->daemon->config_path);
	_cleanup_free_ char *drop_ins = xasprintf("%s.d", file);

	vm_inputs_paths(&s->config, reload_add_path, w);
	input_watch_add(w, file, false);
	input_watch_add(w, drop_ins, true);
}

static void reload_start_build(void *user, bool asked)
{
	struct reload *r = user;
	_cleanup_settings_ struct settings *s = daemon_settings(r->daemon);
	struct err err = ERR_INIT;

	if (!s->config.enable_template)
		return;
	if (builder_start(
		    r->daemon->builder, asked ? BUILD_LOOK : BUILD_AUTO, NULL, &err) < 0)
		log_error("cannot refresh the template: %s", err.text);
}

int reload_start(struct daemon *d, struct reload **ret, struct err *err)
{
	struct reload *r = xnew0(struct reload);
	struct input_watch_options options = {.reload = on_change,
		.list = reload_list_paths,
		.look = reload_start_build,
		.user = r,
		.settle_ms = INPUT_SETTLE_MS,
		.limit_ms = INPUT_LIMIT_MS};
	int code;

	r->daemon = d;
	code = input_watch_start(&options, &r->watch, err);
	if (code < 0)
		free(r);
	else
		*ret = r;
	return code;
}

void reload_now(struct reload *r)
{
	input_watch_poke(r->watch);
}

void reload_stop(struct reload *r)
{
	if (!r)
		return;
	input_watch_stop(r->watch);
	free(r);
}
