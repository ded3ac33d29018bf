/* SPDX-License-Identifier: Apache-2.0 */
/* What a shim and its file server say to each other, and the server's end of it. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "files/channel.h"

/* The descriptors that the server starts with; 0 to 2 are its log. */
#define FILES_FD_CONTROL 3 /* AF_UNIX, SOCK_SEQPACKET */
#define FILES_FD_CHANNEL 4
#define FILES_FD_WINDOW  5
#define FILES_FD_FIRST   6 /* the first that is its own */

/*
 * Messages are these structs, one at a time: a request is answered before the next one
 * comes. The server speaks first: the outcome of its start. It ends when the socket does.
 */
#define CONTROL_ID_START 0u
#define CONTROL_ID_CHILD UINT32_MAX /* the child did not become the server */

enum control_kind {
	CONTROL_ADD = 1, /* with the tree's descriptor */
	CONTROL_REMOVE,
	CONTROL_SHRINK, /* the guest shall forget what it does not use */
	CONTROL_FREEZE, /* channel_freeze(), channel_thaw() */
	CONTROL_THAW,
};

struct control_request {
	uint32_t id; /* comes back in the answer: one whose time ran out is told by it */
	uint32_t kind; /* enum control_kind */
	uint32_t mount;
	uint32_t cache; /* enum tree_cache */
	uint32_t readonly;
	uint32_t overlay_upper;
};

struct control_answer {
	uint32_t id;
	int32_t code;                               /* 0 or a negative errno */
	char text[sizeof(((struct err *)0)->text)]; /* with it */
};

int control_answer(int fd, uint32_t id, const struct err *err);
/* Serves requests: 0 when the shim is gone. the room is for all trees together, the
 * keeper is for those that are overlays' upper layers. */
int control_run(int fd, struct channel *channel, const struct tree_options *options,
	struct err *err);
