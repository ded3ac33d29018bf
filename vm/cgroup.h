/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's own cgroup, on hosts with cgroup v2, v1 or both. */
#pragma once

#include "base/err.h"

#define CGROUP_MAX 4 /* hierarchies joined */

/* The mounted roots of the hierarchies that matter; returns how many. */
unsigned int cgroup_hierarchies(char paths[CGROUP_MAX][64]);

/*
 * The group is stencil/<name> below the root of each hierarchy that matters: the unified
 * one, or v1's memory, cpu and pids. procs_fds gets an open cgroup.procs for each, -1 in
 * unused places; the caller closes them. A host without any cgroup mount is fine: all are
 * -1.
 */
int cgroup_create(const char *name, int procs_fds[CGROUP_MAX], struct err *err);

/* What the group may use in percent of one CPU; 0: as much as there is. -EOPNOTSUPP where
 * no hierarchy has the cpu controller for it. */
int cgroup_limit_cpu(const char *name, unsigned int percent, struct err *err);

/* Kills what is still in the group, waits for it to be empty, removes it, and stencil/
 * too if it was the last. A group that isn't there is fine. */
int cgroup_remove(const char *name, struct err *err);
