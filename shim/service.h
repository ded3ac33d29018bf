/* SPDX-License-Identifier: Apache-2.0 */
/* containerd.task.v2.Task: the methods and what they call. */
#pragma once

#include "base/ttrpc/ttrpc.h"
#include <time.h>

#include "shim/container.h"

/* What the methods get as their user. */
struct service {
	struct pod *pod;
	struct ttrpc_server *server; /* told to stop by Shutdown */
};

/* Waits until end_fd is readable: 0, or that the client has left, or that `what` ("the
 * process") still runs when its call has to end. */
int service_wait_end(
	int end_fd, const char *what, struct ttrpc_request *call, struct err *err);
/* On the heap, for an answer. */
Google__Protobuf__Timestamp *service_new_timestamp(const struct timespec *at);
int service_new_server(struct service *service, struct err *err);
