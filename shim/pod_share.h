/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod's VM may take of its host's CPUs, and when it is killed for memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct container;
struct pod;

/* What a container says of that beside its limits. */
struct pod_share {
	bool of_sandbox;     /* it is a CRI's sandbox container */
	uint64_t cpu_shares; /* as cgroup v1 counts; 0: nothing is said */
	int oom_score_adj;
};

/*
 * Sets it for the VM as the containers, and one that is not among them yet (NULL: none),
 * have it together: the sum of the CPU limits where each has one, or what was said of the
 * pod before; the sum of the shares; the OOM score of the one that is killed first. The
 * guest keeps each container to its own. For whoever changes the pod.
 */
int pod_share_apply(struct pod *pod, const struct container *extra, struct err *err);
/* The same after one was removed or has other limits; what fails is logged. */
void pod_share_renew(struct pod *pod);
