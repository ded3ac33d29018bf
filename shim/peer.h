/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to the shim that serves a sandbox, from a process of its own: for `delete`. */
#pragma once

#include "base/err.h"
#include "shim/state.h"

/* What became of a shim that was asked to discard a container. */
enum peer_outcome {
	PEER_ENDS,    /* it had nothing else: it has undone all of it and ends */
	PEER_GOES_ON, /* with other containers of its pod */
	PEER_IS_BUSY, /* it lives, and has begun, but is not done yet */
	PEER_IS_MUTE, /* nobody serves the socket, or whoever does gives no answer */
};

/*
 * Has it end and remove container `id`, if it has one of that name or is making one, and
 * then itself if that was the last. A shim that lives answers the first question from
 * memory; one that has not after PEER_ANSWER_MS is as good as dead. Both waits together
 * are less than the 5 s that containerd gives its verb `delete`.
 */
#define PEER_ANSWER_MS  3000
#define PEER_DISCARD_MS 1000
enum peer_outcome peer_discard(const struct state *s, const char *id);
