/* SPDX-License-Identifier: Apache-2.0 */
/* A number of a cgroup's file: the first line is the key that is looked for, empty for
 * none. What is found stands in the text as it would be written. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_found(const char *text, const char *key, uint64_t value)
{
	char number[32];

	snprintf(number, sizeof(number), "%" PRIu64, value);
	if (!strstr(text, number) && !(value == UINT64_MAX && strstr(text, "max")))
		abort();
	if (*key && !strstr(text, key))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *key = xstrndup((const char *)data, size);
	char *text = strchr(key, '\n');
	uint64_t value = 77;
	int r;

	if (!text)
		return 0;
	*text++ = '\0';
	r = cgroup_parse_number(text, *key ? key : NULL, &value);
	if (r == 0)
		check_found(text, key, value);
	else if (value != 77 || (r != -ENOENT && r != -EBADMSG))
		abort();
	return 0;
}
