/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of one container: its root file system, where that is on one, and the block
 * devices that it is given. */
#pragma once

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"
#include "base/util.h"
#include "shim/pod.h"
#include "shim/proto/containerd_types.pb-c.h"
#include "shim/spec_devices.h"

/*
 * They are opened on the host before there is a VM, so that one that can't be had is no
 * VM's start; plugged when it is ready; and unplugged when the guest has removed the
 * container. What the guest has written is on them then: it has unmounted and closed
 * them.
 */
struct disks_config {
	const char *cid;
	/* Both must stay until the guest has been told: disks_root(), disks_devices(). */
	Containerd__Types__Mount *const *mounts;
	size_t n_mounts;
	const struct spec_device *devices;
	unsigned int n_devices;
};

struct disks;

int disks_open(const struct disks_config *config, struct disks **ret, struct err *err);
/* The root file system is one of them: no file tree. */
bool disks_have_root(const struct disks *d);
/* The guest may have written to one. NULL is fine. */
bool disks_are_writable(const struct disks *d);

/* What is plugged stays on failure: disks_unplug(). */
int disks_plug(struct disks *d, const struct pod_use *use, struct err *err);
/* For who has plugged them: by what the agent mounts the root at
 * AGENT_SHARED_DIR/<cid>/rootfs (NULL: it is none), and finds devices. Valid as long as
 * d. */
Grpc__Storage *disks_root(struct disks *d);
Grpc__Device **disks_devices(struct disks *d, size_t *ret_n);
/* NULL is fine. */
void disks_unplug(struct disks *d, const struct pod_use *use);
/* What is plugged ends with the VM. NULL is fine. */
void disks_free(struct disks *d);
DEFINE_CLEANUP(disks, struct disks *, disks_free);
