/* SPDX-License-Identifier: Apache-2.0 */
/* Events to containerd: see events.h. */
#include "shim/events.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/ttrpc/ttrpc.h"
#include "base/util.h"
#include "shim/proto/containerd_forward.pb-c.h"

#define SERVICE "containerd.services.events.ttrpc.v1.Events"

/* protoc-c's names for Envelope and ForwardRequest. */
#define ENVELOPE_INIT CONTAINERD__SERVICES__EVENTS__TTRPC__V1__ENVELOPE__INIT
#define REQUEST_INIT  CONTAINERD__SERVICES__EVENTS__TTRPC__V1__FORWARD_REQUEST__INIT

extern char **environ;

struct event {
	struct event *next;
	const char *topic;
	const char *type; /* full name of the message: static */
	struct timespec time;
	size_t len;
	uint8_t data[];
};

struct events {
	char *ttrpc_address, *publish_binary, *address, *namespace;
	struct ttrpc_client *client; /* of the thread */
	pthread_t thread;
	int wake_fd; /* eventfd: stop_at has been set */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct event *first, **last;
	unsigned int n_queued;
	int64_t stop_at; /* DEADLINE_NONE: not yet */
};

static int64_t get_stop(struct events *e)
{
	int64_t stop_at;

	pthread_mutex_lock(&e->lock);
	stop_at = e->stop_at;
	pthread_mutex_unlock(&e->lock);
	return stop_at;
}

static void disconnect_containerd(struct events *e)
{
	ttrpc_client_free(e->client);
	e->client = NULL;
}

static int connect_containerd(struct events *e, int64_t deadline, struct err *err)
{
	int fd, r;

	if (e->client)
		return 0;
	r = unix_connect(e->ttrpc_address, SOCK_STREAM, deadline, &fd, err);
	if (r == 0)
		r = ttrpc_client_new(fd, &e->client, err);
	return r;
}

static int forward_event(struct events *e, const struct event *ev, struct err *err)
{
	Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Containerd__Services__Events__Ttrpc__V1__Envelope envelope = ENVELOPE_INIT;
	Containerd__Services__Events__Ttrpc__V1__ForwardRequest request = REQUEST_INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	int64_t deadline = MIN(deadline_after_ms(EVENTS_CALL_MS), get_stop(e));
	int r;

	time.seconds = ev->time.tv_sec;
	time.nanos = (int32_t)ev->time.tv_nsec;
	any.type_url = (char *)ev->type;
	any.value.data = (uint8_t *)ev->data;
	any.value.len = ev->len;
	envelope.timestamp = &time;
	envelope.namespace_ = e->namespace;
	envelope.topic = (char *)ev->topic;
	envelope.event = &any;
	request.envelope = &envelope;
	r = connect_containerd(e, deadline, err);
	if (r == 0) {
		r = ttrpc_client_call(e->client,
			&(struct ttrpc_call){.service = SERVICE,
				.method = "Forward",
				.request = &request.base,
				.deadline = deadline},
			NULL, err);
		if (r < 0)
			disconnect_containerd(e);
	}
	return r;
}

/* Waits until something happens in the folder of containerd's socket (it makes the
 * socket anew when it starts), the deadline, or the stop. The watch is there before the
 * caller's next try. */
static void wait_for_containerd(struct events *e, int watch_fd, int64_t deadline)
{
	struct pollfd fds[] = {
		{.fd = watch_fd, .events = POLLIN}, {.fd = e->wake_fd, .events = POLLIN}};
	char buf[4096];

	if (poll(fds, ARRAY_SIZE(fds), deadline_poll_ms(deadline)) > 0 &&
		fds[0].revents && read(watch_fd, buf, sizeof(buf)) < 0)
		log_warn("cannot read the watch on containerd's socket: %s",
			strerror(errno));
}

static int watch_socket(const struct events *e)
{
	_cleanup_free_ char *path = xstrdup(e->ttrpc_address);
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 || inotify_add_watch(fd, dirname(path), IN_CREATE | IN_MOVED_TO) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Between bind(2) and listen(2) of the new socket a try is refused:
 * the next one is soon. */
#define RETRY_STEP_MS 1000

static int deliver_ttrpc(struct events *e, const struct event *ev, struct err *err)
{
	int64_t give_up = deadline_after_ms(EVENTS_RETRY_MS);
	_cleanup_close_ int watch_fd = -1;
	int r;

	for (;;) {
		r = forward_event(e, ev, err);
		/* An answer is an answer, also if it is a refusal. */
		if (r != -ECONNRESET && r != -ECONNREFUSED && r != -ENOENT &&
			r != -EPIPE && r != -ETIMEDOUT)
			return r;
		/* A shim that is about to end does not wait for
		 * a containerd that is away. */
		if (get_stop(e) != DEADLINE_NONE || now_ms() >= give_up)
			return r;
		if (watch_fd < 0) {
			watch_fd = watch_socket(e);
			continue; /* it may have come before the watch */
		}
		wait_for_containerd(
			e, watch_fd, MIN(give_up, deadline_after_ms(RETRY_STEP_MS)));
	}
}

static int wait_publisher(pid_t pid, struct err *err)
{
	_cleanup_close_ int pidfd = -1;
	int status, r;

	r = pidfd_of(pid, &pidfd);
	if (r == 0)
		r = pidfd_wait(pidfd, deadline_after_ms(EVENTS_CALL_MS));
	if (r == -ETIMEDOUT)
		pidfd_kill(pidfd, SIGKILL);
	waitpid(pid, &status, 0);
	if (r < 0)
		return err_sys(err, r, "the publish program does not end");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, -EREMOTEIO,
			"the publish program failed, wait status %#x",
			(unsigned int)status);
	return 0;
}

static int spawn_publisher(
	const struct events *e, const char *topic, int in_fd, pid_t *ret_pid)
{
	const char *argv[] = {e->publish_binary, "--address", e->address, "publish",
		"--topic", topic, "--namespace", e->namespace, NULL};
	posix_spawn_file_actions_t actions;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
	r = posix_spawn(
		ret_pid, e->publish_binary, &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* `containerd publish` reads a protobuf Any from its standard input; events are far
 * smaller than a socket's buffer, so writing does not wait for it. */
static int deliver_binary(const struct events *e, const struct event *ev, struct err *err)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	int r, fds[2];
	pid_t pid;
	size_t len;

	any.type_url = (char *)ev->type;
	any.value.data = (uint8_t *)ev->data;
	any.value.len = ev->len;
	len = google__protobuf__any__get_packed_size(&any);
	packed = xmalloc(len);
	google__protobuf__any__pack(&any, packed);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	r = spawn_publisher(e, ev->topic, fds[0], &pid);
	close(fds[0]);
	if (r < 0)
		err_sys(err, r, "cannot run %s", err_quote(e->publish_binary, 256));
	else if (send(fds[1], packed, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		r = err_sys(err, errno, "cannot write to the publish program");
	close(fds[1]);
	return r < 0 ? r : wait_publisher(pid, err);
}

static void deliver_event(struct events *e, const struct event *ev)
{
	struct err err = ERR_INIT;
	int r;

	/* CRI-O names itself as the program, and no address: it wants none. */
	if (!*e->ttrpc_address && !*e->address)
		return;
	if (*e->ttrpc_address)
		r = deliver_ttrpc(e, ev, &err);
	else if (*e->publish_binary)
		r = deliver_binary(e, ev, &err);
	else
		r = err_set(&err, -ENOENT,
			"neither TTRPC_ADDRESS nor -publish-binary is given");
	if (r < 0)
		log_error("event %s is lost: %s", ev->topic, err.text);
}

/* The next event, or NULL when there is none and none will come. */
static struct event *take_event(struct events *e)
{
	struct event *ev;

	pthread_mutex_lock(&e->lock);
	while (!e->first && e->stop_at == DEADLINE_NONE)
		pthread_cond_wait(&e->changed, &e->lock);
	ev = e->first;
	if (ev) {
		e->first = ev->next;
		if (!e->first)
			e->last = &e->first;
		e->n_queued--;
	}
	pthread_mutex_unlock(&e->lock);
	return ev;
}

static void *run_forwarder(void *arg)
{
	struct events *e = arg;
	struct event *ev;

	while ((ev = take_event(e))) {
		deliver_event(e, ev);
		free(ev);
	}
	disconnect_containerd(e);
	return NULL;
}

static void destroy_events(struct events *e)
{
	close_fd(e->wake_fd);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e->ttrpc_address);
	free(e->publish_binary);
	free(e->address);
	free(e->namespace);
	free(e);
}

int events_new(const struct events_config *config, struct events **ret, struct err *err)
{
	struct events *e = xnew0(struct events);
	int r;

	e->ttrpc_address = xstrdup(config->ttrpc_address);
	e->publish_binary = xstrdup(config->publish_binary);
	e->address = xstrdup(config->address);
	e->namespace = xstrdup(config->namespace);
	e->last = &e->first;
	e->stop_at = DEADLINE_NONE;
	pthread_mutex_init(&e->lock, NULL);
	cond_init(&e->changed);
	e->wake_fd = eventfd(0, EFD_CLOEXEC);
	r = e->wake_fd < 0 ? -errno
			   : thread_start(run_forwarder, e, 0, false, &e->thread);
	if (r < 0) {
		destroy_events(e);
		return err_sys(err, r, "cannot start the publisher of events");
	}
	*ret = e;
	return 0;
}

void events_publish(struct events *e, const char *topic, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	struct event *ev = xmalloc(sizeof(*ev) + len);
	bool full;

	ev->next = NULL;
	ev->topic = topic;
	ev->type = message->descriptor->name;
	clock_gettime(CLOCK_REALTIME, &ev->time);
	ev->len = protobuf_c_message_pack(message, ev->data);
	pthread_mutex_lock(&e->lock);
	full = e->n_queued >= EVENTS_QUEUE_MAX;
	if (!full) {
		*e->last = ev;
		e->last = &ev->next;
		e->n_queued++;
		pthread_cond_signal(&e->changed);
	}
	pthread_mutex_unlock(&e->lock);
	if (full) {
		log_error("event %s is lost: %d are waiting already", topic,
			EVENTS_QUEUE_MAX);
		free(ev);
	}
}

void events_free(struct events *e, int64_t deadline)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stop_at = deadline == DEADLINE_NONE ? DEADLINE_NONE - 1 : deadline;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
	thread_wake(e->wake_fd);
	pthread_join(e->thread, NULL);
	destroy_events(e);
}
