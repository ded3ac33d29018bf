/* SPDX-License-Identifier: Apache-2.0 */
/* A container's cgroup (version 2): limits, freezing, killing, removing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent-client/proto/oci.pb-c.h"
#include "base/err.h"

/* Group of container <id>: CGROUP_PARENT/<id>, as spec.c tells crun. */
#define CGROUP_PARENT "/stencil"

int cgroup_open(const char *container_id, int *ret_dirfd, struct err *err);
/* What crun does for others. */
int cgroup_create(const char *container_id, int *ret_dirfd, struct err *err);

/* Applies what is set of memory limit and reservation, cpu shares, quota and period,
 * pids. */
int cgroup_update(
	const char *container_id, const Grpc__LinuxResources *resources, struct err *err);

/* Freezes or thaws; returns when the kernel says that all of it is. */
int cgroup_freeze(
	const char *container_id, bool frozen, int64_t deadline, struct err *err);

/* Calls `visit` for every process of the group and the groups below it, while it answers
 * 0. */
typedef int (*cgroup_visitor)(void *user, pid_t pid);
int cgroup_visit(
	const char *container_id, cgroup_visitor visit, void *user, struct err *err);

/* Sends signal to every process of the group and the groups below it. */
int cgroup_signal(const char *container_id, int signal, struct err *err);

/* Kills what is left, waits for its end, removes the groups. Fine if there is none. */
int cgroup_destroy(const char *container_id, int64_t deadline, struct err *err);

/* The number a file begins with, or the one behind `key` in one of "key number" lines;
 * "max" is UINT64_MAX. -ENOENT: no such file or line; -EBADMSG: not a number. */
int cgroup_read_number(int dirfd, const char *file, const char *key, uint64_t *ret);
/* The same in a text that was read. */
int cgroup_parse_number(const char *text, const char *key, uint64_t *ret);

/* Negative: "max". */
int cgroup_write_number(int dirfd, const char *file, int64_t value, struct err *err);

/* cpu.weight (1…10000) of cpu.shares (2…262144), as OCI runtimes convert it. */
uint64_t cgroup_weight_of_shares(uint64_t shares);
