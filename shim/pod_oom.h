/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out: where the guest tells that before, the VM gets more; its
 * processes that were killed for it, and the VM, are passed on as events. */
#pragma once

#include "base/err.h"
#include "shim/pod.h"

/* A thread that listens as long as the pod has this VM. */
int pod_oom_start(struct pod *pod, struct err *err);
/* The VM is about to end, or has: an event for each container if that is because its
 * cgroup had used up its memory. Once for a VM. */
void pod_oom_tell(struct pod *pod, struct vm *vm);
/* After the VM was killed. Nothing happens if it was not started. */
void pod_oom_stop(struct pod *pod);
