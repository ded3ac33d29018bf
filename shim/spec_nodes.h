/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of a spec that the guest has, too. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"

/*
 * A device that no hardware is behind (/dev/fuse, /dev/net/tun) is an interface of a
 * kernel, and the guest's does as well: it is known by its name, and the agent puts its
 * numbers in the place of the host's, in linux.devices and in the rules of the cgroup
 * (guest/nodes.h). So is a loop device that nothing is attached to. What has hardware of
 * the host is refused by its name; block devices are the business of spec_devices.h.
 *
 * Who may use every device is given every device of the host by its engine, and gets
 * every one of the guest's.
 */
struct spec_nodes {
	Grpc__Device **all; /* "all that the guest has" is the last one */
	size_t n;
};

/* Fits linux.devices and linux.resources.devices of config.json, after
 * spec_take_devices(); *ret is for spec_nodes_done(), after a failure, too. */
int spec_take_nodes(struct json_object *spec, struct spec_nodes *ret, struct err *err);
void spec_nodes_done(struct spec_nodes *nodes);
