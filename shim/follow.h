/* SPDX-License-Identifier: Apache-2.0 */
/* File trees in which the host's later mounts appear, and go again. */
#pragma once

#include "base/err.h"
#include "base/util.h"
#include "shim/rootfs.h"

/*
 * What a container's bind mount that is not private (rslave, rshared, or no word at
 * all) shows. The host never notices: it can unmount what the guest looks at, as soon
 * as nobody of its own uses it.
 */
struct follower;

/*
 * A tree as rootfs_clone() makes it. *ret NULL: nothing can appear in it, the host
 * shares no mount there. Otherwise the tree changes until follow_end(), after which
 * only what was there at its root is left.
 */
int follow_start(const struct rootfs_tree *tree, int *ret_mount_fd, struct follower **ret,
	struct err *err);
/* From now on, after something has gone; until follow_end(), from a thread of the
 * follower's. */
void follow_tell(struct follower *follower, void (*gone)(void *user), void *user);
/* NULL is fine. */
void follow_end(struct follower *follower);
DEFINE_CLEANUP(follower, struct follower *, follow_end);
