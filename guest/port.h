/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's virtio-serial ports, by name. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Finds a port by name, waiting for it until the deadline, and opens it; flags as for
 * open(2). A port can be open once only. */
int port_open(
	const char *name, int flags, int64_t deadline, int *ret_fd, struct err *err);

/*
 * Waits until somebody is at the host's end: until then reading gives 0, as it does after
 * the end. A clone's ports come without anybody, and the driver hears of it a little
 * after the VM goes on.
 */
int port_wait_connected(int fd, int64_t deadline, struct err *err);

/* An epoll descriptor that tells when something about the port changes, see port.c. */
int port_watch(int fd);
