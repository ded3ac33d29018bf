/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod may set itself: see annotations.h. */
#include "shim/annotations.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/util.h"

/* What the administrator's configuration allows at most. */
struct ceilings {
	uint64_t vcpus, memory_mib;
	bool enable_template, strict;
};

/* One VM's memory at most: all of it may be there at boot. */
static struct ceilings ceilings_of(const struct config *c)
{
	return (struct ceilings){.vcpus = config_max_vcpus(c),
		.memory_mib = MAX(c->default_memory, config_max_memory_bytes(c) / MiB),
		.enable_template = c->enable_template,
		.strict = c->strict};
}

/* How a pod's value is held against the administrator's. */
enum bound {
	BOUND_VCPUS,
	BOUND_MAXVCPUS,
	BOUND_MEMORY,
	BOUND_MAXMEMORY,
	BOUND_TEMPLATE,
	BOUND_STRICT,
};

static const struct {
	const char *section, *key;
	enum bound bound;
} settable[] = {
	{"hypervisor", "default_vcpus", BOUND_VCPUS},
	{"hypervisor", "default_maxvcpus", BOUND_MAXVCPUS},
	{"hypervisor", "default_memory", BOUND_MEMORY},
	{"hypervisor", "default_maxmemory", BOUND_MAXMEMORY},
	{"factory", "enable_template", BOUND_TEMPLATE},
	{"factory", "strict", BOUND_STRICT},
};

static int check_most(uint64_t value, uint64_t most, const char *where, const char *key,
	struct err *err)
{
	if (value <= most)
		return 0;
	return err_set(err, -EPERM,
		"%s: %" PRIu64 " is more than the %" PRIu64
		" that stencil.conf and the host allow (key %s of [hypervisor])",
		where, value, most, key);
}

/* 0 is "as the host has", which is what 0 comes to with the administrator, too. */
static int check_bound(enum bound bound, const struct config *c,
	const struct ceilings *most, const char *where, struct err *err)
{
	switch (bound) {
	case BOUND_VCPUS:
		return check_most(
			c->default_vcpus, most->vcpus, where, "default_maxvcpus", err);
	case BOUND_MAXVCPUS:
		return check_most(
			c->default_maxvcpus ? c->default_maxvcpus : config_max_vcpus(c),
			most->vcpus, where, "default_maxvcpus", err);
	case BOUND_MEMORY:
		return check_most(c->default_memory, most->memory_mib, where,
			"default_maxmemory", err);
	case BOUND_MAXMEMORY:
		return check_most(c->default_maxmemory ? c->default_maxmemory
						       : config_max_memory_bytes(c) / MiB,
			most->memory_mib, where, "default_maxmemory", err);
	case BOUND_TEMPLATE:
		return !c->enable_template || most->enable_template
			       ? 0
			       : err_set(err, -EPERM,
					 "%s: stencil.conf has enable_template = false, "
					 "which a pod can't change",
					 where);
	case BOUND_STRICT:
		return c->strict || !most->strict
			       ? 0
			       : err_set(err, -EPERM,
					 "%s: stencil.conf has strict = true, which a pod "
					 "can't change",
					 where);
	}
	abort();
}

static int apply_one(struct config *config, const struct ceilings *most, const char *name,
	const char *value, struct err *err)
{
	const char *rest = name + strlen(ANNOTATION_PREFIX);
	_cleanup_free_ char *where = xasprintf("annotation %s", err_quote(name, 128));
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(settable); i++) {
		const char *section = settable[i].section, *key = settable[i].key;
		_cleanup_free_ char *whole = xasprintf("%s.%s", section, key);

		if (strcmp(rest, whole) != 0)
			continue;
		if (!config_names_have(config->enable_annotations, rest))
			return err_set(err, -EPERM,
				"%s: pods may not set this; key enable_annotations of "
				"[hypervisor] in stencil.conf has to name %s",
				where, rest);
		r = config_set(config, section, key, value, where, err);
		return r < 0 ? r
			     : check_bound(settable[i].bound, config, most, where, err);
	}
	return err_set(err, -EINVAL,
		"%s: there is no such setting that an annotation may make", where);
}

int annotations_apply(const struct spec *spec, struct config *config, struct err *err)
{
	struct ceilings most = ceilings_of(config);
	struct json_object *annotations;
	int r;

	r = json_get_object_opt(spec->json, "annotations", &annotations, err);
	if (r < 0 || !annotations)
		return r;
	json_object_object_foreach (annotations, name, value) {
		if (strncmp(name, ANNOTATION_PREFIX, strlen(ANNOTATION_PREFIX)) != 0)
			continue;
		if (!json_object_is_type(value, json_type_string))
			return err_set(err, -EINVAL, "annotation %s is no string",
				err_quote(name, 128));
		r = apply_one(config, &most, name, json_object_get_string(value), err);
		if (r < 0)
			return r;
	}
	return 0;
}
