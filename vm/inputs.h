/* SPDX-License-Identifier: Apache-2.0 */
/* The files and the host that a generation depends on: looked at, digested, asked for
 * versions. */
#pragma once

#include "base/config.h"
#include "base/err.h"

/* The kernel must be a bzImage (what QEMU's loader boots on x86) or an ELF vmlinux with a
 * PVH note's header; the initrd a file that is not empty. Errors name the file, what it
 * is, and the key. */
int vm_check_kernel(const struct config *c, struct err *err);
int vm_check_initrd(const struct config *c, struct err *err);
