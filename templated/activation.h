/* SPDX-License-Identifier: Apache-2.0 */
/* Socket activation: a listening socket from the service manager (sd_listen_fds(3)'s
 * protocol, without its library). */
#pragma once

#include "base/err.h"

/*
 * The listener of this type at this path among the descriptors that were passed: 1 with
 * *ret_fd, the caller's; its file is the service manager's and stays. 0 if none were
 * passed at all. Where others were passed, but not this one: -ENOTSOCK and the unit's
 * line to mend. The environment is emptied and every other descriptor closed, so for the
 * first call only.
 */
int activation_take(const char *path, int type, int *ret_fd, struct err *err);
