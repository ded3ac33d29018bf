/* SPDX-License-Identifier: Apache-2.0 */
/* A block device of the host, or a file that is to be one in the guest, opened. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct disk {
	int fd;
	bool is_device; /* else a regular file */
	bool readonly;
	bool exclusive; /* the host can't mount it as long as fd is open somewhere */
	dev_t dev;      /* the device's number */
	unsigned int logical_bytes, physical_bytes; /* the device's sectors */
};
#define DISK_INIT ((struct disk){.fd = -1})

/* A block device by its number alone, whatever the host's /dev has. Where the device
 * itself can't be written to it is read-only. */
int disk_open_device(dev_t dev, bool readonly, struct disk *ret, struct err *err);

/* By its path, for its file system: nobody else on the host may have that mounted
 * (-EBUSY). is_file: a regular file, and no device. */
struct disk_source {
	const char *path;
	bool is_file, readonly;
};
int disk_open_source(const struct disk_source *source, struct disk *ret, struct err *err);

/* Of one that is DISK_INIT, too. */
void disk_done(struct disk *disk);
