/* SPDX-License-Identifier: Apache-2.0 */
/* Docker's name server, in the pod's namespace on the host, answers the guest, too. */
#pragma once

#include "base/err.h"
#include "shim/pod.h"

struct pod_names;

int pod_names_new(struct pod *pod, struct pod_names **ret, struct err *err);
/*
 * In a use of the VM, by one thread at a time: if there is a name server in
 * pod->netns_fd, the guest's processes reach it from now on, by UDP and TCP. There is one
 * where a datagram socket is bound to DOCKER_NAMES_ADDRESS. What can't be done is logged.
 */
void pod_names_look(struct pod_names *names, const struct pod_use *use);
/* The VM was killed: what is asked stays without an answer. NULL is fine. */
void pod_names_hang_up(struct pod_names *names);
/* Waits for its threads. NULL is fine. */
void pod_names_free(struct pod_names *names);
