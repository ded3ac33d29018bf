/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices that the host plugs, by their address on the guest's PCI bus. */
#pragma once

#include <sys/types.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"

#define BLOCK_NAME_SIZE 32

struct block {
	char name[BLOCK_NAME_SIZE]; /* in /dev: "vda" */
	dev_t dev;
};

/* Waits until the block device of the PCI device at `address` ("0000:01:1f.0") can be
 * opened. */
int block_find(const char *address, struct block *ret, struct err *err);

/* Mounts the file system on one: the storage's source is its address. */
int block_mount(const Grpc__Storage *storage, struct err *err);
