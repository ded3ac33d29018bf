/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes base/json: any bytes are parsed or refused, and what was parsed is a fixed
 * point. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ struct json_object *first = NULL, *second = NULL;
	_cleanup_free_ char *printed = NULL;
	struct err err = ERR_INIT;
	const char *again;

	if (json_parse("input", (const char *)data, size, 16, &first, &err) < 0) {
		if (err.code >= 0 || !*err.text)
			abort();
		return 0;
	}
	printed = xstrdup(json_object_to_json_string_ext(first, JSON_C_TO_STRING_PLAIN));
	/* NaN and Infinity, which json-c reads, are printed as no JSON. */
	if (json_parse("output", printed, strlen(printed), 16, &second, &err) < 0)
		return 0;
	again = json_object_to_json_string_ext(second, JSON_C_TO_STRING_PLAIN);
	if (strcmp(printed, again) != 0)
		abort();
	return 0;
}
