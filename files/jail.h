/* SPDX-License-Identifier: Apache-2.0 */
/* The walls around the file server, which it puts up itself before it serves anything. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/*
 * Stages, in this order. The process has one thread, and starts as root.
 *
 *   descriptors  jail_close_others(): nothing is open but what the caller has counted
 *   (caller)     opens what it needs of the old root: tree_prepare() of files/tree.h
 *                holds /proc/self/fd by an O_PATH descriptor, to open files anew. It is
 *                a mount of that folder: it leads to the descriptors of this process, and
 *                by ".." to itself. blanks_open() of files/blanks.h makes an empty
 *                read-only file system
 *   namespaces   mount, network (empty, not even lo is up), IPC, UTS, of its own; needs
 *                CAP_SYS_ADMIN
 *   root         an empty read-only tmpfs; the old root is gone
 *   limits       no core dumps; threads, memory and descriptors bounded
 *   uid          its uid and gid, no groups; of the capabilities those below, also in the
 *                bounding set; no_new_privs; nobody traces it or reads its memory
 *   filter       the system calls of jail_filter.c; what no file server ever makes kills
 *   (caller)     with the first volume: a fanotify group, as anybody may have
 *                (files/watch.h)
 *
 * What is left to one that is broken into: the trees that it was given, by descriptors,
 * the channel, the window. A descriptor's mount decides what may be done through it
 * (read-only, nosuid, nodev), and by ".." it leads no further than that mount's root:
 * each tree is a detached mount of its own.
 *
 *   CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP
 *                         serving files: the guest's kernel has checked who may do what
 *   CAP_MKNOD             what a container with that capability makes. They lead nowhere
 *                         through the trees, whose mounts are nodev
 *   CAP_SETUID, CAP_SETGID
 *                         setfsuid(2), setfsgid(2): who makes a file owns it. The filter
 *                         denies every other change of ids
 *
 * oom_score_adj stays as it is: lowering it takes CAP_SYS_RESOURCE, which not every host
 * has.
 */

/* Closes all descriptors from `first` on. */
int jail_close_others(unsigned int first, struct err *err);
/* *ret_descriptors: how many the process may have from then on. */
int jail_enter(uid_t uid, unsigned int *ret_descriptors, struct err *err);

/* The keeper's stages (keeper.h), for a child of the server's, which it ends with. */
#define JAIL_KEEPER_FD 0 /* its socket */
int jail_enter_keeper(uid_t uid, pid_t parent, struct err *err);

/* The last stage, for jail_enter() and jail_enter_keeper(). */
int jail_filter_enter(struct err *err);
int jail_filter_enter_keeper(struct err *err);
