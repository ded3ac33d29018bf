/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics socket: GET /metrics over HTTP on a Unix socket. */
#pragma once

#include "base/err.h"
#include "templated/daemon.h"

/*
 * As much of HTTP/1.1 as curl and Prometheus need: a request of METRICS_REQUEST_MAX bytes
 * at most, without a body, within METRICS_REQUEST_MS; one answer, then the connection is
 * closed. At most METRICS_CONNECTIONS_MAX at once, each a thread; one more is told 503.
 * The socket is root's and its group's (0660): who may connect may read.
 */
#define METRICS_REQUEST_MAX     8192
#define METRICS_REQUEST_MS      5000
#define METRICS_CONNECTIONS_MAX 8

struct metrics_server;

/* Listens on metrics_endpoint; where it is empty *ret is NULL. */
int metrics_server_start(struct daemon *d, struct metrics_server **ret, struct err *err);
/* Removes the socket, ends connections and waits for their threads. NULL is fine. */
void metrics_server_stop(struct metrics_server *s);
