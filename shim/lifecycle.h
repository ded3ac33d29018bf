/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a process as a table: which request is allowed when, and what follows. */
#pragma once

#include "base/err.h"

enum lifecycle_state {
	LIFECYCLE_CREATED,
	LIFECYCLE_RUNNING,
	LIFECYCLE_PAUSED,
	LIFECYCLE_STOPPED,
	LIFECYCLE_DELETED,
	LIFECYCLE_STATES,
};

enum lifecycle_request {
	LIFECYCLE_START,
	LIFECYCLE_EXEC, /* of another process in its container */
	LIFECYCLE_KILL,
	LIFECYCLE_PAUSE,
	LIFECYCLE_RESUME,
	LIFECYCLE_RESIZE, /* its terminal */
	LIFECYCLE_CLOSE_IO,
	LIFECYCLE_UPDATE,
	LIFECYCLE_EXIT, /* it has ended; not a client's request */
	LIFECYCLE_DELETE,
	LIFECYCLE_REQUESTS,
};

/*
 * 0 and the state that follows if the request is allowed; else the error that
 * containerd's clients expect, with `id` in its text: -ENOENT for what has ended or is
 * gone (a kill that comes too late is no failure for them), LIFECYCLE_REFUSED
 * (FAILED_PRECONDITION) for the rest.
 */
#define LIFECYCLE_REFUSED (-EBUSY)
int lifecycle_next(enum lifecycle_state state, enum lifecycle_request request,
	const char *id, enum lifecycle_state *ret_next, struct err *err);
