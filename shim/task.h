/* SPDX-License-Identifier: Apache-2.0 */
/* What a shim serves: containers of one pod and their processes. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/config.h"
#include "base/err.h"
#include "containerd_task.pb-c.h"
#include "shim/events.h"
#include "shim/lifecycle.h"
#include "shim/sandbox.h"
#include "shim/spec.h"
#include "shim/state.h"
#include "shim/stdio.h"

/*
 * How it works: one lock for all of it, held for moments only. A request that changes a
 * process takes it (process_begin(): waits until nobody else has it, asks the lifecycle
 * table), calls the agent without the lock, and gives it back (process_end()). A process
 * that runs has a thread that waits for its end; whoever waits for that end polls
 * exit_fd.
 *
 * Making a container and removing the last one change the sandbox: one at a time
 * (shim->changing).
 */
struct shim {
	const char *address; /* containerd's */
	struct config
		config; /* as loaded; annotations of the sandbox on top once it is made */
	struct state state;
	struct events *events;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool changing;
	bool ending;             /* Shutdown was granted: nothing is made any more */
	struct sandbox *sandbox; /* there while there are containers */
	struct container *containers;
};

struct process {
	struct process *next; /* of the container's execs */
	struct container *container;
	unsigned int refs;    /* one is the container's; under the lock */
	char *exec_id;        /* "" for the first process */
	const char *agent_id; /* its name in the guest: the container's id for the first
				 one */
	char *in, *out, *err;
	bool terminal;
	Grpc__Process *spec; /* of an exec */

	/* Under the lock. */
	enum lifecycle_state state, begun_in;
	bool busy;
	uint32_t exit_status;
	struct timespec exited_at;
	int exit_fd; /* eventfd: readable once it has ended */

	/* Of whoever made it busy. */
	struct stdio *stdio;
	pthread_t waiter;
	bool has_waiter;
};

struct container {
	struct container *next;
	struct shim *shim;
	unsigned int refs; /* one for each process; under the lock */
	char *id, *bundle;
	uint32_t pid; /* QEMU's: all that the host sees of its processes */
	uint64_t cpu_millis, memory_bytes;
	struct process *init;
	struct process *execs;
};

/* ---- process.c ---- */

/* exec_id "" is the container's first process. The process starts with one reference. */
struct process *process_new(struct container *c, const char *exec_id, bool terminal,
	const char *in, const char *out, const char *err);
/* Opens its streams. */
int process_open(struct process *p, struct err *err);

/* With a reference of the caller's; -ENOENT names what there is not. */
int process_find(struct shim *shim, const char *id, const char *exec_id,
	struct process **ret, struct err *err);
void process_unref(struct process *p);
DEFINE_CLEANUP(process, struct process *, process_unref);

/* Takes the process for a request; on success process_end() must follow, with the
 * request's outcome: 0 moves it to the state of the table. */
int process_begin(struct process *p, enum lifecycle_request request,
	enum lifecycle_state *ret_next, struct err *err);
void process_end(struct process *p, enum lifecycle_state next, int r);

int process_start(struct process *p, struct err *err);
int process_kill(struct process *p, uint32_t signal, bool all, struct err *err);
int process_resize(struct process *p, uint32_t width, uint32_t height, struct err *err);
int process_close_io(struct process *p, struct err *err);
/* Marks it as ended and tells: wakes who waits, publishes the exit. Fine if it has ended.
 */
void process_exit(struct process *p, uint32_t status, const struct timespec *at);
/* Ends the threads of a process that has ended or never ran, or whose VM is gone. */
void process_join(struct process *p);
/* After process_join(), before it is deleted: who waits for a process that never ran
 * learns that it never will. */
void process_end_unstarted(struct process *p);
/* Removes an exec that has ended or never ran. */
int process_delete_exec(struct process *p, struct err *err);

/* What `delete` and a VM's end make of a process. */
#define EXIT_STATUS_KILLED 137

/* ---- container_create.c, container_delete.c, container.c ---- */

int container_create(struct shim *shim,
	const Containerd__Task__V2__CreateTaskRequest *request, struct err *err);
/* The process is the first of its container, begun for LIFECYCLE_DELETE. */
int container_delete(struct process *init, struct err *err);
int container_exec(struct process *init,
	const Containerd__Task__V2__ExecProcessRequest *request, struct err *err);
int container_pause(struct process *init, bool pause, struct err *err);
int container_update(struct process *init, const void *json, size_t len, struct err *err);
/* All containers as if killed, the sandbox freed: for a shim that is told to end. */
void shim_end_all(struct shim *shim);

/* Waits for and takes the right to change the sandbox; shim_change_end() gives it back.
 */
int shim_change_begin(struct shim *shim, struct err *err);
void shim_change_end(struct shim *shim);

/* ---- stats.c ---- */

/* Packed io.containerd.cgroups.v1.Metrics; the caller's. */
int container_stats(
	struct process *init, void **ret_data, size_t *ret_len, struct err *err);
#define STATS_TYPE_URL "io.containerd.cgroups.v1.Metrics"

/* ---- task_events.c ---- */

void task_publish_create(struct shim *shim,
	const Containerd__Task__V2__CreateTaskRequest *request, uint32_t pid);
void task_publish_start(const struct process *p); /* start or exec-started */
void task_publish_exec_added(const struct process *p);
void task_publish_exit(const struct process *p);
void task_publish_delete(const struct process *p);
void task_publish_paused(const struct container *c, bool paused);
void task_publish_oom(struct shim *shim, const char *id);
