/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel says of a device by its numbers: the host's of one that a spec names, the
 * guest's of its own. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* No hardware is behind it: the kernel keeps such devices below one folder of sysfs. */
bool device_is_virtual(bool is_block, dev_t dev);
/* There is a driver for it at present. */
bool device_has_driver(bool is_block, dev_t dev);
/* Where devtmpfs has its node, "/dev/net/tun"; the caller's. NULL without a driver. */
char *device_node_path(bool is_block, dev_t dev);
/* A file of its folder in sysfs; the caller's. "": the folder. */
char *device_sysfs_path(bool is_block, dev_t dev, const char *file);
