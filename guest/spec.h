/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's half of fitting a spec to the guest: what its kernel and agent have. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "base/err.h"

/*
 * What names something of the host was taken out or replaced there (shim/spec_guest.h, or
 * Kata's runtime): the host's hooks, devices, CPU numbers, the network namespace. A
 * container without an ipc or uts namespace shares the pod's, which is the guest's;
 * those with a path are the business of namespaces.h. Here goes what the guest's kernel
 * has not: labels of security modules, huge pages, swap, and what cgroup version 2
 * doesn't know; and what only the agent knows is filled in.
 */
struct spec_place {
	const char *container_id;
	const char *pidns_path; /* joined instead of an own pid namespace; NULL: not */
	const char *machine_id; /* file bound over an empty /etc/machine-id; NULL: not */
};

/*
 * Changes config.json in place. Refused: a root or a bind mount that isn't below
 * GUEST_SHARED_ROOT (or /dev, /proc, /sys), and paths that are relative or hold "..".
 */
int spec_adapt(struct json_object *spec, const struct spec_place *place, struct err *err);

/* Gives mounts whose destination leads over a link to nothing the place that it names,
 * see mount_place.h. After spec_adapt(), with the root mounted. */
int spec_place_mounts(struct json_object *spec, struct err *err);

/* Writes into /proc/sys the sysctls of namespaces that the container shares with the
 * guest, which crun would refuse, and takes them out. Call it before spec_adapt(). */
int spec_apply_sysctls(struct json_object *spec, struct err *err);

/* What an exec's process must not bring along (labels). */
void spec_adapt_process(struct json_object *process);

/* An absolute path without "." and ".." components, at most PATH_MAX bytes. */
bool path_is_plain(const char *path);
/* That, and equal to dir or below it. */
bool path_is_below(const char *path, const char *dir);
