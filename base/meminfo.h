/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/meminfo. */
#pragma once

#include <stdint.h>

/* The value of a line of such a text, "Name:   123 kB", in bytes: 0, -ENOENT or
 * -EBADMSG. */
int meminfo_parse(const char *text, const char *name, uint64_t *ret_bytes);
/* The text of this machine, now; the caller's to free(). As file_read(). */
int meminfo_read(char **ret_text);
