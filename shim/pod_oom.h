/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest tells of processes that ran out of memory, passed on as events. */
#pragma once

#include "base/err.h"
#include "shim/pod.h"

/* A thread that listens as long as the pod has this VM. */
int pod_oom_start(struct pod *pod, struct err *err);
/* After the VM was killed. Nothing happens if it was not started. */
void pod_oom_stop(struct pod *pod);
