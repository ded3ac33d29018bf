/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of what the pod's file server has, and the one pump that they share. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct files_mount {
	const char *number; /* the server's, in decimal */
	const char *at;     /* a folder, or for a tree that is none: a file */
	unsigned long flags;
	mode_t root_mode; /* its type: what S_IFMT leaves of it */
};

/*
 * Begin, in a thread, what the first mount would have to wait for, and never fail: the
 * pump, which a template then has for all its clones, and the window, which only a clone
 * has (where there is a pump).
 */
void files_prepare(void);
void files_prepare_window(void);

/*
 * Mounts, and returns when the server has answered. The first mount starts the pump, for
 * as long as the guest runs. /proc/mounts shows the source "stencil" and the type
 * "fuse.stencil".
 */
int files_mount(const struct files_mount *mount, struct err *err);
