/* SPDX-License-Identifier: Apache-2.0 */
/* The template tmpfs: mounted if it isn't, checked if it is, grown, opened, unmounted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Template memory lives in a tmpfs of its own, so that its size has a limit and nothing
 * else is in it. What is found at `path` is checked before it is used: no symbolic link
 * on the way, no folder on the way that others may write to, a tmpfs mounted exactly
 * there from its root, owned by root, mode 0750 or stricter, nosuid, nodev and noexec.
 * Errors name what is wrong and what to do.
 */
#define TMPFS_MODE 0750

struct tmpfs_usage {
	bool mounted;
	uint64_t size_bytes, used_bytes;
};

/* Checks the way to path and what is mounted there. Not mounted is fine: ret->mounted is
 * false. */
int tmpfs_look(const char *path, struct tmpfs_usage *ret, struct err *err);

/*
 * Afterwards a checked tmpfs of at least size_bytes is mounted at path: mounted (the
 * folder is made if it is missing, and must be empty otherwise), or grown by a remount,
 * which running clones do not notice. Never shrinks.
 */
int tmpfs_ensure(const char *path, uint64_t size_bytes, struct err *err);

/*
 * A descriptor of the tmpfs' root, O_PATH-free and fit for openat(2). With `readonly` it
 * belongs to a detached mount of the same tmpfs with MOUNT_ATTR_RDONLY: a file opened
 * through it can't be reopened for writing, chmod'ed or touched by way of its descriptor
 * (/proc/self/fd), not even with CAP_DAC_OVERRIDE and CAP_FOWNER, and does not keep the
 * mount at path busy.
 */
int tmpfs_open(const char *path, bool readonly, int *ret_fd, struct err *err);

/* Unmounts; not mounted is fine. Who has a file or a working folder in it keeps that, and
 * holds nobody up: a look at our descriptors in /proc, or a child on its way to exec,
 * would do so for a moment. The empty folder stays. */
int tmpfs_unmount(const char *path, struct err *err);
