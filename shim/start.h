/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `start`: finds or makes the shim that serves a task,
 * and prints its address. */
#pragma once

#include "base/err.h"
#include "shim/cmdline.h"

/* Where the serving process finds its listening socket. */
#define SHIM_LISTEN_FD 3

/*
 * containerd calls it in the bundle, with the runtime's options (a google.protobuf.Any,
 * or nothing) on standard input. A container of a pod that has a shim gets that shim's
 * address; else the state folder, the socket and a serving process are made. *ret_address
 * ("unix:///…") is the caller's; it is also in the bundle's file `address`, where a
 * restarted containerd looks. On failure nothing stays.
 */
int start_shim(const struct cmdline *cmd, char **ret_address, struct err *err);
