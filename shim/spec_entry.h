/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of linux.devices in a spec: spec_devices.h and spec_nodes.h share them. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct spec_entry {
	const char *path; /* in the container; the spec's memory */
	char type;        /* as in mknod(1): b, c, u (a c, too) or p */
	dev_t dev;        /* the host's; of a p nothing is said */
};

int spec_entry_read(struct json_object *entry, struct spec_entry *ret, struct err *err);
/* A block device of the host, but for a loop device that nothing is attached to: the
 * guest has free ones of its own. */
bool spec_entry_is_disk(const struct spec_entry *entry);
