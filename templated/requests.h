/* SPDX-License-Identifier: Apache-2.0 */
/* What templated does for each request of the lease protocol. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "templated/daemon.h"
#include "templated/lease/protocol.h"

struct connection {
	struct daemon *daemon;
	int fd;
	pid_t pid; /* of the peer, for the log */
	struct store_lease *lease;
	bool given; /* holds a cached VM, so it is silent as a lease is */
	/* A VM of the cache, until the sandbox has said that it has it. */
	struct cached *offer;
	char sandbox[LEASE_SANDBOX_MAX]; /* that it is offered to */
};

/*
 * Does the request and sends its answer. A request that can't be fulfilled is answered
 * with its reason and is 0; a negative errno ends the connection: the request was illegal
 * in the connection's state (err says so to the client), or the client does not take the
 * answer.
 */
int request_handle(
	struct connection *c, const struct lease_request *request, struct err *err);
