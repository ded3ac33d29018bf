/* SPDX-License-Identifier: Apache-2.0 */
/* The file trees of one container: made on the host while its VM starts. */
#pragma once

#include "base/err.h"
#include "shim/proto/containerd_types.pb-c.h"
#include "shim/spec_guest.h"
#include "vm/vm.h"

struct trees_config {
	const char *folder; /* to assemble on: empty, absolute */
	const char *root;   /* the root file system without mounts: absolute */
	Containerd__Types__Mount *const *mounts;
	size_t n_mounts;
	const struct spec_bind *binds;
	unsigned int n_binds;
};

struct trees;

/* Starts making them in a thread; *config outlives it. */
int trees_start(const struct trees_config *config, struct trees **ret, struct err *err);
/* Waits for them. */
int trees_wait(struct trees *t, struct err *err);
/* Waits for the thread. NULL is fine. */
void trees_free(struct trees *t);
DEFINE_CLEANUP(trees, struct trees *, trees_free);
