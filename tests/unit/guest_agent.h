/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's service in a test's process,
 * asked by the host's client over a socket pair. */
#pragma once

#include <pthread.h>

#include "agent-client/agent.h"
#include "base/thread.h"
#include "guest/sandbox.h"
#include "guest/service.h"
#include "tests/unit/guest_world.h"

struct guest {
	struct sandbox sandbox;
	struct ttrpc_server *server;
	struct agent *agent; /* the host's end */
	int fd;              /* the guest's */
	pthread_t thread;
};

static inline void *guest_serve(void *arg)
{
	struct guest *g = arg;

	ttrpc_server_serve(g->server, g->fd);
	return NULL;
}

static inline void guest_start(struct guest *g)
{
	struct err err = ERR_INIT;
	int fds[2];

	*g = (struct guest){0};
	sandbox_init(&g->sandbox);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	g->fd = fds[0];
	assert_int_equal(service_new(&g->sandbox, &g->server, &err), 0);
	assert_int_equal(agent_new(fds[1], &g->agent, &err), 0);
	assert_int_equal(thread_start(guest_serve, g, 0, false, &g->thread), 0);
}

/* The host hangs up; waits for requests under way, which must notice. */
static inline void guest_stop(struct guest *g)
{
	agent_free(g->agent);
	pthread_join(g->thread, NULL);
	ttrpc_server_free(g->server);
	close_fd(g->sandbox.oom_fd);
	assert_null(g->sandbox.containers);
}

/* A started container without a crun; its reference is the list's. */
static inline struct container *guest_add_container(struct guest *g, const char *id)
{
	struct err err = ERR_INIT;
	struct container *c;

	g->sandbox.running = true;
	assert_int_equal(sandbox_add(&g->sandbox, id, &c, &err), 0);
	container_set_state(&g->sandbox, c, CONTAINER_RUNNING);
	container_put(c);
	return c;
}
