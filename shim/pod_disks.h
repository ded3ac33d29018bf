/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a pod's VM: a device of the host that several containers have is plugged
 * once. */
#pragma once

#include "shim/disk.h"
#include "shim/pod.h"

struct pod_disk;

/* All of whoever changes the pod, in a use of it. The disk's descriptor is not taken. */
int pod_disk_plug(const struct pod_use *use, const struct disk *disk,
	struct pod_disk **ret, struct err *err);
/* By which the guest finds it; valid until pod_disk_release(). */
const char *pod_disk_address(const struct pod_disk *disk);
/* The guest must have no use for it any more. The last one unplugs it: the host's device
 * is free again. */
void pod_disk_release(const struct pod_use *use, struct pod_disk *disk);
/* With the VM's end. */
void pod_disks_forget(struct pod *pod);
