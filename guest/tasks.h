/* SPDX-License-Identifier: Apache-2.0 */
/* How many tasks (processes and threads) the guest may have, and how many of them
 * containers. */
#pragma once

#include "base/err.h"

/*
 * Threads as the kernel allows them at its boot for the memory that there is now: it does
 * not do so again when memory is plugged. Less are left to all containers together: a
 * request is a thread, and an exec some processes, so that one container which has used
 * up the guest could not even be killed. Neither number ever shrinks. The containers'
 * group is made if it is not there.
 */
int tasks_follow_memory(struct err *err);

/* What no user of a container's is to be limited to by its guest's first memory: see
 * RLIMIT_NPROC and RLIMIT_SIGPENDING in setrlimit(2). Inherited by all that comes. */
int tasks_unlimit_users(struct err *err);
