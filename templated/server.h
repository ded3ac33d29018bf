/* SPDX-License-Identifier: Apache-2.0 */
/* The lease socket: who may connect, how many, and one thread for each. */
#pragma once

#include "base/err.h"
#include "templated/daemon.h"

/* At most so many connections, so leases, at once; one more is told so and closed. */
#define SERVER_CONNECTIONS_MAX 4096

struct server;

/* Listens on template_endpoint, or takes the socket there from the service manager, and
 * starts accepting. */
int server_start(struct daemon *d, struct server **ret, struct err *err);
/*
 * Stops accepting, removes the socket unless it is the service manager's, ends all
 * connections and waits for their threads. Leases whose clients are there stay, for the
 * next templated. A request that waits for a build ends with the build: cancel it before.
 */
void server_stop(struct server *s);
