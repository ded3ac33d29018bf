/* SPDX-License-Identifier: Apache-2.0 */
/* Storages: file systems that the host asks the guest to mount. */
#pragma once

#include <stddef.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"

/*
 * Mounts the storages in their order; on failure those mounted are unmounted again.
 * Drivers: "stencil-files" (source: the number of a mount of the pod's file server;
 * options: flags, and rootmode=40000 for a folder, the type of stat(2) in octal for
 * others), "ephemeral" (a tmpfs), "stencil-shm" (one that stays), "local" (a folder),
 * "blk" (what a block device has, of type fstype), "stencil-image" (the source of both: a
 * PCI address) and "overlay" (image.h). Mount points are below GUEST_SHARED_ROOT. One
 * where a tmpfs or an image is mounted already is shared, as Kata's agent does it: the
 * first one's file system stays until the last has gone. All others are each on a mount
 * point of their own. *ret_mounts (n strings, the caller's) is what storage_unmount()
 * takes back.
 */
int storage_mount(Grpc__Storage *const *storages, size_t n, char ***ret_mounts,
	size_t *ret_n, struct err *err);

/* Unmounts backwards, and frees the list. One that can't
 * be unmounted is detached and logged. */
void storage_unmount(char ***mounts, size_t *n);

/* Mount options in words: the flags that mount(2) has as bits, and the rest with commas
 * between, the caller's to free(). */
int storage_parse_options(char *const *options, size_t n, unsigned long *ret_flags,
	char **ret_data, struct err *err);
