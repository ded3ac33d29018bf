/* SPDX-License-Identifier: Apache-2.0 */
/* Images of layers that the host plugs, and overlays of them. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/*
 * Waits for the block device of the PCI device at `address` ("0000:01:1f.0") and mounts
 * its EROFS read-only on the folder `at`, which is made. As memory (virtio-pmem) it is
 * mapped without a copy of its pages (dax=always); where the kernel can't, the log tells,
 * and it is read as a disk is.
 */
int image_mount(const char *address, const char *at, struct err *err);

/*
 * Mounts an overlay on the folder `at`, which is made. options: lowerdir=, upperdir= and
 * workdir= of one folder each, all of them below GUEST_SHARED_ROOT. What it writes is
 * what the host's overlay of the same folders would: no index, no metacopy, no redirects.
 */
int overlay_mount(char *const *options, size_t n, const char *at, struct err *err);

/* The data of that mount, the caller's to free(). */
int overlay_parse_options(
	char *const *options, size_t n, char **ret_data, struct err *err);
