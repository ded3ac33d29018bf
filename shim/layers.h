/* SPDX-License-Identifier: Apache-2.0 */
/* A container's mounts as the layers that they are made of,
 * where that is all they are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shim/proto/containerd_types.pb-c.h"

/*
 * One overlay, of the folders that a snapshotter writes: lowers, topmost first, and
 * unless it is a read-only view an upper and a work folder, both in one folder that is
 * nobody else's ("parent"), under these names there.
 */
struct layers {
	char **lowers;
	size_t n_lowers;
	char *parent, *upper, *work; /* NULL: read-only */
};

/* Whether the mounts are that, and nothing that only the host's overlay could do. *ret is
 * for layers_done() in any case. */
bool layers_parse(Containerd__Types__Mount *const *mounts, size_t n, struct layers *ret);
void layers_done(struct layers *l);
