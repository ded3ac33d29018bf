/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down of a VM on this host: <state_dir>/vms/<n>/vm.json. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/proc.h"
#include "base/util.h"
#include "mm/generation.h"
#include "vm/cgroup.h"

/* containerd's names have at most 76 bytes; a generation's id is shorter. */
#define VM_NAME_SIZE 80

/*
 * A VM has one owner at a time, the process that undoes it. It belongs to that process as
 * long as that lives, and afterwards to whoever sweeps (vm/sweep.h). The owner is changed
 * under the lock of the VM's folder, by one rename(2) of the record: at any moment, also
 * that of a SIGKILL, the record says whose the VM is.
 */
struct vm_record {
	struct proc_id owner;
	bool offered;                 /* its owner waits for somebody who takes it over */
	char namespace[VM_NAME_SIZE]; /* of the sandbox; "": templated's own */
	char sandbox[VM_NAME_SIZE];   /* the sandbox's id, or what templated calls it */
	/* That it is a clone of; "": it was booted. */
	char generation[GENERATION_ID_SIZE];
	char cgroup[CGROUP_PATH_BYTES]; /* for cgroup_remove() */
	uid_t files_uid;                /* its file server's */
	struct proc_id qemu;            /* pid 0: not started */
};

/* dir_fd: the VM's folder. -ENOENT: there is none, or the folder has been removed. */
int vm_record_read(int dir_fd, struct vm_record *ret, struct err *err);
int vm_record_write(int dir_fd, const struct vm_record *record, struct err *err);

/*
 * Opens the VM's folder and waits for its lock, for vm_unlock(). Held for moments, or
 * while the VM is undone; taken before vm_number_lock() where both are. A negative errno;
 * -ENOENT: there is no such VM.
 */
int vm_record_lock(const char *dir);
/* Gives back either lock, whoever was forked meanwhile,
 * and closes the descriptor. -1 is fine. */
void vm_unlock(int fd);
DEFINE_CLEANUP(unlock, int, vm_unlock);
