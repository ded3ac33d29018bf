/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of the host that stand for those of the guest. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/util.h"

/*
 * What asks containerd for a task's pid expects a process: to signal it, to wait for its
 * end, to look at its arguments, to find the pod's network namespace by, to name those
 * that containers share. So each process that containerd knows has one here: the program
 * stencil-task, which lies beside stencil-files, in the network, ipc and uts namespaces
 * that are the pod's on the host, with the arguments of the guest's process, without
 * capabilities, its root the sandbox's empty folder, in the VM's cgroup.
 *
 * It ends when the shim says so (the guest's process has ended), when the shim ends,
 * however that does, and with the VM. A signal that it gets, SIGKILL too, is told to the
 * shim, which passes it on to the guest's process.
 */

/* ---- between the two: messages over a SOCK_SEQPACKET ---- */

#define STANDIN_FD 3

struct standin_message {
	int code;      /* of the first message: 0 or what went wrong (negative errno) */
	int signal;    /* of the others */
	char what[48]; /* with a code */
};

/* ---- all those of a pod ---- */

struct standins;

/* In a thread of theirs: process `exec_id` of a container got a signal on the host. */
typedef void (*standin_signalled)(
	void *user, const char *container_id, const char *exec_id, int signal);

int standins_new(
	standin_signalled fn, void *user, struct standins **ret, struct err *err);
/* After the last of them was freed; not from `fn`. NULL is fine. */
void standins_free(struct standins *all);

/* ---- one ---- */

struct standin;

struct standin_config {
	const char *file_server; /* the path of stencil-files */
	const char *root;        /* an empty folder */
	/* Namespaces, each -1: a new one; the network's with lo up, the uts' with that
	 * name. */
	int netns_fd, ipcns_fd, utsns_fd;
	const char *hostname;
	const char *container_id, *exec_id;
	char *const *argv; /* at least one; NULL at the end */
};

/* It runs when this returns; pid and namespace can be used. */
int standin_new(struct standins *all, const struct standin_config *config,
	struct standin **ret, struct err *err);
pid_t standin_pid(const struct standin *s);
/* Into the VM's cgroup, by its cgroup.procs (-1 in unused places). */
int standin_join_cgroup(
	const struct standin *s, const int *fds, unsigned int n, struct err *err);
/* file: as in /proc/<pid>/ns. */
int standin_open_namespace(
	const struct standin *s, const char *file, int *ret_fd, struct err *err);
/* Its process is gone when this returns. From any thread, and twice; NULL is fine. */
void standin_end(struct standin *s);
void standin_free(struct standin *s); /* ends it; NULL is fine */
DEFINE_CLEANUP(standin, struct standin *, standin_free);
