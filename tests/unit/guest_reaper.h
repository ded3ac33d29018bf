/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's reaper in a thread of a test that is process 1. */
#pragma once

#include <pthread.h>

#include "base/thread.h"
#include "guest/child.h"
#include "tests/unit/guest_world.h"

static inline void *reaper_main(void *arg)
{
	(void)arg;
	child_reap_forever();
}

/* Once, before any other thread. */
static inline void reaper_start(void)
{
	child_init();
	if (thread_start(reaper_main, NULL, 0, true, NULL) < 0)
		exit(1);
}

/* Runs a shell's script with these standard streams (NULL: /dev/null). *c stays on
 * the reaper's list when a check fails, so it is best static. */
static inline void spawn_shell(struct child *c, const char *script, const int stdio[3])
{
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *const argv[] = {"/bin/sh", "-c", (char *)script, NULL};
	const int nulls[3] = {null_fd, null_fd, null_fd};
	struct err err = ERR_INIT;

	if (child_spawn(c, argv, stdio ? stdio : nulls, &err) < 0)
		fail_msg("%s", err.text);
}

/* The status of a child that ends by itself; it is done with then. */
static inline int end_of(struct child *c)
{
	int status;

	assert_int_equal(child_wait(c, -1, soon()), 0);
	status = c->status;
	child_done(c);
	return status;
}

/* Whatever of ours ended before this call has been reaped after it. */
static inline void settle(void)
{
	struct child c;

	spawn_shell(&c, ":", NULL);
	end_of(&c);
	/* The reaper keeps its lock until there is nothing left to reap. */
	child_expect();
	child_unexpect();
}
