/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `delete`: undoes what is dead of a sandbox, and nothing that lives. */
#pragma once

#include "base/config.h"
#include "base/err.h"
#include "shim/cmdline.h"

/* How a container ended whose shim nobody can ask: as if by SIGKILL. */
#define DELETE_EXIT_STATUS 137

/*
 * containerd calls it for a container after the connection to its shim has ended: in good
 * order, because the shim died, or because containerd was restarted and got no answer.
 *   - A shim that lives is told that containerd has given that container up: it ends and
 *     removes what it has of it, goes on with the pod's other containers, and ends if
 *     there are none.
 *   - A shim that is dead, or alive and mute (peer.h), takes its pod with it, whichever
 *     of the pod's containers is named: all of the sandbox is undone.
 * Nothing left to undo is success. *ret_data is a serialized DeleteResponse for standard
 * output, the caller's.
 */
int delete_task(
	const struct cmdline *cmd, void **ret_data, size_t *ret_len, struct err *err);

/* Undoes one state folder: the shim's process if it still runs, the VM, taps, socket,
 * files. All is tried, the first error is told. */
int delete_state(const struct config *c, const char *dir, struct err *err);
