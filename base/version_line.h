/* SPDX-License-Identifier: Apache-2.0 */
/* What a program says that it is. */
#pragma once

/* The first line of what `<path> --version` writes to standard output, the caller's to
 * free(), or a negative errno: it does not run, it writes more than 4 KiB or for longer
 * than 10 s. How it ends does not count. */
int version_line_of(const char *path, char **ret_line);
