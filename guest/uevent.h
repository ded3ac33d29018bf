/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's device events (netlink), as a way to wait for sysfs to change. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* An open stream of events from now on; the fd is the caller's. */
int uevent_open(int *ret_fd, struct err *err);

/*
 * Waits until an event of `subsystem` (NULL: any) has come, taking all that are there: 0;
 * -ETIMEDOUT; -ECONNRESET when closed_fd (-1: none) became readable. An overrun counts as
 * an event: the caller looks at sysfs again anyway.
 */
int uevent_wait(int fd, const char *subsystem, int closed_fd, int64_t deadline);

/* Whether one message ("add@/devices/…\0KEY=value\0…") is of that subsystem. */
bool uevent_has_subsystem(const char *message, size_t len, const char *subsystem);
