/* SPDX-License-Identifier: Apache-2.0 */
/* Where mkfs.erofs runs: the layers, the file that it writes,
 * and nothing else of the host. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "vm/cgroup.h"

/*
 * How it works. A thread of its own leaves the host's mount namespace and mounts in its
 * own, on <store>/jail, where nobody else sees it:
 *
 *   /lower                the layers: a read-only overlay without an upper folder, or, of
 *                         one layer, a read-only bind
 *   /image                the file that becomes the image
 *   /usr, /lib, …         what mkfs.erofs is linked with, read-only
 *   /tmp                  16 MiB
 *
 * All ends with the thread, however templated ends. The layers are named to the kernel by
 * the numbers of their descriptors: what is in their paths does not matter, and 500 of
 * them fit into the page that mount(2) has for its options.
 *
 * mkfs.erofs is a child that makes /jail its root and gives up everything but reading:
 * uid and gid nobody, CAP_DAC_READ_SEARCH alone, no_new_privs; a filter against sockets,
 * signals, other processes, tracing, mounts, namespaces and, since that capability would
 * reach any file of the layers' file systems by it, file handles. It ends with the
 * thread.
 */
#define IMAGE_JAIL "jail" /* in the store's folder */

struct image_jail {
	const char *store;   /* the store's folder, by path */
	const char *file;    /* in it: the empty file that becomes the image */
	const char *program; /* mkfs.erofs, absolute */
	char *root;
};

/* Leaves the mount namespace: once in a thread that ends after image_jail_leave(). */
int image_jail_enter(struct err *err);
/* Mounts; lower_fds as layers_identify() opens them after image_jail_enter(). */
int image_jail_make(
	struct image_jail *jail, const int *lower_fds, size_t n, struct err *err);
/* Unmounts; idempotent. */
void image_jail_leave(struct image_jail *jail);

struct image_maker {
	const char *root;
	const char *program;
	uint64_t max_bytes;    /* of the image: more ends it by SIGXFSZ */
	int niceness;          /* or what it is already, if that is more */
	const int *cgroup_fds; /* as cgroup_create() opens them */
	int output_fd;         /* its standard output and error */
};

/* Forks the child; *ret_pid is to be waited for. What it can't do to itself it says on
 * output_fd, and ends. */
int image_maker_start(const struct image_maker *m, pid_t *ret_pid, struct err *err);
