/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's up thread: from all /dev/fuse to the port. */
#include "guest/pump_internal.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "guest/window.h"

#define EVENTS_MAX 16

static const struct files_frame empty_frame = {
	.slot = FILES_NO_SLOT, .done = FILES_NO_SLOT};

/* ---- the port ---- */

static int wait_port(struct pump *p)
{
	struct pollfd fds[] = {
		{.fd = p->port_fd, .events = POLLOUT},
		{.fd = p->stop_fd, .events = POLLIN},
	};

	if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
		return -errno;
	if (fds[1].revents)
		return -ECANCELED;
	/* A port without a host takes nothing, and can wait for ever. */
	if (fds[0].revents & (POLLHUP | POLLERR))
		return -EPIPE;
	return 0;
}

static int send_bytes(struct pump *p, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = write(p->port_fd, at, len);
		int r = 0;

		if (n < 0 && errno == EAGAIN)
			r = wait_port(p);
		else if (n < 0 && errno != EINTR)
			r = -errno;
		if (r < 0)
			return r;
		at += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
	return 0;
}

/* ---- slots and credits ---- */

static uint8_t take_done_locked(struct pump *p)
{
	unsigned int slot;

	if (!p->done_slots)
		return FILES_NO_SLOT;
	slot = (unsigned int)__builtin_ctz(p->done_slots);
	p->done_slots &= p->done_slots - 1;
	return (uint8_t)slot;
}

static uint8_t take_done(struct pump *p)
{
	uint8_t slot;

	pthread_mutex_lock(&p->lock);
	slot = take_done_locked(p);
	pthread_mutex_unlock(&p->lock);
	return slot;
}

/* Gives slots back once they are many: most go along with a message, which costs the VM
 * nothing. */
static int send_done(struct pump *p)
{
	struct files_frame frames[FILES_SLOTS];
	unsigned int n = 0;

	pthread_mutex_lock(&p->lock);
	if (__builtin_popcount(p->done_slots) >= (int)PUMP_DONE_LAZY) {
		while (p->done_slots) {
			frames[n] = empty_frame;
			frames[n].kind = FILES_DONE;
			frames[n++].done = take_done_locked(p);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return n > 0 ? send_bytes(p, frames, n * sizeof(frames[0])) : 0;
}

static void drain_wake(struct pump *p)
{
	uint64_t n;

	if (read(p->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warn("the pump's wake-up: %s", strerror(errno));
}

struct need {
	bool credit, slot;
	unsigned int got_slot;
};

/* False: the up thread has to wait, and the down thread will wake it. */
static bool try_take(struct pump *p, struct need *need)
{
	bool has = (!need->credit || p->credits > 0) && (!need->slot || p->free_slots);

	p->up_waits = !has;
	if (!has)
		return false;
	p->credits -= need->credit;
	if (need->slot) {
		need->got_slot = (unsigned int)__builtin_ctz(p->free_slots);
		p->free_slots &= p->free_slots - 1;
	}
	return true;
}

/*
 * Takes what the message needs, waiting for it. Meanwhile slots of the server's go back:
 * it may need them for the very answers that are waited for.
 */
static int take_need(struct pump *p, struct need *need)
{
	struct pollfd fds[] = {
		{.fd = p->wake_fd, .events = POLLIN},
		{.fd = p->stop_fd, .events = POLLIN},
	};

	for (;;) {
		bool has;
		int r;

		pthread_mutex_lock(&p->lock);
		has = try_take(p, need);
		pthread_mutex_unlock(&p->lock);
		if (has)
			return 0;
		r = send_done(p);
		if (r < 0)
			return r;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -ECANCELED;
		drain_wake(p);
	}
}

/* ---- messages ---- */

static bool takes_credit(const uint8_t *message)
{
	struct fuse_in_header head;

	memcpy(&head, message, sizeof(head));
	return head.opcode != FUSE_FORGET && head.opcode != FUSE_BATCH_FORGET &&
	       head.opcode != FUSE_INTERRUPT;
}

static int send_message(struct pump *p, unsigned int mount, size_t len)
{
	uint8_t *message = p->up_buf + PUMP_PAGE;
	struct files_frame frame = empty_frame;
	struct need need = {takes_credit(message), len > FILES_INLINE_BYTES, 0};
	int r = take_need(p, &need);

	if (r < 0)
		return r;
	frame.kind = FILES_MESSAGE;
	frame.length = (uint32_t)len;
	frame.mount = (uint16_t)mount;
	frame.done = take_done(p);
	if (need.slot) {
		frame.slot = (uint8_t)need.got_slot;
		window_write(pump_slot(p, need.got_slot), message, len);
		return send_bytes(p, &frame, sizeof(frame));
	}
	/* Frame and message by one write: they fit one buffer of the port's. */
	memcpy(message - sizeof(frame), &frame, sizeof(frame));
	return send_bytes(p, message - sizeof(frame), sizeof(frame) + len);
}

static int end_mount(struct pump *p, unsigned int mount, int fd)
{
	struct files_frame frame = empty_frame;
	int r;

	/* The descriptor may stay open a little for another thread. */
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, fd, NULL) < 0)
		log_warn("mount %u: %s", mount, strerror(errno));
	frame.kind = FILES_UNMOUNTED;
	frame.mount = (uint16_t)mount;
	frame.done = take_done(p);
	r = send_bytes(p, &frame, sizeof(frame));
	/* Only now may the number be used anew. */
	pump_forget(p, mount);
	return r;
}

/* One message of a mount's, if there is one. */
static int move_message(struct pump *p, unsigned int mount, int fd)
{
	/* Not more than a slot takes: FUSE_BATCH_FORGET fills what there is. */
	ssize_t n = read(fd, p->up_buf + PUMP_PAGE, FILES_SLOT_BYTES);

	if (n >= (ssize_t)sizeof(struct fuse_in_header))
		return send_message(p, mount, (size_t)n);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* ENODEV: unmounted; ECONNABORTED: aborted, and unmounted some time. */
	if (n >= 0 || (errno != ENODEV && errno != ECONNABORTED))
		log_error("mount %u ends: read /dev/fuse: %s", mount,
			n < 0 ? strerror(errno) : "too short");
	return end_mount(p, mount, fd);
}

static int handle_event(struct pump *p, unsigned int source)
{
	int fd, r;

	if (source >= FILES_MOUNTS_MAX) {
		drain_wake(p);
		return 0;
	}
	fd = pump_pin(p, source);
	if (fd < 0)
		return 0;
	r = move_message(p, source, fd);
	pump_unpin(p, source);
	return r;
}

static int handle_events(struct pump *p)
{
	struct epoll_event events[EVENTS_MAX];
	int n, r = 0;

	n = epoll_wait(p->epoll_fd, events, EVENTS_MAX, -1);
	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; r == 0 && i < n; i++)
		r = handle_event(p, events[i].data.u32);
	return r == 0 ? send_done(p) : r;
}

void *pump_run_up(void *arg)
{
	struct pump *p = arg;
	int r = 0;

	pump_enter_thread();
	while (r == 0 && !pump_has_ended(p))
		r = handle_events(p);
	if (r < 0)
		pump_break(p, strerror(-r));
	return NULL;
}
