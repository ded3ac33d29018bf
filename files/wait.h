/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait in the host's kernel, and how they are interrupted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Interrupts that come before what they mean are remembered: so many. The guest has fewer
 * requests than that on their way (FILES_CREDITS, files/wire.h). */
#define WAITS_EARLY 256u

struct tree;
struct call;

struct waits {
	struct wait *first;
	bool ended; /* nobody waits any more */
	uint64_t early[WAITS_EARLY];
	unsigned int next_early;
};

/* Once for the process, after caller_prepare(): the signal's handler.
 * Later calls do nothing. */
int waits_prepare(struct err *err);

/*
 * Calls `block` with a copy of fd (of the same open file description) until it returns or
 * the request is interrupted. It makes one system call that blocks and acts on that
 * descriptor, and returns 0 or a negative errno. -EINTR: interrupted.
 */
int wait_for(
	struct call *c, int fd, int (*block)(int fd, const void *arg), const void *arg);

/* The request of this number waits no longer, nor will it. */
void wait_interrupt(struct tree *tree, uint64_t unique);
/* None does; until waits_clear(). */
void waits_end(struct tree *tree);
void waits_clear(struct tree *tree);
