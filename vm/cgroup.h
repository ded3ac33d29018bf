/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's own cgroup, on hosts with cgroup v2, v1 or both. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"

#define CGROUP_MAX        4 /* hierarchies joined */
#define CGROUP_PATH_BYTES 256

/* "<cgroup_parent>/<name>" of this configuration. */
void cgroup_path(const struct config *c, const char *name, char ret[CGROUP_PATH_BYTES]);
/* Whether that is what a path of ours may look like: relative, without "." and "..",
 * shorter than CGROUP_PATH_BYTES. */
bool cgroup_path_valid(const char *path);

/*
 * Where a CRI says in which cgroup a pod is, the VM's lies in that one, and is called
 * CGROUP_IN_POD_PREFIX and a name. The pod's is somebody else's (the kubelet's,
 * systemd's): it has to be there, is neither made nor removed, and but for handing down
 * controllers to what is in it is not changed.
 *
 * cgroup_pod_of() reads it off an OCI runtime-spec's cgroupsPath for a container of the
 * pod, in the form of a path ("/kubepods/pod1/id") or in systemd's
 * ("kubepods-pod1.slice:cri-containerd:id"); false: that names none.
 */
#define CGROUP_IN_POD_PREFIX "stencil-"
bool cgroup_pod_of(const char *cgroups_path, char ret[CGROUP_PATH_BYTES]);
/* -ENAMETOOLONG. */
int cgroup_path_in_pod(
	const char *pod, const char *name, char ret[CGROUP_PATH_BYTES], struct err *err);
bool cgroup_is_in_pod(const char *path);

/* The mounted roots of the hierarchies that matter; returns how many. */
unsigned int cgroup_hierarchies(char paths[CGROUP_MAX][64]);
/* Whether that root is the unified hierarchy's. */
bool cgroup_is_unified(const char *root);

/*
 * A group is named by its path below the root of each hierarchy that matters: the unified
 * one, or v1's memory, cpu and pids, and with them the unified one if it has one of
 * these controllers (a hybrid host): <cgroup_parent>/<name>, see cgroup_path().
 * procs_fds gets an open cgroup.procs for each, -1 in unused places; the caller closes
 * them. A host without any cgroup mount is fine: all are -1.
 */
int cgroup_create(const char *path, int procs_fds[CGROUP_MAX], struct err *err);

/* The same for a group that is there. */
int cgroup_open(const char *path, int procs_fds[CGROUP_MAX], struct err *err);

enum cgroup_limit {
	CGROUP_MEMORY, /* bytes, of the kernel's for it, too */
	CGROUP_PIDS,   /* processes and threads */
	CGROUP_CPU,    /* thousandths of a CPU */
	CGROUP_SHARES, /* of the CPUs when others want them, as v1 counts: 2 to 262144 */
	CGROUP_LIMITS
};
/* What the group may use; 0: as much as there is, or the kernel's own value of shares.
 * -EOPNOTSUPP where no hierarchy has the controller for it. */
int cgroup_limit(
	const char *path, enum cgroup_limit limit, uint64_t value, struct err *err);
/* How many of its processes were killed since it was made because it had used up its
 * memory. */
uint64_t cgroup_oom_kills(const char *path);

/* Kills what is in the group, until nothing is. */
void cgroup_kill(const char *path);

/* Removes an empty group, and its parent if it was the last in it. One that isn't there
 * is fine. Groups of one parent are made and removed under vm_number_lock(). */
int cgroup_remove(const char *path, struct err *err);
