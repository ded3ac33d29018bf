/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of a pod's network: NICs plugged and configured. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "shim/net.h"
#include "vm/vm.h"

/* One NIC for each joined interface; then the agent sets names, addresses, routes and
 * neighbours as the pod's namespace has them. */
int sandbox_net_plug(struct vm *vm, struct net *net, int64_t deadline, struct err *err);
