/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's own cgroup, on hosts with cgroup v2, v1 or both. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "base/err.h"

#define CGROUP_MAX        4 /* hierarchies joined */
#define CGROUP_PATH_BYTES 256

/* "<cgroup_parent>/<name>" of this configuration. */
void cgroup_path(const struct config *c, const char *name, char ret[CGROUP_PATH_BYTES]);
/* Whether that is what a path of ours may look like: relative, without "." and "..",
 * shorter than CGROUP_PATH_BYTES. */
bool cgroup_path_valid(const char *path);

/* The mounted roots of the hierarchies that matter; returns how many. */
unsigned int cgroup_hierarchies(char paths[CGROUP_MAX][64]);

/*
 * A group is named by its path below the root of each hierarchy that matters (the unified
 * one, or v1's memory, cpu and pids): <cgroup_parent>/<name>, see cgroup_path().
 * procs_fds gets an open cgroup.procs for each, -1 in unused places; the caller closes
 * them. A host without any cgroup mount is fine: all are -1.
 */
int cgroup_create(const char *path, int procs_fds[CGROUP_MAX], struct err *err);

/* The same for a group that is there. */
int cgroup_open(const char *path, int procs_fds[CGROUP_MAX], struct err *err);

/* What the group may use in percent of one CPU; 0: as much as there is. -EOPNOTSUPP where
 * no hierarchy has the cpu controller for it. */
int cgroup_limit_cpu(const char *path, unsigned int percent, struct err *err);

/* Kills what is in the group, until nothing is. */
void cgroup_kill(const char *path);

/* Removes an empty group, and its parent if it was the last in it. One that isn't there
 * is fine. Groups of one parent are made and removed under vm_number_lock(). */
int cgroup_remove(const char *path, struct err *err);
