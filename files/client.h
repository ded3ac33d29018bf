/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's file server, as its shim holds it: starts stencil-files, gives it trees. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/util.h"
#include "files/tree.h"

struct files_client;

struct files_start {
	const char *program; /* stencil-files: absolute */
	uid_t uid;           /* its uid and gid, nobody else's */
	/* The guest's channel and window (files/wire.h); not taken. */
	int channel_fd, window_fd;
	/* cgroup.procs files open for writing, -1: none; not taken. */
	const int *cgroup_fds;
	unsigned int n_cgroup_fds;
	int log_fd; /* its standard error; not taken */
	/* Called once, from a thread of the client's,
	 * when the server has ended by itself. */
	void (*ended)(void *user);
	void *user;
};

/* Returns when the server is confined and serves. */
int files_client_new(
	const struct files_start *start, struct files_client **ret, struct err *err);
/* Ends the server and waits for that. NULL is fine. `ended` is not called any more;
 * not from within it. */
void files_client_free(struct files_client *client);
DEFINE_CLEANUP(files_client, struct files_client *, files_client_free);

struct files_tree {
	/* A detached mount (open_tree(2), fsmount(2)), restricted already. Not taken. */
	int mount_fd;
	enum tree_cache cache;
	bool readonly;
	/* The guest mounts an overlay with its upper layer in this: trusted.overlay.*
	 * attributes are set and read in it. Never of a volume. */
	bool overlay_upper;
};

/* From now on the guest may mount *ret_mount (files/wire.h). */
int files_client_add(struct files_client *client, const struct files_tree *tree,
	unsigned int *ret_mount, struct err *err);
/* The server forgets the tree; a guest that still has it mounted gets ENOTCONN from then
 * on. Fine if it is not there. */
int files_client_remove(struct files_client *client, unsigned int mount, struct err *err);

/* Nothing in the tree is being changed, and no file of it is open for writing, until the
 * thaw: what would change it meanwhile is refused with EROFS. -EBUSY where the guest
 * does not let it come to that. */
int files_client_freeze(struct files_client *client, unsigned int mount, struct err *err);
int files_client_thaw(struct files_client *client, unsigned int mount, struct err *err);

/* Asks the guest to forget the files that it does not use, so that nothing of the
 * host's is held for them. It does so a moment later. */
int files_client_shrink(struct files_client *client, struct err *err);

int files_client_pidfd(const struct files_client *client);
