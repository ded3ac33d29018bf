/* SPDX-License-Identifier: Apache-2.0 */
/* Values of an answer, for screens: what is missing is shown as nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

static inline struct json_object *answer_object(struct json_object *obj, const char *key)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, key, &value);
	return value;
}

static inline uint64_t answer_number(struct json_object *obj, const char *key)
{
	uint64_t value = 0;

	json_get_u64(obj, key, &value, NULL);
	return value;
}

static inline const char *answer_text(struct json_object *obj, const char *key)
{
	const char *value = "";

	json_get_string(obj, key, &value, NULL);
	return value;
}

static inline bool answer_truth(struct json_object *obj, const char *key)
{
	bool value = false;

	json_get_bool(obj, key, &value, NULL);
	return value;
}

/* "42 s", "17 min", "5 h", "12 days" */
const char *answer_age(char buf[24], uint64_t seconds);

static inline double to_mib(uint64_t bytes)
{
	return (double)bytes / (double)MiB;
}
