/* SPDX-License-Identifier: Apache-2.0 */
/* The one way a request waits: for its event, its deadline or the end of who asked. */
#pragma once

#include <poll.h>
#include <stdint.h>

/* Waits for any of n descriptors: 0 if it was (also) the first, -ECONNRESET if only
 * others, -ETIMEDOUT at the deadline. */
int wait_first(struct pollfd *fds, nfds_t n, int64_t deadline);

/*
 * Waits for fd to have one of `events` (or an error or hang-up, which count): 0;
 * -ETIMEDOUT at the deadline; -ECONNRESET when closed_fd (-1: none) became readable
 * first.
 */
int wait_either(int fd, short events, int closed_fd, int64_t deadline);
