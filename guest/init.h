/* SPDX-License-Identifier: Apache-2.0 */
/* Making a machine out of a kernel and an initramfs: mounts, modules, loopback. */
#pragma once

#include "base/err.h"

/* Where what the agent itself needs is kept, on a tmpfs. */
#define GUEST_RUN_DIR    "/run/stencil"
#define GUEST_CGROUP_DIR "/sys/fs/cgroup"
/* Everything the host may name as a place for files is below this folder. */
#define GUEST_SHARED_ROOT "/run/kata-containers"

/*
 * As PID 1: mounts what a guest needs, loads the boot and later modules of MODULE_LIST,
 * sets lo up. Done once, before any thread.
 */
int init_guest(struct err *err);
