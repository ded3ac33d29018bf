/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-ins of a pod's processes (standin.h), and what becomes of signals to them. */
#pragma once

#include "agent-client/proto/oci.pb-c.h"
#include "shim/process.h"

/* Starts that of a process with these arguments, in the pod's namespaces on the host; in
 * new ones, which are the pod's from then on, where it has none yet (then with that
 * hostname). Sets its pid. */
int process_stand_in(struct process *p, const Grpc__Process *spec, const char *hostname,
	struct err *err);
/* Puts it into the cgroup of the VM that it has now. */
int process_join_vm(struct process *p, const struct pod_use *use, struct err *err);
