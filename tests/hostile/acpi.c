/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks of the firmware's registers for hot-plug, which the guest's ACPI code uses. */
#include <linux/io.h>
#include <linux/kernel.h>

#include "tests/hostile/hostile.h"

/*
 * Of QEMU: docs/specs/acpi_cpu_hotplug.rst, acpi_mem_hotplug.rst, acpi_pci_hotplug.rst;
 * the bases are those of q35 (include/hw/acpi/ich9.h, pcihp.h).
 */
#define CPU_BASE     0x0cd8
#define CPU_SELECTOR (CPU_BASE + 0)
#define CPU_COMMAND  (CPU_BASE + 5)
#define CPU_DATA     (CPU_BASE + 8)
#define CPU_BYTES    12
#define OST_STATUS   2

#define MEMORY_BASE  0x0a00
#define MEMORY_BYTES 24

#define PCI_BASE   0x0cc0
#define PCI_BYTES  24
#define PCI_EJECT  (PCI_BASE + 8)
#define PCI_SELECT (PCI_BASE + 16)

/* _OST for the first CPU: with the status written QEMU tells it as an event. */
int ost_attack(void)
{
	int r = 0;

	outl(0, CPU_SELECTOR);
	outb(OST_STATUS, CPU_COMMAND);
	for (u32 i = 0; r == 0; i++) {
		outl(i, CPU_DATA);
		if (i % 64 == 0)
			r = attack_go_on();
	}
	return r;
}

/* A register of a bank, of a width that it may have. */
static void write_register(u16 base, u16 bytes, u32 value)
{
	u16 at = base + attack_random() % bytes;

	switch (attack_random() % 3) {
	case 0:
		outb(value, at);
		break;
	case 1:
		outw(value, at);
		break;
	default:
		outl(value, at & ~3);
		break;
	}
}

/* Anything, everywhere, and small numbers, which name something; then all that can be
 * ejected is. */
int hotplug_attack(void)
{
	static const struct {
		u16 base, bytes;
	} banks[] = {{CPU_BASE, CPU_BYTES}, {MEMORY_BASE, MEMORY_BYTES},
		{PCI_BASE, PCI_BYTES}};
	int r = 0;

	for (u32 i = 0; r == 0; i++) {
		u32 value = attack_random() % 2 ? attack_random() : attack_random() % 16;

		write_register(banks[i % 3].base, banks[i % 3].bytes, value);
		if (i >= 1000) {
			outl(i % 4, PCI_SELECT);
			outl(1u << attack_random() % 32, PCI_EJECT);
		}
		if (i % 64 == 0)
			r = attack_go_on();
	}
	return r;
}
