/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of a pump, as a test plays it: frames, and the window. */
#pragma once

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/util.h"
#include "files/wire.h"
#include "tests/lib/test.h"

struct files_peer {
	int fd;          /* the host's end of the port */
	uint8_t *window; /* the host's mapping */
};

/* A frame, and what came with it. */
struct peer_frame {
	struct files_frame head;
	_Alignas(8) uint8_t message[FILES_SLOT_BYTES];
};

/* The descriptors are the caller's. */
static inline void peer_init(struct files_peer *peer, int *ret_port, int *ret_window_fd)
{
	int fds[2], window = memfd_create("window", MFD_CLOEXEC);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_true(window >= 0);
	assert_int_equal(ftruncate(window, FILES_WINDOW_BYTES), 0);
	peer->fd = fds[0];
	peer->window = mmap(
		NULL, FILES_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, window, 0);
	assert_ptr_not_equal(peer->window, MAP_FAILED);
	*ret_port = fds[1];
	*ret_window_fd = window;
}

static inline void peer_done(struct files_peer *peer)
{
	close_fd(peer->fd);
	munmap(peer->window, FILES_WINDOW_BYTES);
}

static inline uint8_t *peer_slot(struct files_peer *peer, unsigned int slot)
{
	return peer->window + (size_t)slot * FILES_SLOT_BYTES;
}

/* The next frame, or false at the end of the stream. */
static inline bool peer_read(struct files_peer *peer, struct peer_frame *ret)
{
	int r = read_full(peer->fd, &ret->head, sizeof(ret->head));

	if (r < 0)
		return false;
	assert_in_range(ret->head.length, 0, FILES_SLOT_BYTES);
	if (ret->head.slot != FILES_NO_SLOT) {
		assert_in_range(ret->head.slot, 0, FILES_GUEST_SLOTS - 1);
		memcpy(ret->message, peer_slot(peer, ret->head.slot), ret->head.length);
	} else if (ret->head.length > 0) {
		assert_in_range(ret->head.length, 0, FILES_INLINE_BYTES);
		assert_int_equal(read_full(peer->fd, ret->message, ret->head.length), 0);
	}
	return true;
}

static inline void peer_expect(struct files_peer *peer, struct peer_frame *ret)
{
	assert_int_equal(wait_fd(peer->fd, POLLIN, soon()), 0);
	assert_true(peer_read(peer, ret));
}

static inline void peer_silent(struct files_peer *peer)
{
	assert_int_equal(wait_fd(peer->fd, POLLIN, deadline_after_ms(30)), -ETIMEDOUT);
}

static inline struct files_frame peer_frame_of(enum files_kind kind, unsigned int mount)
{
	return (struct files_frame){.kind = kind,
		.mount = (uint16_t)mount,
		.slot = FILES_NO_SLOT,
		.done = FILES_NO_SLOT};
}

/* A frame with length bytes behind it, unless they are in the slot that it names. */
static inline void peer_send(
	struct files_peer *peer, const struct files_frame *frame, const void *message)
{
	uint8_t buf[sizeof(*frame) + FILES_INLINE_BYTES];
	size_t len = sizeof(*frame);

	memcpy(buf, frame, sizeof(*frame));
	if (frame->slot == FILES_NO_SLOT && frame->length > 0) {
		memcpy(buf + len, message, frame->length);
		len += frame->length;
	}
	assert_int_equal(write_full(peer->fd, buf, len), 0);
}
