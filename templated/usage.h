/* SPDX-License-Identifier: Apache-2.0 */
/* What each clone has of its template's memory: its own copies, and what it shares. */
#pragma once

#include <stdint.h>

#include "base/config.h"
#include "base/json.h"

/*
 * The pages come from /proc/<QEMU>/smaps, which the kernel counts page by page:
 * milliseconds for a large guest. So one look measures for USAGE_LOOK_MS at most, but one
 * QEMU at least, those first whose numbers are oldest; the others are told as they were
 * at their last turn, or, never measured, without numbers. Of two looks at once only one
 * measures.
 * Thread-safe; holds no lock of others.
 */
#define USAGE_LOOK_MS 15

struct usage;
struct usage *usage_new(void);
void usage_free(struct usage *u);

/*
 * Adds to each generation of store_status()'s answer
 *   "private_bytes", "shared_bytes"   the sums of
 *   "clones": [{"sandbox", "pid", "private_bytes", "shared_bytes"}…]
 * and takes "sandboxes", the names of those who hold a lease of it, out. Clones are what
 * the records of the VMs say (vm/sweep.h); a holder without one (its VM has not started,
 * or is gone) has only "sandbox".
 */
void usage_add(struct usage *u, const struct config *c, struct json_object *status);
