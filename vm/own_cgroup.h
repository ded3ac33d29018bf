/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup that this process itself is in: templated's, a shim's. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* Whether somebody else is in the cgroup of this process. A systemd service has one by
 * itself. */
bool own_cgroup_is_shared(void);

/*
 * Moves to that one (cgroup_path()), which is made. What it has used before stays charged
 * where it was. On failure it may be in neither or in both. Once, and by one thread.
 */
int own_cgroup_enter(const char *path, struct err *err);

/* Moves back, and removes that unless somebody else is in it. Nothing happens to who has
 * not moved. */
void own_cgroup_leave(void);
/*
 * Removes what processes have left behind that were killed: every cgroup below `parent`
 * whose name begins so and that nobody is in. (Nobody can be about to: who makes one has
 * the lock of numbers until it is in it.)
 */
void own_cgroup_sweep(const char *parent, const char *prefix);
