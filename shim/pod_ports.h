/* SPDX-License-Identifier: Apache-2.0 */
/* port-forward: connections to loopback in the pod's namespace reach the guest's. */
#pragma once

#include "base/err.h"
#include "shim/pod.h"

struct pod_ports;

/* Takes connections to 127.0.0.0/8 and ::1 in pod->netns_fd from now on, any port's, and
 * lets them wait. Where the host's kernel can't that is logged, and *ret is NULL. */
void pod_ports_open(struct pod *pod, struct pod_ports **ret);
/* The VM is ready: each gets one of the guest's. NULL is fine. */
int pod_ports_start(struct pod_ports *ports, struct err *err);
/* Hangs up all of them; after the VM was killed, before its last use is waited for. From
 * now on none is taken. NULL is fine. */
void pod_ports_hang_up(struct pod_ports *ports);
/* NULL is fine. */
void pod_ports_free(struct pod_ports *ports);
