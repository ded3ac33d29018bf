/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox's folder: what its shim makes on the host, written down before it is made. */
#pragma once

#include "base/config.h"
#include "base/err.h"
#include "base/proc.h"

/*
 * <state_dir>/<namespace>:<id>/ (mode 0700):
 *   sandbox.json  this record
 *   rootfs/       empty; root file systems are assembled on it, in a mount namespace of a
 *                 thread; the root of stand-ins
 *
 * containerd's names have no ':' in them, so that no two sandboxes share a folder and
 * none is called like what else lies in state_dir. <bundle>/stencil is a symbolic link to
 * it, in the bundle of each container of the pod: `delete` has no configuration to find
 * it by, and the pod's first container may be gone before the others. The socket is
 * <state_dir>/<hash>.sock, short enough for sun_path whatever the names are.
 */
#define STATE_LINK "stencil"

/* How the cgroup of a shim is called: <cgroup_parent>/shim-<pid>. */
#define SHIM_CGROUP "shim-"

struct state {
	char *dir;
	char *namespace, *id;
	char *bundle;
	char *socket;      /* path of the shim's socket */
	char *config_path; /* what config_load_default() was given; "" for the default */
	char *netns;       /* namespace with our taps in it; "" for none */
	struct proc_id shim; /* pid 0: not started yet */
};

void state_done(struct state *s);

struct cmdline;

/* Fills in the names; makes nothing. containerd's address is part of the socket's
 * hash. */
void state_init(struct state *s, const struct config *c, const struct cmdline *cmd,
	const char *bundle);
/* The path of a sandbox's folder, and that of its socket; the caller's to free(). */
char *state_folder(const struct config *c, const char *namespace, const char *id);
char *state_socket_path(const struct config *c, const char *address,
	const char *namespace, const char *id);

/* Makes the folders, the link in the bundle and the record; on failure nothing stays. */
int state_create(struct state *s, struct err *err);
/* The link in a bundle to a sandbox's folder. */
int state_link(const char *dir, const char *bundle, struct err *err);
/* Writes the record anew. */
int state_save(const struct state *s, struct err *err);
/* Sets *s from the record in a folder; -ENOENT if there is no such folder or record. */
int state_load(const char *dir, struct state *s, struct err *err);
/* Removes socket, folder and link. Idempotent. */
int state_remove(const struct state *s, struct err *err);

char *state_path(const struct state *s, const char *name); /* the caller's to free() */
