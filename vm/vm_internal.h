/* SPDX-License-Identifier: Apache-2.0 */
/* struct vm, shared by the files of vm/ only. */
#pragma once

#include <pthread.h>

#include "vm/argv.h"
#include "vm/record.h"
#include "vm/spawn.h"
#include "vm/vm.h"

struct vm {
	const struct config *config;
	char *id, *dir;
	struct trace *trace;
	unsigned int cpu_percent;
	int (*spawned)(void *user, const struct proc_id *qemu, struct err *err);
	void *user;
	struct vm_record record;
	struct spawned qemu;
	struct qmp *qmp;
	struct agent *agent;
	int stderr_fd;       /* a sealed memfd that QEMU's standard error goes to */
	int agent_fd;        /* host end of the channel until the agent client has it */
	bool watched, ended; /* ended: the guest has, by itself (of the watcher) */
	pthread_t watcher;
	pthread_mutex_t lock; /* of what follows */
	char *console;        /* its end, kept when the guest ended by itself; or NULL */
	unsigned int ports_taken;
	unsigned int dimms;
	uint64_t dimm_bytes;
	unsigned int vcpus;
};

/* Absolute deadlines from the configuration, from now on. */
int64_t vm_call_deadline(const struct vm *vm);
int64_t vm_boot_deadline(const struct vm *vm);

/* The parts of a start that boot and clone share (start.c). The vm is freed by the
 * caller. */
struct vm *vm_new(const struct vm_options *options);
struct vm_start {
	enum vm_role role;
	struct vm_machine machine;
	int memory_fd; /* -1: none */
};
/* Spawns QEMU and talks QMP. */
int vm_start(struct vm *vm, const struct vm_start *start, struct err *err);
/* Starts and joins the thread that ends QEMU when its guest has ended by itself
 * (watch.c). */
int vm_watch(struct vm *vm, struct err *err);
void vm_unwatch(struct vm *vm);
/* Waits for the agent's first answer; a silent guest's last words are in err. */
int vm_meet_agent(struct vm *vm, int64_t deadline, struct err *err);
/* Appends the end of QEMU's standard error, kept in a memfd, to a text. */
void vm_append_stderr(int stderr_fd, char *buf, size_t size);
/* Frees the struct alone. */
void vm_free_struct(struct vm *vm);
/* Appends what the guest's console and QEMU said last to an error that is set. */
int vm_explain(struct vm *vm, struct err *err);
