/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's number on its host: its folder, its uid and its cgroup follow from it. */
#pragma once

#include <sys/types.h>

#include "base/config.h"
#include "base/err.h"
#include "vm/record.h"

/*
 * Number n, below uid_count, is taken by making <state_dir>/vms/<n>/ and is the VM's for
 * life, whoever owns it. QEMU's uid and gid are uid_base + n, those of its file server
 * uid_base + uid_count + n; the cgroup of both is <cgroup_parent>/<QEMU's uid>, or lies
 * in the pod's (cgroup_path_in_pod()).
 *
 * No two VMs of a host have one uid, not even of two instances of Stencil that know
 * nothing of each other: whoever takes a number has claimed the range of its
 * configuration in VM_CLAIMS, a folder of the host, as a link "<first uid>-<last uid>" to
 * its state_dir. A claim lasts as long as there is a VM below that state_dir.
 *
 * All of this is made and removed under the lock of VM_CLAIMS, a few system calls at a
 * time.
 */
#define VM_CLAIMS  "/run/stencil/uids"
#define VM_FOLDERS "vms" /* below state_dir */

/*
 * Takes a free number and returns it. pod is the pod's cgroup, or "": where there is no
 * such cgroup, that is a warning. With the number come its folder, the record in that
 * (record->cgroup and files_uid are filled in) and its cgroup, with an open cgroup.procs
 * of each hierarchy as by cgroup_create(). *ret_dir is the caller's. -EBUSY: all are
 * taken; -EADDRINUSE: another instance has claimed some of the uids. Both name the key.
 */
int vm_number_take(const struct config *c, const char *pod, struct vm_record *record,
	char **ret_dir, int procs_fds[CGROUP_MAX], struct err *err);

/* Removes the folder and the cgroup of a VM whose QEMU has ended. Idempotent. */
int vm_number_give(
	const struct config *c, const char *dir, const char *cgroup, struct err *err);

/* The same for a folder without a record: whoever took that number was killed in the
 * middle. One that has a record by now stays. */
int vm_number_give_unrecorded(const struct config *c, const char *dir, struct err *err);

/* Where there is no VM the range of uids is nobody's: who gives up the last number sees
 * to that, but may be killed in the middle. */
void vm_number_drop_claims(const struct config *c);

static inline uid_t vm_number_uid(const struct config *c, unsigned int number)
{
	return (uid_t)(c->uid_base + number);
}

/* By the taker's own configuration. Of a VM that another configuration made, its record
 * tells. */
static inline uid_t vm_number_files_uid(const struct config *c, unsigned int number)
{
	return (uid_t)(c->uid_base + c->uid_count + number);
}

/* The lock of VM_CLAIMS, for who else makes and removes cgroups in cgroup_parent: a
 * descriptor that holds it, or a negative errno. */
int vm_number_lock(struct err *err);
