/* SPDX-License-Identifier: Apache-2.0 */
/* templatectl images for people: see ctl.h. */
#include <inttypes.h>
#include <time.h>

#include "base/util.h"
#include "templated/ctl.h"
#include "templated/ctl_answer.h"

const char *answer_age(char buf[24], uint64_t seconds)
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

/* How long ago; a clock that was set back makes nothing older than now. */
static const char *answer_since(char buf[24], uint64_t when)
{
	uint64_t now = (uint64_t)time(NULL);

	return answer_age(buf, now > when ? now - when : 0);
}

static void print_image(struct json_object *image, FILE *out)
{
	char made[24], used[24];

	fprintf(out, "%-12.12s %10.1f %6" PRIu64 " %6" PRIu64 "  %-9s %9.1f  %s\n",
		answer_text(image, "key"), to_mib(answer_number(image, "bytes")),
		answer_number(image, "users"), answer_number(image, "layers"),
		answer_since(made, answer_number(image, "made")),
		(double)answer_number(image, "making_ms") / 1000,
		answer_since(used, answer_number(image, "used")));
}

void ctl_print_images(struct json_object *images, FILE *out)
{
	struct json_object *list = answer_object(images, "images"),
			   *making = answer_object(images, "making");

	fprintf(out, "%-12s %10s %6s %6s  %-9s %9s  %s\n", "IMAGE", "MiB", "USERS",
		"LAYERS", "MADE", "SECONDS", "USED");
	for (size_t i = 0; i < (list ? json_object_array_length(list) : 0); i++)
		print_image(json_object_array_get_idx(list, i), out);
	if (making)
		fprintf(out, "%-12.12s %10.1f %6s %6" PRIu64 "  %-9s %9.1f\n",
			answer_text(making, "key"),
			to_mib(answer_number(making, "bytes")), "-",
			answer_number(making, "layers"), "now",
			(double)answer_number(making, "ms") / 1000);
	fprintf(out, "%.1f of %.0f MiB in %s\n", to_mib(answer_number(images, "bytes")),
		to_mib(answer_number(images, "max_bytes")), answer_text(images, "path"));
	if (answer_truth(images, "truncated"))
		fputs("There are more than one message holds: those used last are "
		      "shown.\n",
			out);
}
