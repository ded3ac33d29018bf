/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl status for people: see ctl.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "templated/ctl.h"
#include "templated/ctl_answer.h"

/* Words and names on lines of their own width: each goes to the next line where it does
 * not fit into this one. */
struct flow {
	FILE *out;
	int column;
};

#define FLOW_INDENT 11
#define FLOW_WIDTH  79

static struct flow flow_begin(FILE *out, const char *title)
{
	return (struct flow){out, fprintf(out, "%-*s", FLOW_INDENT, title)};
}

/* before: "" or "  ", left out where a line begins. */
static void flow_put(struct flow *f, const char *before, const char *word, int len)
{
	if (f->column > FLOW_INDENT && f->column + (int)strlen(before) + len > FLOW_WIDTH)
		f->column = fprintf(f->out, "\n%*s", FLOW_INDENT, "") - 1;
	if (f->column > FLOW_INDENT)
		f->column += fprintf(f->out, "%s", before);
	f->column += fprintf(f->out, "%.*s", len, word);
}

static void flow_item(struct flow *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void flow_item(struct flow *f, const char *fmt, ...)
{
	_cleanup_free_ char *item = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&item, fmt, ap) < 0)
		abort();
	va_end(ap);
	flow_put(f, "  ", item, (int)strlen(item));
}

/* A sentence, broken between its words. */
static void flow_text(struct flow *f, const char *sentence)
{
	while (*(sentence += strspn(sentence, " "))) {
		size_t len = strcspn(sentence, " ");

		flow_put(f, " ", sentence, (int)len);
		sentence += len;
	}
}

static void flow_end(struct flow *f)
{
	fputc('\n', f->out);
}

static void print_inputs(struct json_object *manifest, FILE *out)
{
	struct flow f = flow_begin(out, "  made of");

	flow_item(&f, "%s", answer_text(manifest, "qemu_version"));
	flow_item(&f, "%s", answer_text(manifest, "accel"));
	flow_item(&f, "agent %s", answer_text(manifest, "agent_version"));
	flow_item(&f, "kernel %.12s", answer_text(manifest, "kernel_sha256"));
	flow_item(&f, "initrd %.12s", answer_text(manifest, "initrd_sha256"));
	flow_end(&f);
}

static void print_clones(struct json_object *g, FILE *out)
{
	struct json_object *clones = answer_object(g, "clones");
	struct flow f = flow_begin(out, "  clones");

	flow_item(&f, "%" PRIu64, answer_number(g, "leases"));
	for (size_t i = 0; i < (clones ? json_object_array_length(clones) : 0); i++) {
		struct json_object *clone = json_object_array_get_idx(clones, i);

		if (answer_object(clone, "private_bytes"))
			flow_item(&f, "%s %.1f", answer_text(clone, "sandbox"),
				to_mib(answer_number(clone, "private_bytes")));
		else
			flow_item(&f, "%s", answer_text(clone, "sandbox"));
	}
	flow_end(&f);
}

static void print_generation(struct json_object *g, FILE *out)
{
	char buf[24];
	struct flow f;

	fprintf(out, "\ngeneration %s: %s, %s old\n", answer_text(g, "id"),
		answer_text(g, "state"), answer_age(buf, answer_number(g, "age_s")));
	if (*answer_text(g, "reason")) {
		f = flow_begin(out, "  reason");
		flow_text(&f, answer_text(g, "reason"));
		flow_end(&f);
	}
	if (*answer_text(g, "stale")) {
		f = (struct flow){out, fprintf(out, "  stale: ")};
		flow_text(&f, answer_text(g, "stale_reason"));
		flow_end(&f);
	}
	f = flow_begin(out, "  MiB");
	flow_item(&f, "%.1f of %.0f resident", to_mib(answer_number(g, "resident_bytes")),
		to_mib(answer_number(g, "memory_bytes")));
	flow_item(&f, "%.1f when published", to_mib(answer_number(g, "published_bytes")));
	flow_item(&f, "%.1f device state", to_mib(answer_number(g, "state_bytes")));
	flow_item(&f, "%.1f shared", to_mib(answer_number(g, "shared_bytes")));
	flow_item(&f, "%.1f private", to_mib(answer_number(g, "private_bytes")));
	flow_end(&f);
	print_clones(g, out);
	if (answer_object(g, "manifest"))
		print_inputs(answer_object(g, "manifest"), out);
}

static void print_generations(struct json_object *list, FILE *out)
{
	for (size_t i = 0; i < (list ? json_object_array_length(list) : 0); i++)
		print_generation(json_object_array_get_idx(list, i), out);
}

static void print_phases(struct flow *f, struct json_object *phases)
{
	if (!phases)
		return;
	json_object_object_foreach (phases, name, ms)
		flow_item(f, "%s %.1f", strcmp(name, "agent_up") ? name : "agent up",
			(double)json_object_get_int64(ms) / 1000);
}

static void print_last_build(struct json_object *last, FILE *out)
{
	struct flow f = flow_begin(out, "last build");
	double seconds = (double)answer_number(last, "ms") / 1000;
	char buf[24];

	answer_age(buf, answer_number(last, "age_s"));
	if (answer_truth(last, "ok")) {
		flow_item(&f, "%.1f s, %s ago;", seconds, buf);
		print_phases(&f, answer_object(last, "phases"));
	} else {
		flow_item(&f, "FAILED %s ago after %.1f s:", buf, seconds);
		flow_text(&f, answer_text(last, "error"));
	}
	flow_end(&f);
}

static void print_build(struct json_object *build, FILE *out)
{
	struct json_object *last = answer_object(build, "last");
	struct flow f;

	if (answer_truth(build, "running")) {
		f = flow_begin(out, "build");
		flow_item(&f, "running for %.1f s: %s%s",
			(double)answer_number(build, "ms") / 1000,
			answer_text(build, "step"),
			answer_truth(build, "queued") ? "; another one follows" : "");
		print_phases(&f, answer_object(build, "phases"));
		flow_end(&f);
	}
	if (last)
		print_last_build(last, out);
	else if (!answer_truth(build, "running"))
		fprintf(out, "%-*snone yet\n", FLOW_INDENT, "build");
}

static void print_counters(struct json_object *counters, FILE *out)
{
	struct json_object *misses = answer_object(counters, "misses");
	struct flow f;

	fprintf(out, "%-*s%" PRIu64 ", of stale generations %" PRIu64 "\n", FLOW_INDENT,
		"granted", answer_number(counters, "hits"),
		answer_number(counters, "stale_grants"));
	f = flow_begin(out, "missed");
	flow_item(&f, "%" PRIu64, answer_number(misses, "total"));
	if (misses) {
		json_object_object_foreach (misses, reason, count) {
			if (strcmp(reason, "total") != 0)
				flow_item(&f, "%s %s", reason,
					json_object_get_string(count));
		}
	}
	flow_end(&f);
	fprintf(out, "%-*s%" PRIu64 " published, %" PRIu64 " failed, %" PRIu64 " boots\n",
		FLOW_INDENT, "builds", answer_number(counters, "builds"),
		answer_number(counters, "build_failures"),
		answer_number(counters, "boots"));
}

static void print_cache(struct json_object *cache, FILE *out)
{
	uint64_t wanted = answer_number(cache, "wanted");
	struct flow f;

	if (wanted == 0)
		return;
	f = flow_begin(out, "cache");
	flow_item(&f, "%" PRIu64 " of %" PRIu64 " VMs ready%s;",
		answer_number(cache, "ready"), wanted,
		answer_number(cache, "preparing") ? ", one in the making" : "");
	flow_item(&f, "handed over %" PRIu64 ",", answer_number(cache, "hits"));
	flow_item(&f, "missed %" PRIu64 ",",
		answer_number(answer_object(cache, "misses"), "total"));
	flow_item(&f, "died %" PRIu64 ",", answer_number(cache, "died"));
	flow_item(&f, "failed %" PRIu64, answer_number(cache, "failures"));
	flow_text(&f, answer_text(cache, "error"));
	flow_end(&f);
}

static void print_images(struct json_object *images, FILE *out)
{
	struct flow f;

	if (!images)
		return;
	f = flow_begin(out, "images");
	if (!answer_truth(images, "enabled")) {
		flow_item(&f, "switched off");
		flow_end(&f);
		return;
	}
	flow_item(&f, "%" PRIu64 ", %.1f of %.0f MiB%s;", answer_number(images, "count"),
		to_mib(answer_number(images, "bytes")),
		to_mib(answer_number(images, "max_bytes")),
		answer_object(images, "making") ? ", one in the making" : "");
	flow_item(&f, "given %" PRIu64 ",", answer_number(images, "hits"));
	flow_item(&f, "missed %" PRIu64 ",",
		answer_number(answer_object(images, "misses"), "total"));
	flow_item(&f, "made %" PRIu64 ",", answer_number(images, "made"));
	flow_item(&f, "failed %" PRIu64, answer_number(images, "failures"));
	flow_text(&f, answer_text(images, "error"));
	flow_end(&f);
}

void ctl_print_status(struct json_object *status, FILE *out)
{
	struct json_object *template = answer_object(status, "template"),
			   *tmpfs = answer_object(template, "tmpfs");
	struct flow f;
	char buf[24];

	fprintf(out, "templated  %s, pid %" PRIu64 ", up %s\n",
		answer_text(status, "version"), answer_number(status, "pid"),
		answer_age(buf, answer_number(status, "uptime_s")));
	f = flow_begin(out, "template");
	flow_item(&f, "%s%s",
		answer_truth(template, "enabled") ? answer_text(template, "state")
						  : "switched off",
		*answer_text(template, "reason") ? ":" : "");
	flow_text(&f, answer_text(template, "reason"));
	flow_end(&f);
	fprintf(out, "tmpfs      %s, ", answer_text(tmpfs, "path"));
	if (answer_truth(tmpfs, "mounted"))
		fprintf(out, "%.1f of %.0f MiB used\n",
			to_mib(answer_number(tmpfs, "used_bytes")),
			to_mib(answer_number(tmpfs, "size_bytes")));
	else
		fprintf(out, "%s\n",
			*answer_text(tmpfs, "error") ? answer_text(tmpfs, "error")
						     : "not mounted");
	if (*answer_text(status, "config_error")) {
		f = flow_begin(out, "config");
		flow_text(&f, "REFUSED, the former one is in force:");
		flow_text(&f, answer_text(status, "config_error"));
		flow_end(&f);
	}
	print_cache(answer_object(status, "cache"), out);
	print_images(answer_object(status, "images"), out);
	print_build(answer_object(status, "build"), out);
	print_counters(answer_object(status, "counters"), out);
	print_generations(answer_object(template, "generations"), out);
	if (answer_truth(status, "truncated"))
		fputs("\nThere is more than one message holds: clones are left out.\n",
			out);
}
