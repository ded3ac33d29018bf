/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's channel to the host: a virtio-serial port, and vsock if there is one. */
#pragma once

#include "base/err.h"
#include "base/ttrpc/ttrpc.h"

/*
 * Finds the port AGENT_SERIAL_PORT, waiting for it, opens it and serves `server` on it
 * from a thread of its own for as long as the guest runs, whoever comes and goes at the
 * host's end; the same on vsock port AGENT_VSOCK_PORT if the kernel has a vsock
 * transport. Fails without the port.
 */
int channel_start(struct ttrpc_server *server, struct err *err);
