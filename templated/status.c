/* SPDX-License-Identifier: Apache-2.0 */
/* daemon_status()'s answer: see status.h. */
#include "templated/status.h"

#include <stdbool.h>
#include <string.h>

static bool status_fits(struct json_object *status)
{
	size_t len;

	json_object_to_json_string_length(
		status, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	return len <= STATUS_BYTES_MAX;
}

static bool is_current(struct json_object *generation)
{
	const char *state = "";

	json_get_string(generation, "state", &state, NULL);
	return strcmp(state, "retired") != 0;
}

void status_fit(struct json_object *status)
{
	static const char *const keys[] = {"clones", "manifest"};
	struct json_object *list = NULL;

	if (status_fits(status) ||
		!json_object_object_get_ex(status, "template", &list) ||
		!json_object_object_get_ex(list, "generations", &list))
		return;
	json_set_bool(status, "truncated", true);
	for (size_t k = 0; k < ARRAY_SIZE(keys) && !status_fits(status); k++) {
		for (size_t i = 0; i < json_object_array_length(list); i++) {
			struct json_object *g = json_object_array_get_idx(list, i);

			if (k == 0 || !is_current(g))
				json_object_object_del(g, keys[k]);
		}
	}
	/* Of hundreds of retired ones the newest are told. */
	while (!status_fits(status) && json_object_array_length(list) > 1)
		json_object_array_del_idx(list, 0, 1);
}
