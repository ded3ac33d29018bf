/* SPDX-License-Identifier: Apache-2.0 */
/* The sizing of the template tmpfs: each term of the sum, for people and the check. */
#pragma once

#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "base/json.h"

/*
 * The tmpfs must hold one generation being built beside those retained:
 *
 *   memory     the guest's memory, allocated in full before the boot (default_memory)
 *   state      the device state; its bound before there is one
 *   manifest   the manifest
 *   retained   the current and the retired generations: what they hold now or, where
 *              nothing is known yet, one generation as large as the one being built
 *   slack      a sixteenth of all that, at least 8 MiB: page tables, folders, growth
 */
#define SIZE_STATE_BYTES    (8 * MiB)
#define SIZE_MANIFEST_BYTES (64u << 10)

struct size_plan {
	uint64_t memory_bytes;
	uint64_t state_bytes;
	uint64_t manifest_bytes;
	uint64_t retained_bytes;
	uint64_t slack_bytes;
	uint64_t total_bytes; /* the sum, in whole MiB: what is needed */
	uint64_t tmpfs_bytes; /* to mount: what is configured; total_bytes for "auto" */
	bool configured;      /* tmpfs_size is not auto */
};

/* retained_bytes: used in the tmpfs now; SIZE_UNKNOWN before anything was built. */
#define SIZE_UNKNOWN UINT64_MAX
void size_plan(const struct config *c, uint64_t retained_bytes, struct size_plan *ret);

/* -ENOSPC with what is needed, what there is and the key to change, in bytes and MiB, if
 * the configured size is too small for the plan. */
int size_check(const struct size_plan *plan, struct err *err);

struct json_object *size_to_json(const struct size_plan *plan);
