/* SPDX-License-Identifier: Apache-2.0 */
/* Where a pod's VM comes from: a factory for each way, asked from the best one down. */
#pragma once

#include "base/config.h"
#include "base/err.h"
#include "base/trace.h"
#include "templated/lease/client.h"
#include "vm/vm.h"

/*
 *   cache      a VM that templated keeps ready        what fails or is not there
 *   template   a clone of templated's generation      is made up for by the next one,
 *   direct     a cold boot                            with its reason
 *
 * A factory that the configuration has switched off is not asked. Two things end the
 * search: `strict`, where the next one is direct though templates are switched on, and a
 * VM that was silent until its time was up, since a second such wait would outlast
 * containerd's patience.
 */
struct factory_order {
	const struct config *config;
	const char *sandbox;
	struct trace *trace;
	struct vm *vm; /* that is to be started; vm_kill() ends the search */
};

struct factory_result {
	const char *factory; /* the name of the one that gave it */
	char reason[512];    /* why it is not a better one, or "" */
	struct lease lease;  /* what the VM keeps of templated's: for lease_release() */
};

/* The VM is ready and not unique yet. On failure there is nothing to release. */
int factory_start(
	const struct factory_order *order, struct factory_result *ret, struct err *err);
