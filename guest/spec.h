/* SPDX-License-Identifier: Apache-2.0 */
/* A container's OCI spec as the host wrote it, made into one that holds inside the guest.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "base/err.h"

struct spec_place {
	const char *container_id;
	const char
		*pidns_path; /* joined instead of a pid namespace of its own; NULL: not */
	const char *machine_id; /* file bound over an empty /etc/machine-id; NULL: not */
};

/*
 * Changes config.json in place. Dropped, because the guest has not what they name: hooks,
 * AppArmor and SELinux labels, cpuset, block and hugepage limits, what cgroup version 2
 * doesn't know, the network namespace (containers share the guest's). ipc and uts
 * namespaces with a path are those of the pod, which is the guest. Sysctls of namespaces
 * that are so shared are applied to the guest by spec_apply_sysctls(). Refused: a root or
 * a bind mount that isn't below GUEST_SHARED_ROOT (or /dev, /proc, /sys), and paths
 * that are relative or hold "..".
 */
int spec_adapt(struct json_object *spec, const struct spec_place *place, struct err *err);

/* Writes into /proc/sys what spec_adapt() would leave for crun to refuse, and takes it
 * out. Call it before spec_adapt(). */
int spec_apply_sysctls(struct json_object *spec, struct err *err);

/* Whether the spec joins the pid namespace of another container: it has a path. */
bool spec_shares_pid(struct json_object *spec);

/* What an exec's process must not bring along (labels). */
void spec_adapt_process(struct json_object *process);

/* An absolute path without "." and ".." components, at most PATH_MAX bytes. */
bool path_is_plain(const char *path);
/* That, and equal to dir or below it. */
bool path_is_below(const char *path, const char *dir);
