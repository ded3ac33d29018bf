/* SPDX-License-Identifier: Apache-2.0 */
/* What was plugged into the running guest. */
#pragma once

/* How many CPUs a list of the kernel's kind has ("0-2,5");
 * what follows nonsense is not counted. */
unsigned int hotplug_count_cpus(const char *list);

/* No CPU is brought online between the two: for who makes the kernel look for PCI
 * devices, which it then refuses (EBUSY), and tells nobody when it is over. */
void hotplug_hold_cpus(void);
void hotplug_let_cpus(void);
