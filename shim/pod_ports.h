/* SPDX-License-Identifier: Apache-2.0 */
/* port-forward: connections to loopback in the pod's namespace reach the guest's. */
#pragma once

#include "base/err.h"
#include "shim/pod.h"

struct pod_ports;

/* Takes connections to 127.0.0.0/8 and ::1 in pod->netns_fd from now on, any port's, and
 * lets them wait. Where the host's kernel can't that is logged, and *ret is NULL. */
void pod_ports_open(struct pod *pod, struct pod_ports **ret);
/* The VM is ready: each becomes one of pod->streams. NULL is fine. */
int pod_ports_start(struct pod_ports *ports, struct err *err);
/* None is taken any more. Before pod->streams goes; NULL is fine. */
void pod_ports_free(struct pod_ports *ports);
