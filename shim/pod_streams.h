/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections with one half in a pod's namespace on the host, one in its guest. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/pod.h"

struct pod_streams;

struct pod_streams *pod_streams_new(struct pod *pod);

/* A connection that the host has accepted (fd, taken) gets its half in the guest, at the
 * address that was asked for. Where nobody listens there it is reset. */
void pod_streams_add_host(struct pod_streams *streams, int fd);
/* One that the guest has accepted (its id) gets its half in the pod's namespace on the
 * host, to `dial`. Where nobody listens there it is closed. False: it is not taken, since
 * there are too many. */
bool pod_streams_add_guest(
	struct pod_streams *streams, uint64_t id, const struct sockaddr_in *dial);

/* Hangs up all of them; after the VM was killed, before its last use is waited for. From
 * now on none is taken. NULL is fine. */
void pod_streams_hang_up(struct pod_streams *streams);
/* NULL is fine. */
void pod_streams_free(struct pod_streams *streams);
