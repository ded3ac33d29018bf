/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's command line: the one place that says what a Stencil VM is made of. */
#pragma once

#include <stdbool.h>

#include "base/config.h"

/* Descriptors and paths as QEMU finds them; vm/spawn.c puts them there. Fixed, so that
 * every clone of a generation has the same command line. */
#define VM_FD_QMP      3
#define VM_FD_AGENT    4
#define VM_FD_FILES    5
#define VM_PATH_KERNEL "/stencil/kernel"
#define VM_PATH_INITRD "/stencil/initrd"
/* Answered by the open supervisor, never on a disk. */
#define VM_PATH_MEMORY "/stencil/memory"
#define VM_PATH_WINDOW "/stencil/window"

#define VM_CHARDEV_CONSOLE "console" /* ringbuf */
#define VM_CONSOLE_BYTES   16384     /* a power of two, ringbuf insists */

/* On a template's kernel command line: its agent zeroes free memory before it answers
 * (see guest/compact.h). */
#define VM_WORD_COMPACT "stencil.compact"

/*
 * Ports for hot-plugging, a NIC or an image each: port i is slot i of one conventional
 * PCI bridge, the bus VM_PORTS_BUS.
 */
#define VM_PORTS     32
#define VM_PORTS_BUS "ports"

/* A port's address in the guest, its name in /sys/bus/pci/devices: "0000:01:1f.0". */
#define VM_PORT_ADDRESS_SIZE 16
void vm_port_address(unsigned int port, char ret[VM_PORT_ADDRESS_SIZE]);

/* Address space for images as memory (virtio-pmem), beside what DIMMs may need. It costs
 * nothing before it is used. */
#define VM_IMAGES_BYTES ((uint64_t)16 << 30)

enum vm_role {
	VM_ROLE_DIRECT,   /* boots; private memory */
	VM_ROLE_TEMPLATE, /* boots on the generation's memory file, shared */
	VM_ROLE_CLONE,    /* restores; maps the memory file privately */
};

struct vm_machine {
	const struct config *config;
	bool kvm;
};

/* A NULL-terminated argv and its strings, in one allocation list: vm_argv_free(). */
char **vm_argv_new(const struct vm_machine *m, enum vm_role role);
void vm_argv_free(char **argv);

/* The guest's command line for this machine, less VM_WORD_COMPACT;
 * the caller's to free(). */
char *vm_cmdline(const struct vm_machine *m);
