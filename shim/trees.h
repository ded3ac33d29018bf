/* SPDX-License-Identifier: Apache-2.0 */
/* The file trees of one container: made on the host while its VM starts, then given to
 * the pod's file server, and mounted by the guest's agent. */
#pragma once

#include "agent-client/proto/agent.pb-c.h"
#include "base/err.h"
#include "base/util.h"
#include "files/client.h"
#include "shim/proto/containerd_types.pb-c.h"
#include "shim/spec_guest.h"
#include "templated/lease/image.h"

/*
 * The rootfs is one tree, assembled on the host; or, where its layers have an image
 * (layers.h, templated/lease/image.h), what the guest makes of that: an overlay of the
 * image and of a tree with the snapshot's own upper and work folder, or the image alone.
 */
struct trees_config {
	const struct config *config;
	const char *cid;
	const char *folder; /* to assemble on: empty, absolute */
	const char *root;   /* the root file system without mounts: absolute */
	bool readonly;      /* the root file system, from trees_seal() on */
	Containerd__Types__Mount *const *mounts;
	size_t n_mounts;
	bool root_is_disk; /* none of them (disks.h) */
	const struct spec_bind *binds;
	unsigned int n_binds;
};

struct trees;

/* Starts making them in a thread, which ends in trees_give() or trees_free();
 * *config outlives it. */
int trees_start(const struct trees_config *config, struct trees **ret, struct err *err);
/* Waits until they are made: the image of the rootfs that is to be plugged, or NULL. Then
 * one of the two: it is at that address now (vm_plug_image()), or is not to be used. */
const struct image *trees_image(struct trees *t);
void trees_take_image(struct trees *t, const char *address);
int trees_refuse_image(struct trees *t, struct err *err);
/* Waits until they are made: the memory that files in them may use, where they are on a
 * tmpfs; for vm_limit_files(). */
uint64_t trees_memory_bytes(struct trees *t);
/* Waits for them and gives them to the server. What is given stays on failure:
 * trees_withdraw(). */
int trees_give(struct trees *t, struct files_client *files, struct err *err);
/*
 * For a container that has been made and not been started: its root file system is a
 * read-only mount from here on, if it is to be one. Not before, since crun makes in it
 * what mounts are put on. What is mounted in it is left as it is, as runc does.
 */
int trees_seal(struct trees *t, struct files_client *files, struct err *err);
/* For who has given them: by what the agent mounts the rootfs at
 * AGENT_SHARED_DIR/<cid>/rootfs and bind mount n at AGENT_SHARED_DIR/<cid>/mounts/<n>.
 * Valid as long as t. */
Grpc__Storage **trees_storages(struct trees *t, size_t *ret_n);
/* The server forgets them: after the guest has unmounted them,
 * or if it never did. NULL is fine. */
void trees_withdraw(struct trees *t, struct files_client *files);
/* The trees are as they are now, whatever the host mounts: before the server is freed.
 * NULL is fine. */
void trees_settle(struct trees *t);
/* The server keeps what it was given. NULL is fine. */
void trees_free(struct trees *t);
DEFINE_CLEANUP(trees, struct trees *, trees_free);
