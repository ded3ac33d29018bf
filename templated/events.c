/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: see events.h.
 *
 * The queue of a watcher is its socket: some hundred messages. Whoever does not read them
 * gets no more: his connection is shut down, which his thread in events_watch() sees. A
 * descriptor is in the list only while that thread keeps it open.
 */
#include "templated/events.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "templated/lease/protocol.h"

static struct {
	pthread_mutex_t lock;
	unsigned int n;
	int fds[EVENTS_WATCHERS_MAX];
} hub = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Takes obj. */
static int send_now(int fd, struct json_object *obj)
{
	return lease_send(fd, obj, NULL, 0, now_ms());
}

static struct json_object *new_event(const char *event)
{
	struct json_object *obj = lease_reply_new(NULL);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_set_i64(obj, "time", now.tv_sec * 1000 + now.tv_nsec / 1000000);
	json_set_string(obj, "event", event);
	return obj;
}

static void send_to_all(struct json_object *obj)
{
	for (unsigned int i = 0; i < hub.n;) {
		int r = send_now(hub.fds[i], json_object_get(obj));

		if (r == 0) {
			i++;
			continue;
		}
		if (r != -EPIPE && r != -ECONNRESET)
			log_warn("dropping a client that watches: it does not read");
		shutdown(hub.fds[i], SHUT_RDWR);
		hub.fds[i] = hub.fds[--hub.n];
	}
}

void events_emit(const char *event, ...)
{
	struct json_object *obj;
	const char *key;
	va_list ap;

	pthread_mutex_lock(&hub.lock);
	if (hub.n > 0) {
		obj = new_event(event);
		va_start(ap, event);
		while ((key = va_arg(ap, const char *)))
			json_set_string(obj, key, va_arg(ap, const char *));
		va_end(ap);
		send_to_all(obj);
		json_object_put(obj);
	}
	pthread_mutex_unlock(&hub.lock);
}

/* ---- watchers ---- */

/* 0, EVENTS_FULL or a negative errno. */
static int events_add_watcher(int fd)
{
	int r = 0;

	pthread_mutex_lock(&hub.lock);
	if (hub.n == EVENTS_WATCHERS_MAX)
		r = EVENTS_FULL;
	else if (send_now(fd, lease_reply_new("watching")) == 0)
		hub.fds[hub.n++] = fd;
	else
		r = -EPIPE;
	pthread_mutex_unlock(&hub.lock);
	return r;
}

/* Whether it was still there. */
static bool events_remove_watcher(int fd)
{
	bool was_there = false;

	pthread_mutex_lock(&hub.lock);
	for (unsigned int i = 0; i < hub.n && !was_there; i++) {
		was_there = hub.fds[i] == fd;
		if (was_there)
			hub.fds[i] = hub.fds[--hub.n];
	}
	pthread_mutex_unlock(&hub.lock);
	return was_there;
}

int events_watch(int fd, struct err *err)
{
	int r = events_add_watcher(fd);

	if (r == EVENTS_FULL)
		err_set(err, -EBUSY, "%u clients watch already", EVENTS_WATCHERS_MAX);
	if (r != 0)
		return r;
	wait_fd(fd, POLLIN, DEADLINE_NONE);
	/* One that was dropped hears nothing more: that is how it knows. */
	if (events_remove_watcher(fd))
		send_now(fd, new_event("end"));
	return -EPIPE;
}
