/* SPDX-License-Identifier: Apache-2.0 */
/* The block devices that a spec gives to its container. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define SPEC_DEVICES_MAX 32

struct spec_device {
	char *path; /* in the container */
	dev_t dev;  /* the host's */
	bool readonly;
};

/*
 * Those of linux.devices that a rule of the device cgroup names by their numbers, as it
 * is for "--device" and a pod's block volumes. Without one they are there because all of
 * the host's are ("--privileged"), which is no reason to take the host's disks: these go
 * out of linux.devices, and the log tells of it once. What is no disk stays for
 * spec_nodes.h. *ret is for spec_devices_free().
 */
int spec_take_devices(struct json_object *spec, const char *cid, struct spec_device **ret,
	unsigned int *ret_n, struct err *err);
void spec_devices_free(struct spec_device *devices, unsigned int n);
