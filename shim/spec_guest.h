/* SPDX-License-Identifier: Apache-2.0 */
/* The host's half of fitting a spec to the guest: it takes out what the host alone has. */
#pragma once

#include "shim/oci/from_json.h"
#include "shim/spec.h"

/*
 * A spec passes two filters, and no field is the business of both:
 * - here goes what would name something of the host: hooks, devices and their numbers,
 *   CPU numbers, traffic classes, cgroup files, the paths of namespaces. Sources of bind
 *   mounts and the root are replaced by the places where the guest finds them.
 * - guest/spec.h takes what the guest's kernel has not, and adds what only the agent
 *   knows: the cgroup, the pod's pid namespace.
 */

/*
 * Bind mounts whose source is on the host. Their sources become
 * AGENT_SHARED_DIR/<cid>/mounts/<n>, n from 0 in the order of the spec.
 */
struct spec_bind {
	char *source;
	bool recursive, readonly;
};
#define SPEC_BINDS_MAX 256

/*
 * The spec as the agent gets it; each thing left out is logged once, with the reason.
 * Changes spec->json; of spec only the limits can be used afterwards. *ret_sandbox_pidns:
 * it wants the pod's pid namespace. The caller owns *ret_spec
 * (grpc__spec__free_unpacked()) and *ret_binds (spec_binds_free()).
 */
int spec_for_guest(struct spec *spec, const char *cid, Grpc__Spec **ret_spec,
	struct spec_bind **ret_binds, unsigned int *ret_n_binds, bool *ret_sandbox_pidns,
	struct err *err);
void spec_binds_free(struct spec_bind *binds, unsigned int n);
