/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl size for people: see ctl.h. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "templated/ctl.h"
#include "templated/ctl_answer.h"

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
	struct json_object *plan = answer_object(size, "plan"),
			   *tmpfs = answer_object(size, "tmpfs");
	uint64_t needed = answer_number(plan, "needed_bytes") / MiB;
	const char *path = answer_text(tmpfs, "path");

	print_row(out, "memory of the guest", answer_number(plan, "memory_bytes"), "");
	print_row(out, "its device state", answer_number(plan, "state_bytes"), "at most");
	print_row(out, "its manifest", answer_number(plan, "manifest_bytes"), "at most");
	print_row(
		out, "generations beside it", answer_number(plan, "retained_bytes"), "");
	print_row(out, "slack", answer_number(plan, "slack_bytes"), "");
	print_row(out, "needed", answer_number(plan, "needed_bytes"), "");
	print_row(out,
		answer_truth(plan, "configured") ? "tmpfs_size" : "tmpfs_size = auto",
		answer_number(plan, "tmpfs_bytes"), "");
	print_row(out, "mounted", answer_number(tmpfs, "size_bytes"),
		answer_truth(tmpfs, "mounted") ? "" : "not yet");
	print_row(out, "used", answer_number(tmpfs, "used_bytes"), "");
	print_row(out, "missing", answer_number(size, "missing_bytes"),
		answer_truth(plan, "configured") ? "" : "templated adds it");
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
