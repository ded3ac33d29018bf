/* SPDX-License-Identifier: Apache-2.0 */
/* struct vm, shared by the files of vm/ only. */
#pragma once

#include <pthread.h>

#include "hotplug/qmp.h"
#include "vm/argv.h"
#include "vm/ports.h"
#include "vm/record.h"
#include "vm/spawn.h"
#include "vm/vm.h"

/* QEMU's standard error is kept up to here;
 * what it writes beyond is refused by a seal. */
#define VM_STDERR_BYTES 16384

struct vm {
	const struct config *config;
	const char *pod_cgroup; /* "" for none */
	struct trace *trace;
	unsigned int cpu_percent;
	void (*ended)(void *user);
	void *user;

	/* On the host. dir is NULL between a start that failed and the next one. */
	char *dir;
	unsigned int number;
	struct vm_record record;
	int cgroup_fds[CGROUP_MAX]; /* cgroup.procs, until QEMU has joined; -1: none */

	/* Of whoever starts it; they stand still from its readiness to its end. */
	struct spawned qemu;
	struct qmp *qmp;
	struct agent *agent;
	int stderr_fd; /* a sealed memfd that QEMU's standard error goes to */
	int agent_fd;  /* host end of the channel until the agent client has it */
	int files_fd;  /* host end of the file channel */
	int window_fd; /* its memory; -1: a template's VM has none */
	bool watched;
	pthread_t watch;
	bool taken; /* by another process: the VM is not ours to undo */
	bool left;  /* something that vm_undo() could not undo is on the host */

	/* Of vm_resize(). */
	unsigned int vcpus, dimms;
	uint64_t dimm_bytes, file_bytes;

	pthread_mutex_t lock; /* of what follows; held for moments */
	bool killed;          /* vm_kill() was called */
	bool undoing;         /* QEMU is ended by vm_undo() */
	bool leaving;         /* its connections are being taken apart: vm_set_aside() */
	bool guest_ended;     /* by itself */
	bool gone;            /* QEMU has ended */
	bool ready;           /* a start has come to its end */
	int kill_fd;          /* qemu.pidfd while QEMU may be killed; else -1 */
	char *console;        /* its end, kept when the guest ended by itself; or NULL */
	struct ports ports;
	uint64_t image_bytes; /* as memory */
};

/* Absolute deadlines from the configuration, from now on. */
int64_t vm_call_deadline(const struct vm *vm);
int64_t vm_boot_deadline(const struct vm *vm);

/* The parts of a start that boot and clone share (start.c). Whoever starts calls
 * vm_undo() where one fails. */
struct vm_start {
	enum vm_role role;
	struct vm_machine machine;
	int memory_fd; /* -1: none */
};
/* Spawns QEMU and talks QMP. */
int vm_start(struct vm *vm, const struct vm_start *start, struct err *err);
/* Waits for the agent's first answer; a silent guest's last words are in err. */
int vm_meet_agent(struct vm *vm, int64_t deadline, struct err *err);

/* Makes the window's memory (files.c). */
int vm_make_window(struct vm *vm, struct err *err);
/* Another descriptor of it, for QEMU: whose flags (O_APPEND) are not those of ours. */
int vm_open_window(const struct vm *vm, struct err *err);

/* What its cgroup may have, before QEMU is in it; and before that much is plugged
 * (limits.c). */
int vm_limit_start(struct vm *vm, struct err *err);
int vm_limit_memory(struct vm *vm, uint64_t dimm_bytes, struct err *err);

/* A number, unless it has one. */
int vm_take_number(struct vm *vm, struct err *err);
/* Writes the record down as it is now. */
int vm_write_record(struct vm *vm, struct err *err);
/* Ends QEMU, waits for that, undoes everything: as after vm_new(), but without a number.
 * What can't be undone is logged. */
void vm_undo(struct vm *vm);

/* From here on vm_kill() finds QEMU; -ECANCELED: it was called already. */
int vm_publish_qemu(struct vm *vm, int pidfd, struct err *err);
/* Starts and joins the VM's thread (watch.c). */
int vm_watch(struct vm *vm, struct err *err);
void vm_unwatch(struct vm *vm);
/* The end of a start: from here on `ended` is told. -ECONNRESET:
 * QEMU has ended already. */
int vm_become_ready(struct vm *vm, struct err *err);
/* -ECANCELED once vm_kill() was called. */
int vm_check_killed(struct vm *vm, struct err *err);

/* Appends the end of QEMU's standard error, kept in a memfd, to a text. */
void vm_append_stderr(int stderr_fd, char *buf, size_t size);
/* Appends what the guest's console and QEMU said last to an error that is set. */
int vm_explain(struct vm *vm, struct err *err);
