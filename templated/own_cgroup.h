/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup that the template's memory is charged to: templated's own. */
#pragma once

#include "base/config.h"

/*
 * The pages of the template belong to the cgroup of the process that allocated them, and
 * stay after it has ended. Where this process shares its cgroup with others (a shell's,
 * a container's), it moves to <cgroup_parent>/templated, so that the template is counted
 * by itself. A cgroup without others in it (a systemd service's) is kept. A host where it
 * can't move is logged and no failure. Before there are threads.
 */
void own_cgroup_enter(const struct config *c);

/* Moves back and removes that, unless another templated is in it. */
void own_cgroup_leave(void);
