/* SPDX-License-Identifier: Apache-2.0 */
/* The pump: moves FUSE messages between the guest's kernel and the pod's file server. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct pump;

/*
 * port_fd: the stream of files/wire.h; taken on success, and made non-blocking. The
 * pump's threads run from here on; they need CAP_SYS_RESOURCE.
 */
int pump_new(int port_fd, struct pump **ret, struct err *err);
/* Before the first pump_add(). window: FILES_WINDOW_BYTES, the caller's. */
void pump_set_window(struct pump *pump, void *window);
/* Ends the threads, and the connections with their kernel. NULL is fine. */
void pump_free(struct pump *pump);

/*
 * From now on serves the mount of this number, whose /dev/fuse is fuse_fd (O_NONBLOCK,
 * and mounted: before that there is nothing to read). abort_fd: its "abort" file of
 * fusectl, open for writing: how its processes are let go when the server has ended. Both
 * are taken on success. at, dev: where it is mounted, and its file system (at is copied;
 * NULL: changes by others are not told in the guest). The mount is forgotten when the
 * kernel has unmounted it; a number that is in use is waited for until the deadline
 * (-EBUSY), since that takes a moment. -ENOTCONN when the server has gone.
 */
struct pump_source {
	int fuse_fd, abort_fd;
	const char *at;
	dev_t dev;
};
int pump_add(struct pump *pump, unsigned int mount, const struct pump_source *source,
	int64_t deadline, struct err *err);

/* The server has gone: nothing moves any more. */
bool pump_has_ended(struct pump *pump);
