/* SPDX-License-Identifier: Apache-2.0 */
/* The VMs of a host as their records tell: looking at all of them, undoing those that
 * nobody owns any more. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "base/err.h"
#include "vm/record.h"

/*
 * Undoes each VM below state_dir whose owner is gone, of that sandbox or (both names
 * NULL) of any: QEMU, cgroup, uid, folder. VMs with an owner are let be, so anybody may
 * call it at any time, twice, or while another one sweeps. The first failure is the
 * error, further ones are logged; what failed can be swept again.
 */
int vm_sweep(const struct config *c, const char *namespace, const char *sandbox,
	struct err *err);

/* Calls fn for each VM that there is now, in no order.
 * A record that can't be read is passed over. */
void vm_for_each(const struct config *c,
	void (*fn)(void *user, unsigned int number, const struct vm_record *record),
	void *user);
