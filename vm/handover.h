/* SPDX-License-Identifier: Apache-2.0 */
/* A stopped VM moves from the process that made it to the one that will use it. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "vm/vm.h"

/*
 * Two processes on one host with one state_dir, the giver (templated's cache) and the
 * taker (a shim). The VM keeps its number, and with it its folder, uid and cgroup; what
 * changes hands is its record's owner, under the folder's lock. So there is always
 * exactly one owner, and after a SIGKILL of either side at any moment the record says
 * whose the VM is.
 *
 *   giver                                   taker
 *   vm_set_aside()  stopped, descriptors out
 *   vm_offer()      from here on it may be
 *                   taken
 *   sends the descriptors  ------------->   vm_adopt()   changes the owner: the commit
 *                          <-------------   says that it has it
 *   vm_withdraw(): taken                    vm_resume()
 *
 * A giver that hears nothing calls vm_withdraw() as well: the VM is its own again, or the
 * taker was faster. One that was killed is swept up after as ever, and so is a taker.
 */
struct vm_handover {
	int qmp_fd, agent_fd, pid_fd, stderr_fd;
	int files_fd, window_fd; /* vm_files() */
	unsigned int qemu_version;
	unsigned int number;
};

#define VM_HANDOVER_INIT                                                                 \
	((struct vm_handover){.qmp_fd = -1,                                              \
		.agent_fd = -1,                                                          \
		.pid_fd = -1,                                                            \
		.stderr_fd = -1,                                                         \
		.files_fd = -1,                                                          \
		.window_fd = -1})

/* Closes the descriptors. Idempotent. */
void vm_handover_done(struct vm_handover *h);

/*
 * Stops a VM whose agent has answered, lifts its CPU limit, and takes its connections
 * apart without losing a byte. From then on vm is of use for vm_offer(), vm_withdraw(),
 * vm_kill(), vm_pidfd() and vm_free() only, also where it fails; `ended` is not called
 * any more.
 */
int vm_set_aside(struct vm *vm, struct vm_handover *ret, struct err *err);

/* The VM may be taken from now on. */
int vm_offer(struct vm *vm, struct err *err);

/* No more: VM_OURS, or VM_TAKEN, and vm_free() then leaves it alone, as it does after an
 * error, when nobody knows. Of a VM that was not offered it is VM_OURS. */
#define VM_OURS  0
#define VM_TAKEN 1
int vm_withdraw(struct vm *vm, struct err *err);

/*
 * Takes the VM that was offered into vm, whose own number is given back; *h is emptied in
 * any case. It is stopped, and was made under a configuration that a template for the
 * vm's own would have to match. On failure vm is as after a start that failed, and the
 * offered VM is ended unless VM_WITHDRAWN is returned: it was not ours to take.
 */
#define VM_WITHDRAWN 1
int vm_adopt(struct vm *vm, struct vm_handover *h, struct err *err);

/* Resumes it; ready when the agent has answered, not unique until vm_make_unique(). */
int vm_resume(struct vm *vm, struct err *err);

/* What QEMU said last, for the log; "" or "; …". */
void vm_handover_last_words(const struct vm_handover *h, char *buf, size_t size);
