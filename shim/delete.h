/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `delete`: undoes what a shim that is gone has left. */
#pragma once

#include "base/config.h"
#include "base/err.h"
#include "shim/cmdline.h"

/* How a container ended whose shim nobody can ask: as if by SIGKILL. */
#define DELETE_EXIT_STATUS 137

/*
 * containerd calls it after it lost the connection to a shim, also when that was an
 * orderly end. Nothing left to undo is success. *ret_data is a serialized DeleteResponse
 * for standard output, the caller's.
 */
int delete_task(
	const struct cmdline *cmd, void **ret_data, size_t *ret_len, struct err *err);

/* Undoes one state folder: the shim's process if it still runs, the VM, taps, socket,
 * files. All is tried, the first error is told. */
int delete_state(const struct config *c, const char *dir, struct err *err);
