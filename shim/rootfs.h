/* SPDX-License-Identifier: Apache-2.0 */
/* File trees for the guest as detached mounts: the host's mount table never sees them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "shim/proto/containerd_types.pb-c.h"

/*
 * How it works: a thread leaves the process's mount namespace for a private copy,
 * mounts what containerd asked for on an empty folder, takes open_tree(2)'s detached
 * clone of it, and ends. Its namespace goes with it; the clone lives for as long as
 * its descriptor, or the namespace it is attached to (vm_export_attach()).
 *
 * All trees are made private, nosuid and nodev: files in them are opened by the file
 * server for a guest, and a device node that the guest made must not lead to a device
 * of the host.
 */

/* mounts are stacked in their order on `folder` (absolute, existing, empty). */
int rootfs_assemble(const char *folder, Containerd__Types__Mount *const *mounts, size_t n,
	int *ret_mount_fd, struct err *err);

enum rootfs_readonly {
	ROOTFS_WRITABLE,
	ROOTFS_READONLY_TOP, /* "ro": not what is mounted below */
	ROOTFS_READONLY_ALL, /* "rro" */
};
/* A tree that is there already, or a single file. */
struct rootfs_tree {
	const char *path;
	bool recursive; /* with what is mounted in it */
	enum rootfs_readonly readonly;
};
int rootfs_clone(const struct rootfs_tree *tree, int *ret_mount_fd, struct err *err);
/* What all trees are, of a detached one: 0 or a negative errno. */
int rootfs_restrict(int mount_fd, enum rootfs_readonly readonly);
