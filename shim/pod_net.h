/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of a pod's network: NICs plugged and configured. */
#pragma once

#include "base/err.h"
#include "shim/net.h"
#include "shim/pod.h"

/* One NIC for each joined interface; then the agent sets names, addresses, routes and
 * neighbours as the pod's namespace has them. */
int pod_net_plug(const struct pod_use *use, struct net *net, struct err *err);
