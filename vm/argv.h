/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's command line: the one place that says what a Stencil VM is made of. */
#pragma once

#include <stdbool.h>

#include "base/config.h"

/* Descriptors and paths as QEMU finds them; vm/spawn.c puts them there. Fixed, so that
 * every clone of a generation has the same command line. */
#define VM_FD_QMP    3
#define VM_FD_AGENT  4
#define VM_FD_MEMORY 5 /* QEMU 8.2 and later, clones only */
#define VM_PATH_MEMORY                                                                   \
	"/stencil/memory" /* answered by the open supervisor, never on a disk */
#define VM_PATH_MEMORY_FD "/proc/self/fd/5"
#define VM_PATH_KERNEL    "/stencil/kernel"
#define VM_PATH_INITRD    "/stencil/initrd"
#define VM_PATH_EXPORT    "/export"

#define VM_CHARDEV_CONSOLE "console" /* ringbuf */
#define VM_CONSOLE_BYTES   16384     /* a power of two, ringbuf insists */

/* On a template's kernel command line: its agent zeroes free memory before it answers
 * (see guest/compact.h). */
#define VM_WORD_COMPACT "stencil.compact"

/* Root ports for hot-plugging: a NIC or a disk each. */
#define VM_PORTS 8

enum vm_role {
	VM_ROLE_DIRECT,   /* boots; private memory */
	VM_ROLE_TEMPLATE, /* boots on the generation's memory file, shared */
	VM_ROLE_CLONE,    /* restores; maps the memory file privately */
};

struct vm_machine {
	const struct config *config;
	bool kvm;
	unsigned int
		qemu_version; /* major * 10000 + minor * 100 + micro; for clones only */
};

/* From 8.2 QEMU can map a file that it may only read as private and writable (rom=off),
 * and opens it O_RDONLY itself. */
bool vm_opens_memory_readonly(unsigned int qemu_version);

/* A NULL-terminated argv and its strings, in one allocation list: vm_argv_free(). */
char **vm_argv_new(const struct vm_machine *m, enum vm_role role);
void vm_argv_free(char **argv);

/* The guest's command line for this machine, less VM_WORD_COMPACT; the caller's to
 * free(). */
char *vm_cmdline(const struct vm_machine *m);
