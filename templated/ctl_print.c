/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl's screens: see ctl.h. What is missing in an answer is shown as nothing. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "templated/ctl.h"

/* ---- values of an answer ---- */

static struct json_object *object(struct json_object *obj, const char *key)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, key, &value);
	return value;
}

static uint64_t number(struct json_object *obj, const char *key)
{
	uint64_t value = 0;

	json_get_u64(obj, key, &value, NULL);
	return value;
}

static const char *text(struct json_object *obj, const char *key)
{
	const char *value = "";

	json_get_string(obj, key, &value, NULL);
	return value;
}

static bool truth(struct json_object *obj, const char *key)
{
	bool value = false;

	json_get_bool(obj, key, &value, NULL);
	return value;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (double)MiB;
}

/* "42 s", "17 min", "5 h", "12 days" */
static const char *age(char buf[24], uint64_t seconds)
{
	static const struct {
		uint64_t unit, upto;
		const char *name;
	} units[] = {
		{1, 120, "s"},
		{60, 7200, "min"},
		{3600, 172800, "h"},
		{86400, UINT64_MAX, "days"},
	};
	size_t i = 0;

	while (seconds >= units[i].upto && i < ARRAY_SIZE(units) - 1)
		i++;
	snprintf(buf, 24, "%" PRIu64 " %s", seconds / units[i].unit, units[i].name);
	return buf;
}

/* ---- status ---- */

static void print_generation(struct json_object *g, FILE *out)
{
	struct json_object *sandboxes = object(g, "sandboxes");
	char buf[24];
	int column = 80;

	fprintf(out, "%-27s  %-8s %8s %8.1f %8.1f %7.1f %6" PRIu64 "\n", text(g, "id"),
		text(g, "state"), age(buf, number(g, "age_s")),
		mib(number(g, "memory_bytes")), mib(number(g, "resident_bytes")),
		mib(number(g, "state_bytes")), number(g, "leases"));
	if (*text(g, "reason"))
		fprintf(out, "  %s\n", text(g, "reason"));
	if (*text(g, "stale"))
		fprintf(out, "  stale: %s\n", text(g, "stale_reason"));
	for (size_t i = 0; i < (sandboxes ? json_object_array_length(sandboxes) : 0);
		i++) {
		const char *id =
			json_object_get_string(json_object_array_get_idx(sandboxes, i));

		if (column + (int)strlen(id) + 1 > 78)
			column = fprintf(out, "%s ", i ? "\n " : " ");
		column += fprintf(out, " %s", id);
	}
	if (column < 80)
		fputc('\n', out);
}

static void print_generations(struct json_object *list, FILE *out)
{
	if (!list || json_object_array_length(list) == 0)
		return;
	fprintf(out, "\n%-27s  %-8s %8s %8s %8s %7s %6s\n", "GENERATION", "STATE", "AGE",
		"MEM MiB", "RESIDENT", "DEVICES", "LEASES");
	for (size_t i = 0; i < json_object_array_length(list); i++)
		print_generation(json_object_array_get_idx(list, i), out);
}

static void print_build(struct json_object *build, FILE *out)
{
	struct json_object *last = object(build, "last");
	char buf[24];

	fputs("build      ", out);
	if (truth(build, "running"))
		fprintf(out, "running for %.1f s: %s%s\n           ",
			(double)number(build, "ms") / 1000, text(build, "step"),
			truth(build, "queued") ? "; another one follows" : "");
	if (!last)
		fputs("none yet\n", out);
	else if (truth(last, "ok"))
		fprintf(out, "last %.1f s, %s ago\n", (double)number(last, "ms") / 1000,
			age(buf, number(last, "age_s")));
	else
		fprintf(out, "last build FAILED %s ago: %s\n",
			age(buf, number(last, "age_s")), text(last, "error"));
}

static void print_counters(struct json_object *counters, FILE *out)
{
	struct json_object *misses = object(counters, "misses");
	int column;

	fprintf(out, "granted    %" PRIu64 ", of stale generations %" PRIu64 "\n",
		number(counters, "hits"), number(counters, "stale_grants"));
	fprintf(out, "missed     %" PRIu64, number(misses, "total"));
	column = 14;
	if (misses) {
		json_object_object_foreach (misses, reason, count) {
			if (strcmp(reason, "total") == 0)
				continue;
			if (column > 60)
				column = fprintf(out, "\n           ");
			column += fprintf(
				out, "  %s %s", reason, json_object_get_string(count));
		}
	}
	fprintf(out, "\nbuilds     %" PRIu64 ", failed %" PRIu64 "\n",
		number(counters, "builds"), number(counters, "build_failures"));
}

static void print_cache(struct json_object *cache, FILE *out)
{
	uint64_t wanted = number(cache, "wanted");

	if (wanted == 0)
		return;
	fprintf(out,
		"cache      %" PRIu64 " of %" PRIu64 " VMs ready%s; handed over %" PRIu64
		", missed %" PRIu64 ", died %" PRIu64 ", failed %" PRIu64 "\n",
		number(cache, "ready"), wanted,
		number(cache, "preparing") ? ", one in the making" : "",
		number(cache, "hits"), number(object(cache, "misses"), "total"),
		number(cache, "died"), number(cache, "failures"));
	if (*text(cache, "error"))
		fprintf(out, "  %s\n", text(cache, "error"));
}

void ctl_print_status(struct json_object *status, FILE *out)
{
	struct json_object *template = object(status, "template"),
			   *tmpfs = object(template, "tmpfs");
	char buf[24];

	fprintf(out, "templated  %s, pid %" PRIu64 ", up %s\n", text(status, "version"),
		number(status, "pid"), age(buf, number(status, "uptime_s")));
	if (*text(status, "config_error"))
		fprintf(out, "config     REFUSED, the former one is in force: %s\n",
			text(status, "config_error"));
	fprintf(out, "template   %s%s%s\n",
		truth(template, "enabled") ? text(template, "state") : "switched off",
		*text(template, "reason") ? ": " : "", text(template, "reason"));
	fprintf(out, "tmpfs      %s, ", text(tmpfs, "path"));
	if (truth(tmpfs, "mounted"))
		fprintf(out, "%.1f of %.0f MiB used\n", mib(number(tmpfs, "used_bytes")),
			mib(number(tmpfs, "size_bytes")));
	else
		fprintf(out, "%s\n",
			*text(tmpfs, "error") ? text(tmpfs, "error") : "not mounted");
	print_build(object(status, "build"), out);
	print_counters(object(status, "counters"), out);
	print_cache(object(status, "cache"), out);
	print_generations(object(template, "generations"), out);
}

/* ---- size ---- */

/* systemd's name for a path: '/' becomes '-', what is not plain becomes \xNN. */
static void print_unit_name(const char *path, FILE *out)
{
	path += strspn(path, "/");
	for (const char *p = path; *p; p++) {
		if (*p == '/') {
			if (p[1 + strspn(p + 1, "/")] && p[1] != '/')
				fputc('-', out);
		} else if (isalnum((unsigned char)*p) || *p == '_' || *p == ':' ||
			   (*p == '.' && p > path)) {
			fputc(*p, out);
		} else {
			fprintf(out, "\\x%02x", (unsigned char)*p);
		}
	}
	fputs(".mount", out);
}

static void print_row(FILE *out, const char *name, uint64_t bytes, const char *note)
{
	fprintf(out, "%-24s %10.1f MiB %16" PRIu64 " bytes%s%s\n", name, mib(bytes),
		bytes, *note ? "  " : "", note);
}

void ctl_print_size(struct json_object *size, FILE *out)
{
	struct json_object *plan = object(size, "plan"), *tmpfs = object(size, "tmpfs");
	uint64_t needed = number(plan, "needed_bytes") / MiB;
	const char *path = text(tmpfs, "path");

	print_row(out, "memory of the guest", number(plan, "memory_bytes"), "");
	print_row(out, "its device state", number(plan, "state_bytes"), "at most");
	print_row(out, "its manifest", number(plan, "manifest_bytes"), "at most");
	print_row(out, "generations beside it", number(plan, "retained_bytes"), "");
	print_row(out, "slack", number(plan, "slack_bytes"), "");
	print_row(out, "needed", number(plan, "needed_bytes"), "");
	print_row(out, truth(plan, "configured") ? "tmpfs_size" : "tmpfs_size = auto",
		number(plan, "tmpfs_bytes"), "");
	print_row(out, "mounted", number(tmpfs, "size_bytes"),
		truth(tmpfs, "mounted") ? "" : "not yet");
	print_row(out, "used", number(tmpfs, "used_bytes"), "");
	print_row(out, "missing", number(size, "missing_bytes"),
		truth(plan, "configured") ? "" : "templated adds it");
	fprintf(out,
		"\n# /etc/fstab\n"
		"stencil-template %s tmpfs mode=0750,nosuid,nodev,noexec,size=%" PRIu64
		"M 0 0\n",
		path, needed);
	fputs("\n# /etc/systemd/system/", out);
	print_unit_name(path, out);
	fprintf(out,
		"\n[Mount]\nWhat=stencil-template\nWhere=%s\nType=tmpfs\n"
		"Options=mode=0750,nosuid,nodev,noexec,size=%" PRIu64 "M\n",
		path, needed);
}
