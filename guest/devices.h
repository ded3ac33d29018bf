/* SPDX-License-Identifier: Apache-2.0 */
/* A container's devices, those that the host plugs and the guest's own: their numbers in
 * the guest. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"

#define DEVICES_MAX 64

/*
 * Waits for each device ("blk": its id is a PCI address; AGENT_NODE_DEVICE: vm_path is
 * its node here) and gives the spec's device at its container_path the numbers that it
 * has here, and so the rules of the device cgroup that name the host's numbers. Call it
 * with a spec that spec_adapt() has taken.
 */
int devices_find(Grpc__Device *const *devices, size_t n, struct json_object *spec,
	struct err *err);

/* The second half of it: what was found. */
struct device_found {
	bool is_block;
	dev_t dev;
};
int devices_renumber(Grpc__Device *const *devices, const struct device_found *found,
	size_t n, struct json_object *spec, struct err *err);
