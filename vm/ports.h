/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a VM's hot-plug ports are in use. */
#pragma once

#include <stdint.h>

/* Begins with all zero. Not thread-safe. */
struct ports {
	uint32_t taken; /* bit i: port i */
};

/* The lowest free port, which is taken now; VM_PORTS (vm/argv.h): none is free. */
unsigned int ports_take(struct ports *p);
/* How many are free. */
unsigned int ports_free(const struct ports *p);
/* Gives back one that was taken: its device has gone, or never came. */
void ports_give(struct ports *p, unsigned int port);
