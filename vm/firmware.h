/* SPDX-License-Identifier: Apache-2.0 */
/* What QEMU loads besides itself: firmware, option ROMs, modules. */
#pragma once

#include <nettle/sha2.h>
#include <stddef.h>

#include "base/err.h"

/* The folders that this QEMU may load from, present or not: below its own prefix
 * (/opt/qemu/bin/…) and below /usr. Ends with NULL, for firmware_folders_free(). */
char **firmware_folders_new(const char *qemu_path);
void firmware_folders_free(char **folders);

/*
 * A digest over names and contents of the files in them. Kept as long as no file's stat
 * identity changes: a second call costs a stat(2) a file. Begin with all zero; not
 * thread-safe.
 */
struct firmware {
	uint8_t stamp[SHA256_DIGEST_SIZE]; /* over the stat identities */
	char digest[2 * SHA256_DIGEST_SIZE + 1];
};

int firmware_look(char *const *folders, struct firmware *f, struct err *err);
