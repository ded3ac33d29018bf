/* SPDX-License-Identifier: Apache-2.0 */
/* A container's devices that the host plugs: their numbers in the guest. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"

#define DEVICES_MAX 64

/*
 * Waits for each device ("blk": its id is a PCI address) and gives the spec's device at
 * its container_path the numbers that it has here, and so the rules of the device cgroup
 * that name the host's numbers. Call it with a spec that spec_adapt() has taken.
 */
int devices_find(Grpc__Device *const *devices, size_t n, struct json_object *spec,
	struct err *err);

/* The second half of it: devs are what was found. */
int devices_renumber(Grpc__Device *const *devices, const dev_t *devs, size_t n,
	struct json_object *spec, struct err *err);
