/* SPDX-License-Identifier: Apache-2.0 */
/* One process of a container, from its creation to its end. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "base/util.h"
#include "shim/lifecycle.h"
#include "shim/pod.h"
#include "shim/standin.h"
#include "shim/stdio.h"

/*
 * A request that changes a process takes it with process_begin(), which waits until
 * nobody else has it and asks the lifecycle table; talks to the guest without a lock; and
 * gives it back with process_end(). Between the two it has a use of the pod's VM, and
 * only there.
 *
 * A process that runs has a thread that waits for its end; whoever waits for that end
 * polls exit_fd.
 */
struct process {
	struct process *next; /* of the container's execs */
	struct container *container;
	unsigned int refs;    /* one is the container's; under the pod's lock */
	char *exec_id;        /* "" for the first process */
	const char *agent_id; /* its name in the guest; the first one's: container's id */
	char *in, *out, *err;
	bool terminal;
	Grpc__Process *spec; /* of an exec */

	/* Under the pod's lock. */
	enum lifecycle_state state, begun_in;
	bool busy;
	uint32_t exit_status;
	struct timespec exited_at;
	int exit_fd; /* eventfd: readable once it has ended */
	struct standin
		*standin; /* while it runs; of the first one from its creation on */
	uint32_t pid;     /* that one's, also when it has ended; 0: it never was */

	/* Of whoever made it busy. */
	struct stdio *stdio;
	pthread_t waiter;
	bool has_waiter;
};

/* What `delete` and a VM's end make of a process. */
#define EXIT_STATUS_KILLED 137

struct process_streams {
	bool terminal;
	const char *in, *out, *err; /* as containerd names them; "" for none */
};

/* exec_id "" is the container's first process. It starts with one reference; the pod's
 * lock is held, unless nobody knows the container yet. */
struct process *process_new(
	struct container *c, const char *exec_id, const struct process_streams *streams);
/* Opens its streams. */
int process_open(struct process *p, struct err *err);

/* With a reference of the caller's; -ENOENT names what there is not. */
int process_find(struct pod *pod, const char *id, const char *exec_id,
	struct process **ret, struct err *err);
void process_unref(struct process *p);
DEFINE_CLEANUP(process, struct process *, process_unref);

/* One request to a process. */
struct process_call {
	struct process *p;
	struct pod_use use; /* of requests that reach the guest */
	enum lifecycle_state next;
};

/* On success process_end() must follow, with the request's outcome: 0 moves the process
 * to the state of the table. */
int process_begin(struct process *p, enum lifecycle_request request,
	struct process_call *ret, struct err *err);
void process_end(struct process_call *call, int r);

/* An exec that fails to start gets no second try: its streams have ended. */
int process_start(struct process *p, struct err *err);
/* Its client sees the end of its streams, if it was not started and nobody has it. */
void process_hang_up_unstarted(struct process *p);
int process_kill(struct process *p, uint32_t signal, bool all, struct err *err);
int process_resize(struct process *p, uint32_t width, uint32_t height, struct err *err);
int process_close_io(struct process *p, struct err *err);
/* Removes an exec that has ended or never ran. */
int process_delete_exec(struct process *p, struct err *err);

/* Marks it as ended and tells, when its stand-in is gone: wakes who waits, publishes the
 * exit. Fine if it has ended. */
void process_exit(struct process *p, uint32_t status, const struct timespec *at);
/* Ends the threads of a process that has ended or never ran, or whose VM is gone. */
void process_join(struct process *p);
/* After process_join(), before it is deleted: who waits for a process that never ran
 * learns that it never will. Of an exec nothing is told, since nothing was ever there,
 * and its status is 0. */
void process_end_unstarted(struct process *p);
