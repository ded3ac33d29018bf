/* SPDX-License-Identifier: Apache-2.0 */
/* The pod that a container belongs to because it names its network namespace. */
#pragma once

/*
 * `docker run --network container:X` hands over a spec with the path /proc/<pid>/ns/net,
 * where the pid is that of X's task. What X has is in its VM, so the container goes into
 * that one, beside X, as the further containers of a CRI's pod do, and can have other
 * namespaces of X's, too. With those alone it could not: the VM has one network.
 *
 * The task is a stand-in, and is known by its root: <state_dir>/<namespace>:<id>/rootfs.
 */

/* The id of its sandbox, the caller's to free(); NULL: its network namespace is not
 * that of a stand-in of this state_dir and namespace of containerd's. */
char *join_find_sandbox(const char *netns, const char *state_dir, const char *namespace);
