/* SPDX-License-Identifier: Apache-2.0 */
/* Acting as the process in the guest that asks: its ids, its umask,
 * its missing CAP_FSETID. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* The process's /proc/self/fd (O_PATH, close-on-exec), as a mount of its own that has
 * nothing else of /proc, or a negative errno. Needs CAP_SYS_ADMIN. */
int caller_open_names(struct err *err);

/*
 * Once for the process: takes caller_open_names(), by which descriptors are opened anew.
 * Later calls do nothing.
 */
int caller_prepare(struct err *err);
/* That descriptor (O_PATH). */
int caller_proc_fd(void);

/*
 * Makes this thread one that may serve: with a working folder (/proc/self/fd, so that "5"
 * is the path of descriptor 5) and a umask of its own.
 */
int caller_thread(void);

/* The path of a descriptor, for calls that know only paths.
 * Of a thread that may serve. */
struct fd_path {
	char text[12];
};
struct fd_path fd_path(int fd);

/*
 * What the host's kernel makes now belongs to these ids and is masked by umask;
 * capabilities stay, since the guest's kernel has checked permissions. -EPERM where the
 * ids are none here. After success caller_return() is due.
 */
int caller_become(uid_t uid, gid_t gid, mode_t mask);
void caller_return(void);

/* Between these two the host's kernel removes the set-id bits of what is written to, as
 * for any process without CAP_FSETID. */
void caller_drop_fsetid(void);
void caller_regain_fsetid(void);
