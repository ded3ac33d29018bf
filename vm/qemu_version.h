/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a QEMU program for its version. */
#pragma once

#include "base/err.h"

#define QEMU_VERSION_MIN 70200 /* 7.2.0: the oldest that was tried */

/* major * 10000 + minor * 100 + micro from the first line of --version ("QEMU emulator
 * version 7.2.22 (Debian …)"); a negative errno for any other text. */
int qemu_version_parse(const char *line);

/* First line of `<path> --version`. A program that is no QEMU, or older than 7.2, is an
 * error that says so. *ret_line is the caller's to free(). */
int vm_qemu_version(const char *path, char **ret_line, struct err *err);
