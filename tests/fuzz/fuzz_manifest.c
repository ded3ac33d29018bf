/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest's parser: what it accepts survives being written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/util.h"
#include "mm/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct manifest *m)
{
	_cleanup_json_ struct json_object *obj = manifest_to_json(m);
	const char *text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
	struct manifest again;
	enum manifest_field field;
	int r = manifest_parse(text, strlen(text), &again, NULL);

	/* Escapes can make it longer than what came in. */
	if (r < 0) {
		if (strlen(text) <= 65536)
			abort();
		return;
	}
	if (manifest_same(m, &again, NULL) < 0 ||
		manifest_match(m, &again, &field, NULL) < 0)
		abort();
	manifest_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct manifest m;
	/* json_parse() wants the NUL behind the text that file_read() puts there. */
	_cleanup_free_ char *text = xmalloc(size + 1);

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (manifest_parse(text, size, &m, &err) < 0) {
		if (err.code >= 0 || !*err.text)
			abort();
		return 0;
	}
	check_again(&m);
	manifest_done(&m);
	return 0;
}
