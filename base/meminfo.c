/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/meminfo: see meminfo.h. */
#include "base/meminfo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"

int meminfo_parse(const char *text, const char *name, uint64_t *ret_bytes)
{
	size_t len = strlen(name);
	uint64_t kib;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) != 0 || line[len] != ':')
			continue;
		if (sscanf(line + len + 1, " %" SCNu64 " kB", &kib) != 1 ||
			__builtin_mul_overflow(kib, (uint64_t)1024, ret_bytes))
			return -EBADMSG;
		return 0;
	}
	return -ENOENT;
}

int meminfo_read(char **ret_text)
{
	size_t len;

	return file_read(AT_FDCWD, "/proc/meminfo", 65536, ret_text, &len, NULL);
}
