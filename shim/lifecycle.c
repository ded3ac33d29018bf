/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a process: see lifecycle.h. */
#include "shim/lifecycle.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

#define C LIFECYCLE_CREATED
#define R LIFECYCLE_RUNNING
#define P LIFECYCLE_PAUSED
#define S LIFECYCLE_STOPPED
#define D LIFECYCLE_DELETED

static const struct rule {
	enum lifecycle_state state;
	enum lifecycle_request request;
	enum lifecycle_state next;
} rules[] = {
	{C, LIFECYCLE_START, R},
	{C, LIFECYCLE_EXEC, C},
	{C, LIFECYCLE_KILL, C},
	{C, LIFECYCLE_RESIZE, C},
	{C, LIFECYCLE_CLOSE_IO, C},
	{C, LIFECYCLE_UPDATE, C},
	{C, LIFECYCLE_EXIT, S},
	{C, LIFECYCLE_DELETE, D},

	{R, LIFECYCLE_EXEC, R},
	{R, LIFECYCLE_KILL, R},
	{R, LIFECYCLE_PAUSE, P},
	{R, LIFECYCLE_RESIZE, R},
	{R, LIFECYCLE_CLOSE_IO, R},
	{R, LIFECYCLE_UPDATE, R},
	{R, LIFECYCLE_EXIT, S},

	{P, LIFECYCLE_KILL, P},
	{P, LIFECYCLE_RESUME, R},
	{P, LIFECYCLE_RESIZE, P},
	{P, LIFECYCLE_CLOSE_IO, P},
	{P, LIFECYCLE_UPDATE, P},
	{P, LIFECYCLE_EXIT, S},

	/* A client closes the input of what has ended already: nothing to do, no
	 * error. */
	{S, LIFECYCLE_CLOSE_IO, S},
	{S, LIFECYCLE_DELETE, D},
};

#undef C
#undef R
#undef P
#undef S
#undef D

static const char *const state_names[LIFECYCLE_STATES] = {
	[LIFECYCLE_CREATED] = "created",
	[LIFECYCLE_RUNNING] = "running",
	[LIFECYCLE_PAUSED] = "paused",
	[LIFECYCLE_STOPPED] = "stopped",
	[LIFECYCLE_DELETED] = "deleted",
};

static const char *const request_verbs[LIFECYCLE_REQUESTS] = {
	[LIFECYCLE_START] = "start",
	[LIFECYCLE_EXEC] = "exec in",
	[LIFECYCLE_KILL] = "kill",
	[LIFECYCLE_PAUSE] = "pause",
	[LIFECYCLE_RESUME] = "resume",
	[LIFECYCLE_RESIZE] = "resize the terminal of",
	[LIFECYCLE_CLOSE_IO] = "close the input of",
	[LIFECYCLE_UPDATE] = "update",
	[LIFECYCLE_EXIT] = "end",
	[LIFECYCLE_DELETE] = "delete",
};

int lifecycle_next(enum lifecycle_state state, enum lifecycle_request request,
	const char *id, enum lifecycle_state *ret_next, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].state == state && rules[i].request == request) {
			*ret_next = rules[i].next;
			return 0;
		}
	}
	if (state == LIFECYCLE_DELETED)
		return err_set(err, -ENOENT, "process %s does not exist", id);
	if (state == LIFECYCLE_STOPPED && request == LIFECYCLE_KILL)
		return err_set(err, -ENOENT, "process %s already finished", id);
	return err_set(err, LIFECYCLE_REFUSED, "cannot %s a %s process: %s",
		request_verbs[request], state_names[state], id);
}
