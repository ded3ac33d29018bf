/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl size for people: see ctl.h. */
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "templated/ctl.h"
#include "templated/ctl_answer.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define PLAIN   LETTERS "0123456789:_."

/* One component of the path; a name must not begin with a dot. */
static void print_component(const char *p, size_t len, bool first, FILE *out)
{
	for (size_t i = 0; i < len; i++) {
		if (strchr(PLAIN, p[i]) && !(p[i] == '.' && first && i == 0))
			fputc(p[i], out);
		else
			fprintf(out, "\\x%02x", (unsigned char)p[i]);
	}
}

void ctl_print_unit_name(const char *path, FILE *out)
{
	bool first = true;

	while (*(path += strspn(path, "/"))) {
		size_t len = strcspn(path, "/");

		if (len != 1 || *path != '.') {
			if (!first)
				fputc('-', out);
			print_component(path, len, first, out);
			first = false;
		}
		path += len;
	}
	fputs(first ? "-.mount" : ".mount", out);
}

/* In fstab a space would end the field; in a unit % begins a specifier. */
static void print_path(const char *path, bool unit, FILE *out)
{
	for (; *path; path++) {
		if (unit && *path == '%')
			fputs("%%", out);
		else if (!unit && strchr(" \t\\", *path))
			fprintf(out, "\\%03o", (unsigned char)*path);
		else
			fputc(*path, out);
	}
}

static void print_mounts(const char *path, uint64_t mib_needed, FILE *out)
{
	fputs("\n# /etc/fstab\nstencil-template ", out);
	print_path(path, false, out);
	fprintf(out, " tmpfs mode=0750,nosuid,nodev,noexec,size=%" PRIu64 "M 0 0\n",
		mib_needed);
	fputs("\n# /etc/systemd/system/", out);
	ctl_print_unit_name(path, out);
	fputs("\n[Unit]\n"
	      "Description=Memory of Stencil's VM template\n"
	      "Documentation=man:templatectl(8)\n"
	      "Before=templated.service\n"
	      "\n[Mount]\n"
	      "What=stencil-template\n"
	      "Where=",
		out);
	print_path(path, true, out);
	fprintf(out,
		"\nType=tmpfs\n"
		"Options=mode=0750,nosuid,nodev,noexec,size=%" PRIu64 "M\n"
		"\n[Install]\n"
		"WantedBy=local-fs.target\n",
		mib_needed);
}

static void print_row(FILE *out, const char *name, uint64_t bytes, const char *note)
{
	fprintf(out, "%-24s %10.1f MiB %16" PRIu64 " bytes%s%s\n", name, to_mib(bytes),
		bytes, *note ? "  " : "", note);
}

void ctl_print_size(struct json_object *size, FILE *out)
{
	struct json_object *plan = answer_object(size, "plan"),
			   *tmpfs = answer_object(size, "tmpfs"),
			   *measured = answer_object(size, "measured");
	bool configured = answer_truth(plan, "configured");

	fputs("A generation that is built, beside those that are kept:\n", out);
	print_row(out, "memory of the guest", answer_number(plan, "memory_bytes"), "");
	print_row(out, "its device state", answer_number(plan, "state_bytes"), "at most");
	print_row(out, "its manifest", answer_number(plan, "manifest_bytes"), "at most");
	print_row(
		out, "generations beside it", answer_number(plan, "retained_bytes"), "");
	print_row(out, "slack", answer_number(plan, "slack_bytes"), "");
	print_row(out, "needed", answer_number(plan, "needed_bytes"), "");
	print_row(out, configured ? "tmpfs_size" : "tmpfs_size = auto",
		answer_number(plan, "tmpfs_bytes"), "");
	fputs("\nWhat there is:\n", out);
	print_row(out, "mounted", answer_number(tmpfs, "size_bytes"),
		answer_truth(tmpfs, "mounted") ? "" : "not yet");
	print_row(out, "used", answer_number(tmpfs, "used_bytes"), "");
	print_row(out, "missing", answer_number(size, "missing_bytes"),
		configured ? "" : "templated adds it");
	if (measured) {
		print_row(out, "newest generation",
			answer_number(measured, "resident_bytes"), "after compaction");
		print_row(out, "its device state", answer_number(measured, "state_bytes"),
			"");
	}
	print_mounts(answer_text(tmpfs, "path"),
		answer_number(plan, "needed_bytes") / MiB, out);
}
