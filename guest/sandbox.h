/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's one sandbox, its containers and their processes: who exists and in what
 * state. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/util.h"
#include "guest/child.h"

/* The longest container or exec id; containerd's are at most 76 characters. */
#define GUEST_ID_MAX   128
#define CONTAINERS_MAX 256
/* Of one container. Those that nobody has waited for can't be forgotten. */
#define PROCESSES_MAX 512

/*
 * Locking: one lock, sandbox.lock, over the lists and every field that changes, except
 * where said. Nothing waits under it. Containers and processes are counted: what a lookup
 * returned stays until it is put, also when it was taken off its list meanwhile.
 */

/* What a crun started: a container's init or an exec. */
struct process {
	struct process *next; /* of the container: newest first */
	unsigned int refs;    /* atomic */
	char id[GUEST_ID_MAX + 1];
	bool terminal;
	bool launched; /* what is below is filled; before, the list keeps its name only */
	struct child child;
	/* Our ends of the standard streams, -1: none. A terminal's in_fd is its master's
	 * side, its out_fd a pipe's (terminal.h). All stay open until the last reference
	 * is gone, but the in_fd of what has no terminal: that is under the lock. */
	int in_fd, out_fd, err_fd;
	bool waited, out_ended, err_ended; /* all three: it can be forgotten */
};

enum container_state {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING, /* or ended: its init process knows */
	CONTAINER_PAUSED,
	CONTAINER_REMOVING,
};

enum container_request {
	CONTAINER_DO_START,
	CONTAINER_DO_EXEC,
	CONTAINER_DO_PAUSE,
	CONTAINER_DO_RESUME,
	CONTAINER_DO_UPDATE,
	CONTAINER_DO_REMOVE,
};

struct container {
	struct container *next;
	unsigned int refs; /* atomic */
	char id[GUEST_ID_MAX + 1];
	enum container_state state;
	unsigned int busy; /* requests under way that must end before it is removed */
	struct process *processes;
	struct process *init; /* one of processes, or NULL */
	char **mounts;        /* storages mounted for it, to be unmounted backwards */
	size_t n_mounts;
	bool is_pause;      /* see pause.h; from its making on */
	uint64_t oom_kills; /* of its cgroup, as far as told to the host */
};

struct sandbox {
	pthread_mutex_t lock;
	pthread_cond_t idle; /* a container's busy went down */
	bool running;
	char id[GUEST_ID_MAX + 1];
	struct container *containers;
	unsigned int n_containers;
	struct child pause; /* holds the shared pid namespace, if there is one */
	bool has_pause;
	char **mounts; /* of CreateSandbox's storages */
	size_t n_mounts;
	int oom_fd; /* inotify over the containers' memory.events */
};

void sandbox_init(struct sandbox *s);

/* [A-Za-z0-9][A-Za-z0-9_.-]*, at most GUEST_ID_MAX; `what` names it in the error. */
int id_check(const char *what, const char *id, struct err *err);

/* ---- containers ---- */

/* Adds one in state CREATING; the reference returned is the caller's. -EEXIST if there is
 * one; -ENOTCONN before CreateSandbox. */
int sandbox_add(
	struct sandbox *s, const char *id, struct container **ret, struct err *err);
/* Takes it off the list (the list's reference is given up). */
void sandbox_drop(struct sandbox *s, struct container *c);
/* -ENOENT if there is none. */
int sandbox_find(
	struct sandbox *s, const char *id, struct container **ret, struct err *err);
void container_put(struct container *c);
DEFINE_CLEANUP(container, struct container *, container_put);

/*
 * Asks the state table whether `request` is legal now, goes to the state after it and
 * counts it as under way until container_leave(). A failed request hands back the state
 * that it found.
 */
int container_enter(struct sandbox *s, struct container *c,
	enum container_request request, enum container_state *ret_before,
	struct err *err);
void container_leave(struct sandbox *s, struct container *c);
void container_set_state(
	struct sandbox *s, struct container *c, enum container_state state);
/* Waits until no request but the caller's is under way. */
int container_wait_idle(struct sandbox *s, struct container *c, int64_t deadline);

/* ---- processes ---- */

struct process *process_new(
	const char *id, bool terminal); /* one reference, on no list */
void process_put(struct process *p);
DEFINE_CLEANUP(process, struct process *, process_put);

/* Puts it on the container's list, which has a reference of its own; the first is its
 * init. -EEXIST, -ENOSPC when there are PROCESSES_MAX that nobody waited for. */
int container_add_process(
	struct sandbox *s, struct container *c, struct process *p, struct err *err);
/* From now on lookups find it. */
void process_set_launched(struct sandbox *s, struct process *p);
void container_drop_process(struct sandbox *s, struct container *c, struct process *p);
/* exec_id equal to the container's id, or empty, is its init. -ENOENT names which is
 * missing. */
int sandbox_find_process(struct sandbox *s, const char *container_id, const char *exec_id,
	struct process **ret, struct err *err);
/* Marks something as done with the process; one that is waited for and read to its end is
 * forgotten, except an init. */
enum process_done {
	PROCESS_WAITED,
	PROCESS_OUT_ENDED,
	PROCESS_ERR_ENDED,
};
void process_done_with(struct sandbox *s, const char *container_id, struct process *p,
	enum process_done what);
