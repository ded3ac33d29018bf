/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM has made outside its memory, written down before it is made: <dir>/vm.json.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/config.h"
#include "base/err.h"
#include "base/proc.h"
#include "vm/cgroup.h"

struct vm_record {
	uid_t uid;                      /* 0: none taken */
	char cgroup[CGROUP_PATH_BYTES]; /* for cgroup_remove(); "": none made */
	struct proc_id qemu;            /* pid 0: not started */
	/*
	 * "", or the folder that the uid's link may lead to as well: that of the owner
	 * before. Folders of ours are short, since sockets lie beside them.
	 */
	char born[256];
};

int vm_record_write(const char *dir, const struct vm_record *record, struct err *err);
/* -ENOENT if there is none. */
int vm_record_read(const char *dir, struct vm_record *ret, struct err *err);

/*
 * Takes a free uid of the configured range by making <state_dir>/.uids/<uid>, a link to
 * dir. -EBUSY when all are taken. A link whose folder is gone counts as free.
 */
int vm_uid_take(const struct config *c, const char *dir, uid_t *ret_uid, struct err *err);
/* Gives it back if it is dir's or that of `born` ("": none); idempotent. */
void vm_uid_release(const struct config *c, const char *dir, const char *born, uid_t uid);
/* Gives back whatever is dir's, for an owner that was killed before he wrote it down. */
void vm_uid_release_all(const struct config *c, const char *dir);
/* The link leads to another folder from now on, without a moment in between. */
int vm_uid_move(const struct config *c, uid_t uid, const char *dir, struct err *err);
/* Whether a uid's link leads to dir. */
bool vm_uid_is_held(const struct config *c, const char *dir);

/*
 * A VM belongs to whoever has its record, and a record moves by one rename(2): of several
 * who want it one gets it. -ENOENT: it is not in `from`, somebody was faster.
 */
int vm_record_move(const char *from, const char *to, struct err *err);
