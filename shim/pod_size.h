/* SPDX-License-Identifier: Apache-2.0 */
/* How large a pod is: what its VM has of CPUs and memory. */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "base/err.h"

/* Limits; 0: none. */
struct pod_size {
	uint64_t cpu_millis; /* thousandths of a CPU */
	uint64_t memory_bytes;
};

/* Rounded up: a thousandth too much is no harm. A quota of 0 or less is none; a period
 * of 0 or less is the kernel's default. */
int pod_size_of_quota(
	int64_t quota, int64_t period, uint64_t *ret_millis, struct err *err);

/* The limits in linux.resources of the OCI runtime-spec; what is not there leaves *size
 * as it is, -1 is no limit. NULL is fine. */
int pod_size_of_resources(
	struct json_object *resources, struct pod_size *size, struct err *err);

struct pod;
struct spec;

/*
 * The whole pod's, where whoever makes it says that beforehand: containerd's CRI from
 * 1.7 on and CRI-O by annotations of the pod's first container. Zeros where not.
 */
int pod_size_of_spec(const struct spec *spec, struct pod_size *ret, struct err *err);

/*
 * What the pod needs with one more container: the sum of all limits, and not less than
 * what was said of the pod before. extra is NULL for no other container. For whoever
 * changes the pod.
 */
int pod_size_wanted(struct pod *pod, const struct pod_size *extra, struct pod_size *ret,
	struct err *err);
/* The VM gets what is wanted, where that is more than it has. */
int pod_size_fit(struct pod *pod, const struct pod_size *extra, struct err *err);
