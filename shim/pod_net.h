/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's network: the guest has what the pod's namespace on the host has. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "shim/pod.h"

struct pod_net;

/* Looks at the namespace (pod->netns_fd) and joins a tap to each interface that the guest
 * is to have a NIC for. Takes no VM. */
int pod_net_join(struct pod *pod, struct pod_net **ret, struct err *err);
unsigned int pod_net_nics(const struct pod_net *n);

/*
 * Plugs the NICs, and has the agent set names, addresses, routes and so on as they are in
 * the namespace. From then on a thread does the same after each change there; what it
 * can't do is logged. It holds a use of the VM for as long as it has something to do.
 */
int pod_net_start(struct pod_net *n, struct err *err);

/* In a use of the VM: the guest has what was in the namespace when this was called. NULL
 * is fine. */
int pod_net_catch_up(struct pod_net *n, int64_t deadline, struct err *err);

/* After the VM: ends the thread, leaves the namespace as it was found. NULL is fine. A
 * negative errno: it could not be left so, which is logged. */
int pod_net_end(struct pod_net *n);
