/* SPDX-License-Identifier: Apache-2.0 */
/* Typed calls to a guest's agent: grpc.AgentService and grpc.Health over ttrpc. */
#pragma once

#include <stdint.h>

#include "agent-client/ttrpc.h"
#include "agent.pb-c.h"
#include "base/err.h"
#include "health.pb-c.h"

/*
 * The protocol is Kata's (same service, method and field names and numbers), so that either side
 * can be Kata's. Messages are protobuf-c's: the caller builds requests on its stack or heap, and
 * owns what comes back (protobuf_c_message_free_unpacked(&m->base, NULL)).
 *
 * Where the agent listens in the guest: the virtio-serial port AGENT_SERIAL_PORT, and vsock port
 * AGENT_VSOCK_PORT where there is vsock.
 */
#define AGENT_SERIAL_PORT "agent.channel.0" /* Kata's port name */
#define AGENT_VSOCK_PORT  1024

/* In the guest: where the shared 9p export is mounted, one folder <container id>/ for each
 * container with rootfs/ and mounts/<n> in it. Kata's place. */
#define AGENT_SHARED_DIR "/run/kata-containers/shared/containers"
#define AGENT_9P_TAG	 "kataShared"

struct agent;

/* Takes fd. */
int agent_new(int fd, struct agent **ret, struct err *err);
void agent_free(struct agent *a);
int agent_closed_fd(const struct agent *a); /* readable when the guest end is gone */

/* Health.Check: 0 when the agent answers SERVING. */
int agent_check(struct agent *a, int64_t deadline, struct err *err);

/*
 * Every other call is int agent_<name>(agent, request, [&response,] deadline, err), declared from
 * this list: X(name, Method, RequestType, ResponseType) with protobuf-c's type names; a response
 * type of Google__Protobuf__Empty has no &response argument.
 */
