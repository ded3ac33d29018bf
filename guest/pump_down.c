/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's down thread: from the port to all /dev/fuse. */
#include "guest/pump_internal.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "guest/window.h"

#define ALL_SLOTS    ((1u << FILES_SLOTS) - 1)
#define GUEST_SLOTS  ((1u << FILES_GUEST_SLOTS) - 1)
#define SERVER_SLOTS (ALL_SLOTS & ~GUEST_SLOTS)

/* ---- what the server may send ---- */

static bool has_bit(unsigned int bits, unsigned int n)
{
	return n < FILES_SLOTS && (bits & 1u << n);
}

/* Why a frame is none of the protocol's, or NULL. done_slots is the up thread's, too: it
 * only ever takes bits away. */
static const char *check_frame(struct pump *p, const struct files_frame *f)
{
	bool inlined = f->slot == FILES_NO_SLOT, message = f->kind == FILES_MESSAGE;

	if (!message && f->kind != FILES_DONE && f->kind != FILES_CREDIT &&
		f->kind != FILES_SHRINK && f->kind != FILES_CHANGED)
		return "a frame of an unknown kind";
	if (f->zero[0] || f->zero[1] || f->credited > message)
		return "a frame with bits that mean nothing";
	if (f->mount >= FILES_MOUNTS_MAX)
		return "a frame for a mount that can't be";
	if (f->done != FILES_NO_SLOT && !has_bit(GUEST_SLOTS & ~p->free_slots, f->done))
		return "a slot comes back that was not given";
	if (!message)
		return f->length || !inlined ? "a message where none belongs" : NULL;
	if (!inlined && !p->window)
		return "a message in a window that is not there";
	if (!inlined && !has_bit(SERVER_SLOTS & ~p->done_slots, f->slot))
		return "a message in a slot that is not the server's";
	if (f->length < sizeof(struct fuse_out_header) ||
		f->length > (inlined ? FILES_INLINE_BYTES : FILES_SLOT_BYTES))
		return "a message of a length that can't be";
	return NULL;
}

/* ---- what a frame gives back ---- */

static const char *give_back(struct pump *p, const struct files_frame *f, bool credit)
{
	bool wake;

	pthread_mutex_lock(&p->lock);
	if (credit && p->credits == FILES_CREDITS) {
		pthread_mutex_unlock(&p->lock);
		return "a credit comes back that was not taken";
	}
	p->credits += credit;
	if (f->done != FILES_NO_SLOT)
		p->free_slots |= 1u << f->done;
	wake = p->up_waits && (credit || f->done != FILES_NO_SLOT);
	pthread_mutex_unlock(&p->lock);
	if (wake)
		pump_wake_up_thread(p);
	return NULL;
}

static void give_slot(struct pump *p, unsigned int slot)
{
	bool wake;

	pthread_mutex_lock(&p->lock);
	p->done_slots |= 1u << slot;
	wake = __builtin_popcount(p->done_slots) >= (int)PUMP_DONE_LAZY;
	pthread_mutex_unlock(&p->lock);
	if (wake)
		pump_wake_up_thread(p);
}

/* ---- messages ---- */

static void deliver_message(
	struct pump *p, unsigned int mount, const uint8_t *message, unsigned int len)
{
	int fd = pump_pin(p, mount);
	ssize_t n;

	if (fd < 0)
		return; /* unmounted meanwhile */
	n = write(fd, message, len);
	/* ENOENT: the request was interrupted; ENODEV, ECONNABORTED: unmounted. */
	if (n < 0 && errno != ENOENT && errno != ENODEV && errno != ECONNABORTED)
		log_warn("mount %u: the kernel refuses an answer of %u bytes: %s", mount,
			len, strerror(errno));
	pump_unpin(p, mount);
}

/* message: the inline one; else it is in the frame's slot. */
static const char *take_message(
	struct pump *p, const struct files_frame *f, const uint8_t *message)
{
	struct fuse_out_header head;
	const char *why;

	if (f->slot != FILES_NO_SLOT) {
		window_read(p->down_buf, pump_slot(p, f->slot), f->length);
		give_slot(p, f->slot);
		message = p->down_buf;
	}
	memcpy(&head, message, sizeof(head));
	if (head.len != f->length)
		return "a message that has another length than its frame";
	why = give_back(p, f, head.unique != 0 && !f->credited);
	if (why)
		return why;
	if (head.unique != 0)
		deliver_message(p, f->mount, message, f->length);
	else
		pump_note(p, f->mount, message, f->length);
	return NULL;
}

static void ask_shrink(struct pump *p)
{
	pthread_mutex_lock(&p->lock);
	p->shrink = true;
	pthread_cond_signal(&p->noted);
	pthread_mutex_unlock(&p->lock);
}

static const char *take_frame(
	struct pump *p, const struct files_frame *f, const uint8_t *message)
{
	if (f->kind == FILES_MESSAGE)
		return take_message(p, f, message);
	if (f->kind == FILES_SHRINK)
		ask_shrink(p);
	if (f->kind == FILES_CHANGED)
		pump_changed(p, f->mount);
	return give_back(p, f, f->kind == FILES_CREDIT);
}

static const char *check_locked(struct pump *p, const struct files_frame *f)
{
	const char *why;

	pthread_mutex_lock(&p->lock);
	why = check_frame(p, f);
	pthread_mutex_unlock(&p->lock);
	return why;
}

int pump_take_frames(struct pump *p, const char **ret_why)
{
	unsigned int at = 0;
	const char *why = NULL;

	while (p->in_len - at >= sizeof(struct files_frame)) {
		struct files_frame f;
		unsigned int len = sizeof(f);

		memcpy(&f, p->in_buf + at, sizeof(f));
		why = check_locked(p, &f);
		if (why)
			break;
		if (f.slot == FILES_NO_SLOT)
			len += f.length;
		if (p->in_len - at < len)
			break;
		why = take_frame(p, &f, p->in_buf + at + sizeof(f));
		if (why)
			break;
		at += len;
	}
	if (why) {
		*ret_why = why;
		return -EPROTO;
	}
	p->in_len -= at;
	memmove(p->in_buf, p->in_buf + at, p->in_len);
	return 0;
}

/* ---- the port ---- */

static int wait_port(struct pump *p)
{
	struct pollfd fds[] = {
		{.fd = p->port_fd, .events = POLLIN},
		{.fd = p->stop_fd, .events = POLLIN},
	};

	return poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR ? -errno : 0;
}

/* A frame and its message are less than a page, so there always is room. */
_Static_assert(sizeof(struct files_frame) + FILES_INLINE_BYTES <= 2 * PUMP_PAGE, "room");

static int read_port(struct pump *p, const char **ret_why)
{
	ssize_t n = read(p->port_fd, p->in_buf + p->in_len, 2 * PUMP_PAGE - p->in_len);
	int r;

	if (n < 0 && errno == EAGAIN) {
		r = wait_port(p);
		*ret_why = "the port can't be waited for";
		return r;
	}
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0) {
		*ret_why = n < 0 ? strerror(errno) : "the file server has ended";
		return -EPIPE;
	}
	p->in_len += (unsigned int)n;
	return pump_take_frames(p, ret_why);
}

void *pump_run_down(void *arg)
{
	struct pump *p = arg;
	const char *why = NULL;
	int r = 0;

	pump_enter_thread();
	while (r == 0 && !pump_has_ended(p))
		r = read_port(p, &why);
	if (r < 0)
		pump_break(p, why);
	return NULL;
}
