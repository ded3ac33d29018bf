/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the ttrpc server: connections and the requests they brought. Not for others. */
#pragma once

#include "base/ttrpc/io.h"
#include "base/ttrpc/ttrpc.h"

/*
 * A connection is held by the thread that reads it and by each request that came by it;
 * the last of them closes it. A server outlives its connections: ttrpc_server_free()
 * waits for them.
 */
struct ttrpc_server {
	struct ttrpc_server_config config;
	int stop_fd; /* eventfd, in every poll of every connection */

	/* Of what follows, and of refs and requests of every connection. */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned int n_connections, n_requests;
	unsigned int n_leaving; /* calls of config.left */
	bool has_asked;         /* some client, for anything */
};

struct ttrpc_connection {
	struct ttrpc_server *server;
	unsigned int refs;
	/* Those in flight: an id that is used twice is found among them. */
	struct ttrpc_request *requests;
	struct ttrpc_io io;
};

void ttrpc_connection_unref(struct ttrpc_connection *c);

/*
 * Acts on a frame: starts a request's thread or answers an error. too_large: its data is
 * missing because there was too much of it. Returns 1, or a negative errno that ends the
 * connection.
 */
int ttrpc_connection_frame(
	struct ttrpc_connection *c, struct ttrpc_frame *f, bool too_large);
