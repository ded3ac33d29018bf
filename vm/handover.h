/* SPDX-License-Identifier: Apache-2.0 */
/* A stopped VM moves from the process that made it to the one that will use it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "vm/vm.h"

/*
 * Two processes on one host, the giver (templated's cache) and the taker (a shim), each
 * with a folder for the VM on one file system. The VM belongs to whoever has its record,
 * <folder>/vm.json, and that moves by rename(2): there is always exactly one owner, and
 * after a SIGKILL of either side at any moment the folder with the record says whose it
 * is.
 *
 *   giver                                   taker
 *   vm_detach()   stopped, descriptors out
 *   vm_offer()    from here on the record
 *                 may move
 *   sends the descriptors  ------------->   vm_adopt()   moves the record: the commit;
 *                                                        then the uid's link
 *                          <-------------   says that it has it
 *   vm_forget()                             vm_resume()
 *
 * A giver that hears nothing, or is started again, calls vm_withdraw(): it moves the
 * record out of the taker's reach and ends the VM, or finds that the taker was faster.
 * A taker that was killed behind the commit is cleaned up after by vm_cleanup() on its
 * folder, as with any VM. Between the commit and the move of the uid's link that link
 * leads to the giver's folder: the giver keeps the folder until it heard of the taker or
 * QEMU has ended, so that nobody else takes the uid; the record has the folder's name, so
 * that the taker's vm_cleanup() may remove the link all the same.
 *
 * The cgroup keeps the name that it was made with.
 */
struct vm_handover {
	int qmp_fd, agent_fd, pid_fd, stderr_fd;
	unsigned int qemu_version;
	pid_t pid;
};

#define VM_HANDOVER_INIT                                                                 \
	((struct vm_handover){                                                           \
		.qmp_fd = -1, .agent_fd = -1, .pid_fd = -1, .stderr_fd = -1})

/* Closes the descriptors. Idempotent. */
void vm_handover_done(struct vm_handover *h);

/*
 * Stops a VM whose agent has answered, lifts its CPU limit, and takes its connections
 * apart without losing a byte. vm is freed in any case; where it fails the VM is ended as
 * by vm_free(), else its folder stays as it is. QEMU stays a child of this process, which
 * has to reap it.
 */
int vm_detach(struct vm *vm, struct vm_handover *ret, struct err *err);

/* The VM in dir may be taken from now on. */
int vm_offer(const char *dir, struct err *err);
/*
 * Ends and undoes the VM of dir and removes the folder: 0. 1 if it was taken, and nothing
 * has changed. A VM that was not offered is not taken. Idempotent; whoever made the VM
 * reaps it.
 */
int vm_withdraw(const struct config *c, const char *dir, struct err *err);
/* The taker has said that it has it: removes the folder. */
int vm_forget(const char *dir, struct err *err);
/* After a start: withdraws it. A folder of a VM that was taken goes too, unless a uid's
 * link leads to it still. */
int vm_withdraw_left(const struct config *c, const char *dir, struct err *err);

/*
 * Takes the VM that was offered in `from`; *h is emptied in any case. -ESTALE: it was
 * withdrawn; the VM is not ours. Any other failure behind the commit ends it. The VM is
 * stopped, and was made under a configuration that a template for options->config would
 * have to match.
 */
int vm_adopt(const struct vm_options *options, struct vm_handover *h, const char *from,
	struct vm **ret, struct err *err);
/* Resumes it; ready when the agent has answered, not unique until vm_make_unique(). */
int vm_resume(struct vm *vm, struct err *err);

/* What QEMU said last, for the log; "" or "; …". */
void vm_handover_last_words(const struct vm_handover *h, char *buf, size_t size);
