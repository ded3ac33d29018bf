/* SPDX-License-Identifier: Apache-2.0 */
/* Containers that ran out of memory: see oom.h. */
#include "guest/oom.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/log.h"
#include "guest/cgroup.h"
#include "guest/growth.h"
#include "guest/init.h"
#include "guest/message.h"
#include "guest/service.h"
#include "guest/wait.h"

/*
 * How it works. inotify says that some container's memory.events changed; which one, and
 * whether by a kill, is found by reading all of them and comparing with what was told
 * before. So it does not matter who takes the inotify events, or whether the queue
 * overran.
 */

/* Ids of containers removed with a kill that nobody had asked about; the oldest are
 * forgotten. */
#define KEPT_MAX 16
static struct {
	unsigned int n;
	char ids[KEPT_MAX][GUEST_ID_MAX + 1];
} kept; /* under sandbox.lock */

/* Counts from before the process were none: a container's group is new. */
static bool has_new_kill(struct container *c)
{
	uint64_t kills;
	int dirfd, r;

	if (cgroup_open(c->id, &dirfd, NULL) < 0)
		return false;
	r = cgroup_read_number(dirfd, "memory.events", "oom_kill", &kills);
	close(dirfd);
	if (r < 0 || kills <= c->oom_kills)
		return false;
	c->oom_kills = kills;
	return true;
}

void oom_watch(struct sandbox *s, struct container *c)
{
	_cleanup_free_ char *path =
		xasprintf(GUEST_CGROUP_DIR CGROUP_PARENT "/%s/memory.events", c->id);

	if (inotify_add_watch(s->oom_fd, path, IN_MODIFY) < 0 && errno != ENOENT)
		log_warn("cannot watch container %s, its OOM kills won't be told: %s",
			c->id, strerror(errno));
}

void oom_unwatch(struct sandbox *s, struct container *c)
{
	/* The watch goes with the file. */
	pthread_mutex_lock(&s->lock);
	if (has_new_kill(c))
		str_copy(kept.ids[kept.n++ % KEPT_MAX], c->id);
	pthread_mutex_unlock(&s->lock);
}

static bool find_kill(struct sandbox *s, char ret_id[GUEST_ID_MAX + 1])
{
	bool found = false;

	pthread_mutex_lock(&s->lock);
	if (kept.n > 0) {
		kept.n = MIN(kept.n, (unsigned int)KEPT_MAX) - 1;
		str_copy_to(ret_id, GUEST_ID_MAX + 1, kept.ids[kept.n]);
		found = true;
	}
	for (struct container *c = s->containers; !found && c; c = c->next) {
		found = c->state != CONTAINER_CREATING && has_new_kill(c);
		if (found)
			str_copy_to(ret_id, GUEST_ID_MAX + 1, c->id);
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

static void drain_events(int fd)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	while (read(fd, buf, sizeof(buf)) > 0)
		continue;
}

/* Page cache may hit the mark all the time: not looked at more often than so. */
#define REST_MS 100

/* Waits for something to look at. */
static int wait_change(
	struct sandbox *s, struct ttrpc_request *request, enum growth_need last)
{
	int64_t deadline = ttrpc_request_deadline(request);
	int64_t rest = last == GROWTH_CACHE ? deadline_after_ms(REST_MS) : deadline;
	int closed_fd = ttrpc_request_closed_fd(request);
	int r = rest < deadline ? wait_either(-1, 0, closed_fd, rest) : -ETIMEDOUT;

	return r == -ETIMEDOUT ? wait_either(s->oom_fd, POLLIN, closed_fd, deadline) : r;
}

SERVICE_HANDLER(handle_get_oom_event)
{
	const Grpc__GetOOMEventRequest *req = (const Grpc__GetOOMEventRequest *)in;
	struct sandbox *s = user;
	char id[GUEST_ID_MAX + 1] = "";
	enum growth_need need;
	struct growth growth;
	Grpc__OOMEvent *out;

	growth_set_mark(&growth, s->oom_fd, req->memory_may_grow);
	for (;;) {
		int r;

		drain_events(s->oom_fd);
		if (find_kill(s, id))
			break;
		need = growth_look(&growth);
		if (need == GROWTH_MEMORY)
			break;
		r = wait_change(s, request, need);
		if (r < 0)
			return err_sys(err, r, "wait for an OOM event");
	}
	out = message_new(&grpc__oomevent__descriptor);
	out->container_id = xstrdup(id);
	out->memory_wanted = !*id;
	*ret_out = &out->base;
	return 0;
}
