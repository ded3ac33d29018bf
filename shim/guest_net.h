/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's half of a pod's network: NICs, and what its kernel is asked for. */
#pragma once

#include "base/err.h"
#include "shim/net.h"
#include "shim/net_view.h"
#include "shim/pod.h"

struct guest_net {
	struct net *net;
	struct net_view *told; /* what the guest has; NULL: nothing yet */
};

/*
 * Makes the guest have what the view (taken) has: NICs are joined, plugged and unplugged,
 * the rest is told as the difference to before. Everything is tried, and is not tried
 * again while it does not change; the first failure is the answer. After -ETIMEDOUT the
 * guest did not answer, and what it has been told is as before.
 */
int guest_net_follow(struct guest_net *g, struct net_view *view,
	const struct pod_use *use, struct err *err);
