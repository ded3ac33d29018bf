/* SPDX-License-Identifier: Apache-2.0 */
/* What others have changed in a mount, done once more in the guest,
 * for those who watch it. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "files/wire.h"
#include "guest/watchers.h"

/* Once for the thread that replays, which does nothing else: it has FILES_REPLAY_GID from
 * then on, and a working folder of its own. */
int replay_enter_thread(struct err *err);

struct replay_outcome {
	/* There was something, and there may be more: it is to be called again, ... */
	bool again;
	int64_t rest_ms; /* ... but not before this has passed. */
};

/*
 * A round of the changes that the server has for the mount at this path, which is of the
 * file system `dev` (else it is another mount meanwhile, and nothing is done). What can't
 * be done again nobody is told of. The mount can be unmounted meanwhile.
 */
int replay_mount(const char *at, dev_t dev, struct replay_outcome *ret, struct err *err);

/* The change's steps that somebody watches, and those that they stand on. */
uint32_t replay_steps(const struct files_change *change, const struct watchers *watchers);
