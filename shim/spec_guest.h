/* SPDX-License-Identifier: Apache-2.0 */
/* The host's half of fitting a spec to the guest: it takes out what the host alone
 * has. */
#pragma once

#include "agent-client/proto/agent.pb-c.h"
#include "shim/oci/from_json.h"
#include "shim/rootfs.h"
#include "shim/spec.h"
#include "shim/spec_devices.h"
#include "shim/spec_nodes.h"

/*
 * A spec passes two filters, and no field is the business of both:
 * - here goes what would name something of the host: its hooks (hooks.h), devices that
 *   the guest does not get, CPU numbers, traffic classes, cgroup files; namespaces, by
 *   namespaces.h. Sources of bind mounts, the programs of createContainer hooks and the
 *   root are replaced by the places where the guest finds them.
 * - guest/spec.h takes what the guest's kernel has not, and adds what only the agent
 *   knows: the cgroup, the pod's pid namespace. (And guest/devices.h the numbers of
 *   devices.)
 */

/*
 * Bind mounts whose source is on the host, and after them the programs of createContainer
 * hooks, which nothing is mounted on. Their sources become
 * AGENT_SHARED_DIR/<cid>/mounts/<n>, n from 0 in the order of the spec.
 */
struct spec_bind {
	struct rootfs_tree tree; /* its path is ours */
	bool follows; /* the host's later mounts appear in it (shim/follow.h) */
};
#define SPEC_BINDS_MAX 256

/* What goes to the guest for a container. */
struct guest_spec {
	Grpc__Spec *oci;
	struct spec_bind *binds;
	unsigned int n_binds;
	struct spec_device *devices;
	unsigned int n_devices;
	struct spec_nodes nodes;
	Grpc__Storage *shm; /* what its /dev/shm is a bind mount of; NULL: it is none */
};

/*
 * The spec as the agent gets it; each thing left out is logged once, with the reason.
 * Changes spec->json; of spec only the limits can be used afterwards. *ret is for
 * guest_spec_done().
 */
int spec_for_guest(
	struct spec *spec, const char *cid, struct guest_spec *ret, struct err *err);
/* Of one that is all zero, too. */
void guest_spec_done(struct guest_spec *g);
