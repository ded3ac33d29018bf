/* SPDX-License-Identifier: Apache-2.0 */
/* The pod of a shim: its VM, its network, its containers, its life. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "base/trace.h"
#include "files/client.h"
#include "shim/events.h"
#include "shim/factory.h"
#include "shim/pod_life.h"
#include "shim/pod_size.h"
#include "shim/standin.h"
#include "shim/state.h"
#include "vm/vm.h"

/*
 * A shim has one pod from its start to its end. The pod has a VM between pod_start() and
 * pod_stop(), which need not be the times of its first and its last container.
 *
 * One lock for the pod, its containers (container.h) and their processes (process.h),
 * held for moments only. What takes longer is kept apart in two ways:
 *   - a change of the pod (starting, stopping, a container made or removed) is made by
 *     one thread at a time, between pod_change_begin() and pod_change_end();
 *   - whoever talks to the VM has a use of it, and pod_stop() waits for the last of them.
 */
struct errand;
struct disks;
struct pod_disk;
struct pod_image;
struct pod_names;
struct pod_net;
struct pod_ports;
struct pod_streams;
struct sandbox;
struct trees;

struct pod {
	struct events *events;
	struct state state;
	/* As loaded; with a pod's annotations once it has started. */
	struct config config;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool changing;
	bool ending; /* nothing is made any more */
	enum pod_state life;
	unsigned int uses;     /* of vm */
	struct vm *vm;         /* from POD_STARTING to the end of POD_STOPPING */
	bool vm_ended;         /* by itself */
	bool oom_told;         /* … since its memory had been used up */
	bool oom_stops;        /* the thread is to end */
	bool resizing;         /* the VM; of whoever does: */
	uint64_t wanted_bytes; /* of memory, by pod_resize() */
	uint64_t grown_bytes;  /* beyond that, by pod_grow() */
	bool grows_no_more;
	struct files_client *files; /* the file server, as long as vm */
	int files_log_fd;           /* a memfd with what it has said; -1: there is none */
	struct container *containers;
	struct errand *errands; /* pod_errands.h */

	int nics; /* not plugged yet; -1: not known yet */

	/* Of whoever changes it. */
	struct sandbox
		*sandbox; /* sandbox.h; NULL: its containers make and end the pod */
	char cgroup[CGROUP_PATH_BYTES]; /* where its CRI has it; "": nowhere */
	struct pod_size size;     /* what was said of the whole pod; zeros: nothing */
	struct pod_image *images; /* pod_images.h */
	struct pod_disk *disks;   /* pod_disks.h */
	struct factory_result factory;
	struct pod_net *net;     /* NULL: no namespace */
	struct pod_ports *ports; /* NULL: there are none */
	struct pod_names *names; /* as long as net, and so are: */
	struct pod_streams *streams;
	/* Its namespaces on the host, from before its start to its end; else -1. */
	int netns_fd, ipcns_fd, utsns_fd;
	struct standins *standins; /* with the first container */
	pthread_t oom;             /* pod_oom.h */
	bool has_oom, reported;
	bool left; /* something could not be undone: pod_remove_state() */
	struct trace trace;
};

/* An empty pod, with its state and config filled in already; events are borrowed. */
void pod_init(struct pod *pod, struct events *events);
/* It must be empty again. */
void pod_done(struct pod *pod);

/* Waits for and takes the right to change the pod. -ESHUTDOWN: it is about to end. */
int pod_change_begin(struct pod *pod, struct err *err);
void pod_change_end(struct pod *pod);
/* For who is making a container and has let others change the pod meanwhile; in a pod
 * that is ending, too. */
void pod_change_take_back(struct pod *pod);

/* ---- its VM; for whoever changes the pod ---- */

struct pod_needs {
	const char *hostname; /* "" for none */
	/* The network namespace's path, for who cleans up after a crash. "": it goes with
	 * the pod's processes, or there is none. */
	const char *netns;
	uint64_t cpu_millis, memory_bytes;
	/* Of the first container; NULL: none. */
	struct trees *trees;
	struct disks *disks;
	const struct errand *errand;
};

/*
 * A VM of the best factory, made unique, with its file server, and the first container's
 * disks and image; side by side with that the network, and then with the NICs what the
 * pod needs of CPU and memory. Ready when the guest has acknowledged all of it. On
 * failure nothing stays.
 */
int pod_start(struct pod *pod, const struct pod_needs *needs, struct err *err);
bool pod_has_vm(struct pod *pod);
/* Of the VM's ports those for NICs that are not plugged yet. Waits until the network has
 * been looked at, or could not be. */
unsigned int pod_reserved_ports(struct pod *pod);
/* Gives up what a pod that was not started has of its namespaces. */
void pod_close_namespaces(struct pod *pod);
/* What the containers need in all. Never shrinks. */
int pod_resize(
	struct pod *pod, uint64_t cpu_millis, uint64_t memory_bytes, struct err *err);
/*
 * For containers without a limit, which the VM's memory comes to an end for, from any
 * thread in a use: as much again as was wanted, in all at most memory_growth of the
 * configuration. Whether there is still some to get, and the step. After a failure
 * there is none.
 */
bool pod_may_grow(struct pod *pod);
int pod_grow(struct pod *pod, struct vm *vm, struct err *err);
/* Kills the VM, waits until nobody uses it any more, undoes it and the network. Nothing
 * happens to an empty pod. */
void pod_stop(struct pod *pod);

/*
 * The last thing that goes: the state folder. Where something of the pod could not be
 * undone it stays, so that the verb `delete`, which containerd runs when this shim has
 * ended, finds that by it. Logged.
 */
void pod_remove_state(struct pod *pod);

/* ---- from any thread ---- */

/* Kills the VM: calls of its agent end with -ECONNRESET, so that whoever makes them can
 * leave before pod_stop(). Its containers are not told. */
void pod_kill_vm(struct pod *pod);
/* The guest did not answer what (a sentence) must not stay undone: ends the VM as if it
 * had ended by itself. */
void pod_give_up(struct pod *pod, const char *what);

/*
 * Nothing is made from now on, and what is being made fails: its VM is killed, and its
 * hooks. Returns when nobody changes the pod or makes a container any more; false if it
 * was ending already.
 */
bool pod_begin_end(struct pod *pod);

/* A use of the VM. While there is one, agent and trace stay. */
struct pod_use {
	struct pod *pod;
	struct vm *vm;
	struct files_client *files;
	struct agent *agent;
	int64_t deadline; /* of one call that does not wait for a process */
};

/* -ECONNRESET, as of a VM that has just died: there is none. */
int pod_use_begin(struct pod *pod, struct pod_use *ret, struct err *err);
int pod_use_begin_locked(struct pod *pod, struct pod_use *ret, struct err *err);
void pod_use_end(struct pod_use *use);
void pod_use_end_locked(struct pod_use *use);

/* Logs the phases of the start, once, when the first process runs; in a use. */
void pod_report(struct pod *pod);
