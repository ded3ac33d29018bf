/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A status as metrics: see metrics.h.
 *
 * One row a metric: where its value is in the status, and how it becomes base units.
 * Metrics with one sample for each member of something have a function for it. All
 * samples of a metric must stand together, so it is metric by metric, not generation by
 * generation.
 */
#include "templated/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/util.h"

enum unit {
	UNIT_PLAIN, /* a number or a size in bytes, as it is */
	UNIT_MS,    /* milliseconds, told as seconds */
	UNIT_BOOL,  /* true and false, told as 1 and 0 */
};

struct metric {
	const char *name, *type, *help;
	enum unit unit;
	const char *key;
	/* NULL: `key` is a path from the status. */
	void (*samples)(const struct metric *m, struct json_object *status, FILE *out);
};

static const char *text_at(struct json_object *obj, const char *path)
{
	struct json_object *value = json_at(obj, path);

	return json_object_is_type(value, json_type_string)
		       ? json_object_get_string(value)
		       : "";
}

/* name="value", escaped. */
static void print_label(FILE *out, char before, const char *name, const char *value)
{
	fprintf(out, "%c%s=\"", before, name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else
			fprintf(out, "%s%c", *value == '"' || *value == '\\' ? "\\" : "",
				*value);
	}
	fputc('"', out);
}

static void print_value(FILE *out, enum unit unit, struct json_object *value)
{
	uint64_t n = json_object_get_uint64(value);

	switch (unit) {
	case UNIT_PLAIN:
		fprintf(out, " %" PRIu64 "\n", n);
		return;
	case UNIT_MS:
		fprintf(out, " %" PRIu64 ".%03u\n", n / 1000, (unsigned int)(n % 1000));
		return;
	case UNIT_BOOL:
		fprintf(out, " %d\n", json_object_get_boolean(value) ? 1 : 0);
		return;
	}
}

static void print_sample(
	const struct metric *m, struct json_object *status, const char *path, FILE *out)
{
	struct json_object *value = json_at(status, path);

	if (!value)
		return;
	fputs(m->name, out);
	print_value(out, m->unit, value);
}

/* ---- one sample for each … ---- */

static void print_info(const struct metric *m, struct json_object *status, FILE *out)
{
	fputs(m->name, out);
	print_label(out, '{', "version", text_at(status, "version"));
	fputs("} 1\n", out);
}

static void print_generations(
	const struct metric *m, struct json_object *status, FILE *out)
{
	struct json_object *list = json_at(status, "template.generations");

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *g = json_object_array_get_idx(list, i),
				   *value = json_at(g, m->key);

		if (!value)
			continue;
		fputs(m->name, out);
		print_label(out, '{', "generation", text_at(g, "id"));
		print_label(out, ',', "state", text_at(g, "state"));
		fputc('}', out);
		print_value(out, m->unit, value);
	}
}

static void print_clones(const struct metric *m, struct json_object *status, FILE *out)
{
	struct json_object *list = json_at(status, "template.generations");

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *g = json_object_array_get_idx(list, i),
				   *clones = json_at(g, "clones");

		for (size_t k = 0; clones && k < json_object_array_length(clones); k++) {
			struct json_object *clone = json_object_array_get_idx(clones, k),
					   *value = json_at(clone, m->key);

			if (!value)
				continue;
			fputs(m->name, out);
			print_label(out, '{', "generation", text_at(g, "id"));
			print_label(out, ',', "sandbox", text_at(clone, "sandbox"));
			/* One sandbox id may be in several namespaces of containerd. */
			fprintf(out, ",pid=\"%s\"}",
				json_object_get_string(json_at(clone, "pid")));
			print_value(out, m->unit, value);
		}
	}
}

static void print_members(
	const struct metric *m, struct json_object *status, const char *label, FILE *out)
{
	struct json_object *members = json_at(status, m->key);

	if (!members)
		return;
	json_object_object_foreach (members, name, value) {
		if (strcmp(name, "total") == 0)
			continue;
		fputs(m->name, out);
		print_label(out, '{', label, name);
		fputc('}', out);
		print_value(out, m->unit, value);
	}
}

static void print_reasons(const struct metric *m, struct json_object *status, FILE *out)
{
	print_members(m, status, "reason", out);
}

static void print_phases(const struct metric *m, struct json_object *status, FILE *out)
{
	print_members(m, status, "phase", out);
}

static void print_ready(const struct metric *m, struct json_object *status, FILE *out)
{
	fprintf(out, "%s %d\n", m->name,
		strcmp(text_at(status, "template.state"), "ready") == 0);
}

/* ---- the table ---- */

static const struct metric metrics[] = {
	/* clang-format off */
	{"stencil_templated_info", "gauge", "The daemon's version, in a label.",
		UNIT_PLAIN, NULL, print_info},
	{"stencil_templated_uptime_seconds", "gauge", "How long templated has been running.",
		UNIT_PLAIN, "uptime_s", NULL},
	{"stencil_template_enabled", "gauge", "Whether the configuration has enable_template.",
		UNIT_BOOL, "template.enabled", NULL},
	{"stencil_template_ready", "gauge", "Whether there is a sound current generation.",
		UNIT_PLAIN, NULL, print_ready},
	{"stencil_tmpfs_size_bytes", "gauge", "Size of the template's tmpfs.",
		UNIT_PLAIN, "template.tmpfs.size_bytes", NULL},
	{"stencil_tmpfs_used_bytes", "gauge", "What is used of it.",
		UNIT_PLAIN, "template.tmpfs.used_bytes", NULL},
	{"stencil_generation_age_seconds", "gauge", "Time since a generation was published.",
		UNIT_PLAIN, "age_s", print_generations},
	{"stencil_generation_memory_bytes", "gauge", "Memory of its guest.",
		UNIT_PLAIN, "memory_bytes", print_generations},
	{"stencil_generation_resident_bytes", "gauge", "What its memory file occupies.",
		UNIT_PLAIN, "resident_bytes", print_generations},
	{"stencil_generation_published_bytes", "gauge",
		"What it occupied when it was published.",
		UNIT_PLAIN, "published_bytes", print_generations},
	{"stencil_generation_state_bytes", "gauge", "Size of its device state.",
		UNIT_PLAIN, "state_bytes", print_generations},
	{"stencil_generation_shared_bytes", "gauge",
		"Pages of its memory that its clones map as they are, each clone's counted.",
		UNIT_PLAIN, "shared_bytes", print_generations},
	{"stencil_generation_private_bytes", "gauge",
		"Copies that its clones have made of pages of its memory.",
		UNIT_PLAIN, "private_bytes", print_generations},
	{"stencil_generation_clones", "gauge", "Sandboxes that hold a lease of it.",
		UNIT_PLAIN, "leases", print_generations},
	{"stencil_clone_shared_bytes", "gauge", "The shared pages of one clone.",
		UNIT_PLAIN, "shared_bytes", print_clones},
	{"stencil_clone_private_bytes", "gauge", "The copies that one clone has made.",
		UNIT_PLAIN, "private_bytes", print_clones},
	{"stencil_grants_total", "counter", "Sandboxes that were granted a template.",
		UNIT_PLAIN, "counters.hits", NULL},
	{"stencil_stale_grants_total", "counter", "Those of a generation that was stale.",
		UNIT_PLAIN, "counters.stale_grants", NULL},
	{"stencil_misses_total", "counter",
		"Sandboxes that were not, by the reason or the field that differed.",
		UNIT_PLAIN, "counters.misses", print_reasons},
	{"stencil_boots_total", "counter", "Guests booted to become a template.",
		UNIT_PLAIN, "counters.boots", NULL},
	{"stencil_builds_total", "counter", "Generations published.",
		UNIT_PLAIN, "counters.builds", NULL},
	{"stencil_build_failures_total", "counter", "Builds that failed.",
		UNIT_PLAIN, "counters.build_failures", NULL},
	{"stencil_refused_requests_total", "counter",
		"Connections and requests that were refused.",
		UNIT_PLAIN, "counters.refused", NULL},
	{"stencil_build_running", "gauge", "Whether a generation is being built.",
		UNIT_BOOL, "build.running", NULL},
	{"stencil_last_build_success", "gauge", "Whether the last build succeeded.",
		UNIT_BOOL, "build.last.ok", NULL},
	{"stencil_last_build_age_seconds", "gauge", "Time since the last build ended.",
		UNIT_PLAIN, "build.last.age_s", NULL},
	{"stencil_last_build_duration_seconds", "gauge", "How long the last build took.",
		UNIT_MS, "build.last.ms", NULL},
	{"stencil_last_build_phase_seconds", "gauge", "The same for each of its steps.",
		UNIT_MS, "build.last.phases", print_phases},
	{"stencil_cache_wanted", "gauge", "VMs that the cache is to keep ready.",
		UNIT_PLAIN, "cache.wanted", NULL},
	{"stencil_cache_ready", "gauge", "VMs that are ready.",
		UNIT_PLAIN, "cache.ready", NULL},
	{"stencil_cache_preparing", "gauge", "VMs that are being made ready.",
		UNIT_PLAIN, "cache.preparing", NULL},
	{"stencil_cache_hits_total", "counter", "Sandboxes that were given a VM of the cache.",
		UNIT_PLAIN, "cache.hits", NULL},
	{"stencil_cache_misses_total", "counter", "Sandboxes for whom it had none, by reason.",
		UNIT_PLAIN, "cache.misses", print_reasons},
	{"stencil_cache_died_total", "counter", "VMs that died while they were kept.",
		UNIT_PLAIN, "cache.died", NULL},
	{"stencil_cache_failures_total", "counter", "VMs that could not be made ready.",
		UNIT_PLAIN, "cache.failures", NULL},
	{"stencil_images", "gauge", "Images in the store.",
		UNIT_PLAIN, "images.count", NULL},
	{"stencil_images_bytes", "gauge", "What they have in all.",
		UNIT_PLAIN, "images.bytes", NULL},
	{"stencil_images_max_bytes", "gauge", "What they may have.",
		UNIT_PLAIN, "images.max_bytes", NULL},
	{"stencil_images_users", "gauge", "Who has one, each image's users added.",
		UNIT_PLAIN, "images.users", NULL},
	{"stencil_images_shared_bytes", "gauge",
		"Bytes of images that users have without a copy of their own.",
		UNIT_PLAIN, "images.shared_bytes", NULL},
	{"stencil_images_queued", "gauge", "Images that are to be made, or are being made.",
		UNIT_PLAIN, "images.queued", NULL},
	{"stencil_image_hits_total", "counter", "Images that were given.",
		UNIT_PLAIN, "images.hits", NULL},
	{"stencil_image_misses_total", "counter", "Questions for one that got none, by reason.",
		UNIT_PLAIN, "images.misses", print_reasons},
	{"stencil_images_made_total", "counter", "Images made.",
		UNIT_PLAIN, "images.made", NULL},
	{"stencil_image_making_seconds_total", "counter", "How long they took.",
		UNIT_MS, "images.making_ms", NULL},
	{"stencil_image_failures_total", "counter", "Images that could not be made.",
		UNIT_PLAIN, "images.failures", NULL},
	{"stencil_images_removed_total", "counter",
		"Images removed: for room, by prune, or because they had been changed.",
		UNIT_PLAIN, "images.removed", NULL},
	/* clang-format on */
};

/* Nothing of a part that the status is without. */
static bool is_missing(const struct metric *m, struct json_object *status)
{
	static const char *const parts[] = {"cache.", "images."};

	for (size_t i = 0; m->key && i < ARRAY_SIZE(parts); i++)
		if (strncmp(m->key, parts[i], strlen(parts[i])) == 0)
			return !json_at(status, m->key);
	return false;
}

void metrics_print(struct json_object *status, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		const struct metric *m = &metrics[i];

		if (is_missing(m, status))
			continue;
		fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
			m->type);
		if (m->samples)
			m->samples(m, status, out);
		else
			print_sample(m, status, m->key, out);
	}
}
