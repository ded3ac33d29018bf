/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM has made outside its memory, written down before it is made: <dir>/vm.json.
 */
#pragma once

#include <sys/types.h>

#include "base/config.h"
#include "base/err.h"
#include "base/proc.h"

struct vm_record {
	uid_t uid;           /* 0: none taken */
	char cgroup[128];    /* name for cgroup_remove(); "": none made */
	struct proc_id qemu; /* pid 0: not started */
};

int vm_record_write(const char *dir, const struct vm_record *record, struct err *err);
/* -ENOENT if there is none. */
int vm_record_read(const char *dir, struct vm_record *ret, struct err *err);

/*
 * Takes a free uid of the configured range by making <state_dir>/.uids/<uid>, a link to
 * dir. -EBUSY when all are taken. A link whose folder is gone counts as free.
 */
int vm_uid_take(const struct config *c, const char *dir, uid_t *ret_uid, struct err *err);
/* Gives back whatever is dir's, for an owner that was killed before he wrote it down. */
void vm_uid_release_all(const struct config *c, const char *dir);
/* Gives it back if it is dir's; idempotent. */
void vm_uid_release(const struct config *c, const char *dir, uid_t uid);
