/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a pod as a table: what may happen when, and what comes of it. */
#pragma once

#include <stdbool.h>

enum pod_state {
	POD_EMPTY,    /* no VM: before the first container, and after the last */
	POD_STARTING, /* its VM, its network, what it needs plugged */
	POD_READY,
	POD_LOST, /* the VM has ended by itself; its containers are to be deleted */
	POD_STOPPING,
	POD_STATES,
};

enum pod_event {
	POD_START,   /* pod_start() begins */
	POD_STARTED, /* … and is done */
	POD_FAILED,  /* … or not; what there was is undone */
	POD_LOSE,    /* the VM has ended by itself */
	POD_STOP,    /* pod_stop() begins */
	POD_STOPPED, /* … and is done */
	POD_EVENTS,
};

/* Whether the event is possible in that state: *state is then what follows. */
bool pod_life_next(enum pod_state *state, enum pod_event event);

const char *pod_state_name(enum pod_state state);
