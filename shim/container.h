/* SPDX-License-Identifier: Apache-2.0 */
/* A container of the pod: its first process, its execs, its files in the guest. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "shim/proto/containerd_task.pb-c.h"
#include "shim/pod.h"
#include "shim/disks.h"
#include "shim/pod_share.h"
#include "shim/process.h"
#include "shim/trees.h"

struct container {
	struct container *next; /* of the pod's */
	struct pod *pod;
	unsigned int refs; /* one for each process; under the pod's lock */
	char *id, *bundle;
	struct pod_size size; /* of whoever changes the pod */
	struct pod_share share;
	struct trees *trees; /* what the file server has of it */
	struct disks *disks; /* and what the VM has */
	unsigned int apart;  /* types of namespaces (namespaces.h); as size */
	struct hooks *hooks; /* NULL: none */
	struct process *init;
	struct process *execs;
};

/* Makes a container, and starts the pod for the first of them (container_create.c). */
int container_create(struct pod *pod,
	const Containerd__Task__V2__CreateTaskRequest *request, struct err *err);
/* Removes it, and stops the pod with the last of them (container_delete.c). The process
 * is the first of its container. */
int container_delete(struct process *init, struct err *err);

/* Its processes end, and the guest forgets it; logged where that fails. */
void container_remove_in_guest(struct container *c, const struct pod_use *use);

/* Nobody asks for it any more: ends it as if killed and removes it, however it stands.
 * One that is being made fails. */
void container_discard(struct pod *pod, const char *id);

int container_exec(struct process *init,
	const Containerd__Task__V2__ExecProcessRequest *request, struct err *err);
int container_pause(struct process *init, bool pause, struct err *err);
int container_update(struct process *init, const void *json, size_t len, struct err *err);

/* Packed io.containerd.cgroups.v1.Metrics; the caller's (stats.c). */
int container_stats(
	struct process *init, void **ret_data, size_t *ret_len, struct err *err);
/* The same of the pod's VM, as its host sees it (pod_metrics.c). */
int pod_metrics(struct pod *pod, void **ret_data, size_t *ret_len, struct err *err);
#define STATS_TYPE_URL "io.containerd.cgroups.v1.Metrics"

/*
 * Adds the container's processes to an answer (pids.c). What containerd knows, the first
 * one and execs, has the pid of what stands for it on the host; what these have started
 * in the guest has CONTAINER_PID_BASE and its pid there, more than any pid of a host, so
 * that nobody takes a stranger for it.
 */
#define CONTAINER_PID_BASE 10000000u
int container_pids(
	struct process *init, Containerd__Task__V2__PidsResponse *out, struct err *err);

/* The VM has ended by itself: ends those that nobody waits for in the guest. */
void containers_lost(struct pod *pod);
/* All of them as if killed, and the pod stopped: for a shim that is told to end, after
 * pod_begin_end(). */
void containers_end_all(struct pod *pod);
