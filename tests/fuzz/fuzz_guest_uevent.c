/* SPDX-License-Identifier: Apache-2.0 */
/* A device event as bytes: the first string is the subsystem that is looked for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest/uevent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same by a search for the line with a NUL on either side. */
static bool is_there(const char *message, size_t len, const char *subsystem)
{
	_cleanup_free_ char *line = xasprintf("SUBSYSTEM=%s", subsystem);
	_cleanup_free_ char *bounded = xzalloc(len + 2);

	memcpy(bounded + 1, message, len);
	for (const char *p = bounded; p <= bounded + len; p++)
		if (*p == '\0' && p < bounded + len && strcmp(p + 1, line) == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *subsystem = xstrndup((const char *)data, size);
	size_t skip = MIN(strlen(subsystem) + 1, size);
	const char *message = (const char *)data + skip;

	if (uevent_has_subsystem(message, size - skip, subsystem) !=
		is_there(message, size - skip, subsystem))
		abort();
	return 0;
}
