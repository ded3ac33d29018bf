/* SPDX-License-Identifier: Apache-2.0 */
/* The files and the host that a generation depends on: looked at, digested, asked for
 * versions. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "base/err.h"
#include "mm/manifest.h"

/*
 * What this host and configuration make of a VM: `want` for manifest_match(), settings
 * resolved (accelerator proved, QEMU asked for its version). Digests of files are cached
 * by their stat identity in the struct, so a second call on the same struct costs a few
 * stat(2)s.
 */
struct vm_inputs;
struct vm_inputs *vm_inputs_new(void);
void vm_inputs_free(struct vm_inputs *inputs);
/* Errors name the file and what is wrong with it: a kernel that is missing or neither
 * bzImage nor ELF, a missing initrd, a QEMU that is not one. `ret` holds the fields of
 * the inputs only. */
int vm_inputs_collect(struct vm_inputs *inputs, const struct config *c,
	struct manifest *ret, struct err *err);
/* Calls fn for each file, and each folder with the files in it, that the above looks at;
 * some may be missing. */
void vm_inputs_paths(const struct config *c,
	void (*fn)(void *user, const char *path, bool folder), void *user);

/* The kernel must be a bzImage (what QEMU's loader boots on x86) or an ELF vmlinux with a
 * PVH note's header; the initrd a file that is not empty. Errors name the file, what it
 * is, and the key. */
int vm_check_kernel(const struct config *c, struct err *err);
int vm_check_initrd(const struct config *c, struct err *err);
