/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's own devices that containers may have. */
#pragma once

#include <json-c/json.h>
#include <sys/stat.h>

#include "base/err.h"

/*
 * Only what no hardware is behind, that is neither disks and channels of the VM nor what
 * the host may reach by them: devices that sysfs has as virtual, and nodes of modules
 * that are loaded when they are opened.
 */

/* Once, when the guest starts: nodes in /dev for modules that are not loaded yet. */
int nodes_init(struct err *err);

/* The node at a path below /dev. -ENODEV: there is none; -EPERM: it is no container's. */
int node_find(const char *path, struct stat *ret, struct err *err);

/* Adds all there are to linux.devices of a spec, but for paths that are in it. */
int nodes_add(struct json_object *spec, struct err *err);
