/* SPDX-License-Identifier: Apache-2.0 */
/* The serving process: from the listening socket that `start` left to the end of the
 * shim. */
#pragma once

#include "base/err.h"
#include "shim/cmdline.h"

/* Serves on SHIM_LISTEN_FD, in the bundle that `start` prepared, until Shutdown or
 * SIGTERM. */
int serve_pod(const struct cmdline *cmd, struct err *err);
