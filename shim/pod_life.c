/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a pod as a table: see pod_life.h. */
#include "shim/pod_life.h"

#include <stddef.h>

#include "base/util.h"

static const struct rule {
	enum pod_state state;
	enum pod_event event;
	enum pod_state next;
} rules[] = {
	{POD_EMPTY, POD_START, POD_STARTING},
	{POD_STARTING, POD_STARTED, POD_READY},
	{POD_STARTING, POD_FAILED, POD_EMPTY},
	{POD_READY, POD_LOSE, POD_LOST},
	{POD_READY, POD_STOP, POD_STOPPING},
	{POD_LOST, POD_STOP, POD_STOPPING},
	{POD_STOPPING, POD_STOPPED, POD_EMPTY},
};

static const char *const names[POD_STATES] = {
	[POD_EMPTY] = "empty",
	[POD_STARTING] = "starting",
	[POD_READY] = "ready",
	[POD_LOST] = "lost",
	[POD_STOPPING] = "stopping",
};

bool pod_life_next(enum pod_state *state, enum pod_event event)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].state == *state && rules[i].event == event) {
			*state = rules[i].next;
			return true;
		}
	}
	return false;
}

const char *pod_state_name(enum pod_state state)
{
	return names[state];
}
