/* SPDX-License-Identifier: Apache-2.0 */
/* What was plugged into the running guest. */
#pragma once

/* How many CPUs a list of the kernel's kind has ("0-2,5"); what follows nonsense is not
 * counted. */
unsigned int hotplug_count_cpus(const char *list);
