/* SPDX-License-Identifier: Apache-2.0 */
/* The pid namespace that containers of one pod may share: see pidns.h. */
#include "guest/pidns.h"

#include <signal.h>

#include "base/util.h"
#include "guest/pause.h"

int pidns_get(struct sandbox *s, char **ret_path, struct err *err)
{
	const struct pause_config config = {.own_pidns = true, .cgroup_fd = -1};
	int r = 0;

	pthread_mutex_lock(&s->lock);
	/* Killed for memory, say, and all of its namespace with it. */
	if (s->has_pause && child_has_ended(&s->pause)) {
		child_done(&s->pause);
		s->has_pause = false;
	}
	if (!s->has_pause) {
		r = pause_start(&config, &s->pause, err);
		s->has_pause = r == 0;
	}
	if (r == 0)
		*ret_path = xasprintf("/proc/%d/ns/pid", (int)s->pause.pid);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void pidns_end(struct sandbox *s)
{
	bool had;

	pthread_mutex_lock(&s->lock);
	had = s->has_pause;
	s->has_pause = false;
	pthread_mutex_unlock(&s->lock);
	if (!had)
		return;
	child_kill(&s->pause, SIGKILL);
	child_done(&s->pause);
}
