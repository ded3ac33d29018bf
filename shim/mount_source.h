/* SPDX-License-Identifier: Apache-2.0 */
/* What the source of a bind mount is: files of the host, or a kernel's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Whether the guest's own is meant: what a kernel file system shows (proc, sysfs, cgroup,
 * devpts, mqueue and the like), and what lies in /dev itself, are a kernel's, and the
 * container has another one. By what is there, whichever path leads to it; where nothing
 * is, by the nearest folder above. Files of a tmpfs below /dev are files.
 */
bool mount_source_is_kernels(const char *source);
/* The same of what has been taken for the guest since, by a descriptor of it: -EPERM,
 * since somebody has changed meanwhile where the source leads. */
int mount_source_check(int fd, const char *source, struct err *err);

/* A folder of a tmpfs: what another one needs to be like it. */
struct mount_tmpfs {
	uint64_t device, inode; /* by which it is known */
	unsigned long flags;    /* MS_NOSUID, MS_NODEV, MS_NOEXEC */
	unsigned int mode, uid, gid;
	uint64_t bytes; /* 0: without a limit */
};
/* Whether source is one; ret may be NULL. */
bool mount_source_tmpfs(const char *source, struct mount_tmpfs *ret);
/* The memory that files of what has been taken may use: the size of its tmpfs, UINT64_MAX
 * where that has no limit, 0 where it is on a disk, or can't be written to. */
uint64_t mount_source_memory_bytes(int fd);
