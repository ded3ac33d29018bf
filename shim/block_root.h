/* SPDX-License-Identifier: Apache-2.0 */
/* A container's mounts as one file system on a block device, where that is all they
 * are. */
#pragma once

#include <stddef.h>

#include "shim/disk.h"
#include "shim/proto/containerd_types.pb-c.h"

/* Whether the guest can mount it instead of the host. *ret is for block_root_done() in
 * any case. */
struct block_root {
	struct disk_source source; /* the path is the mount's */
	const char *fstype;        /* the mount's */
	char **options;            /* of mount(8), for the guest; strings of the mount */
	size_t n_options;
};
bool block_root_parse(
	Containerd__Types__Mount *const *mounts, size_t n, struct block_root *ret);
void block_root_done(struct block_root *root);
