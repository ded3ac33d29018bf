/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's end of the file server's channel, scripted. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/util.h"
#include "files/wire.h"
#include "tests/lib/test.h"

struct guest {
	int fd, peer_fd, window_fd; /* peer_fd is the server's end */
	uint8_t *window;
};

/* One frame of the server's, with what follows it. */
struct guest_got {
	struct files_frame frame;
	struct fuse_out_header out; /* of a message */
	uint8_t data[FILES_INLINE_BYTES];
};

static inline int guest_window_new(size_t size, unsigned int seals)
{
	int fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static inline void guest_init(struct guest *g)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	g->fd = pair[0];
	g->peer_fd = pair[1];
	g->window_fd = guest_window_new(FILES_WINDOW_BYTES, F_SEAL_SHRINK | F_SEAL_GROW);
	g->window = mmap(NULL, FILES_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		g->window_fd, 0);
	assert_true(g->window != MAP_FAILED);
}

static inline void guest_done(struct guest *g)
{
	munmap(g->window, FILES_WINDOW_BYTES);
	close_fd(g->fd);
	close_fd(g->peer_fd);
	close_fd(g->window_fd);
}

static inline uint8_t *guest_slot(const struct guest *g, unsigned int slot)
{
	return g->window + (size_t)slot * FILES_SLOT_BYTES;
}

static inline void guest_send_frame(
	struct guest *g, const struct files_frame *frame, const void *follows)
{
	assert_int_equal(write_full(g->fd, frame, sizeof(*frame)), 0);
	if (follows && frame->slot == FILES_NO_SLOT)
		assert_int_equal(write_full(g->fd, follows, frame->length), 0);
}

/* A FUSE message: header and body (of at most 512 bytes), inline. */
struct guest_message {
	struct fuse_in_header in;
	uint8_t body[512];
};

static inline struct guest_message guest_message(
	uint32_t opcode, uint64_t unique, const void *body, size_t len)
{
	struct guest_message m = {.in = {.len = (uint32_t)(sizeof(m.in) + len),
					  .opcode = opcode,
					  .unique = unique,
					  .nodeid = FUSE_ROOT_ID}};

	if (len > 0)
		memcpy(m.body, body, len);
	return m;
}

static inline void guest_send(
	struct guest *g, unsigned int mount, uint32_t opcode, uint64_t unique)
{
	struct guest_message m = guest_message(opcode, unique, NULL, 0);
	struct files_frame frame = {.length = m.in.len,
		.mount = (uint16_t)mount,
		.kind = FILES_MESSAGE,
		.slot = FILES_NO_SLOT,
		.done = FILES_NO_SLOT};

	guest_send_frame(g, &frame, &m);
}

static inline void guest_send_message(
	struct guest *g, unsigned int mount, const struct guest_message *m, uint8_t done)
{
	struct files_frame frame = {.length = m->in.len,
		.mount = (uint16_t)mount,
		.kind = FILES_MESSAGE,
		.slot = FILES_NO_SLOT,
		.done = done};

	guest_send_frame(g, &frame, m);
}

static inline void guest_send_slot(
	struct guest *g, unsigned int mount, uint8_t slot, uint32_t length)
{
	struct files_frame frame = {.length = length,
		.mount = (uint16_t)mount,
		.kind = FILES_MESSAGE,
		.slot = slot,
		.done = FILES_NO_SLOT};

	guest_send_frame(g, &frame, NULL);
}

static inline void guest_send_note(
	struct guest *g, unsigned int mount, enum files_kind kind, uint8_t done)
{
	struct files_frame frame = {.mount = (uint16_t)mount,
		.kind = (uint8_t)kind,
		.slot = FILES_NO_SLOT,
		.done = done};

	guest_send_frame(g, &frame, NULL);
}

static inline void guest_send_read(struct guest *g, unsigned int mount, uint64_t unique,
	uint64_t offset, uint32_t size)
{
	struct fuse_read_in read = {.offset = offset, .size = size};
	struct guest_message m = guest_message(FUSE_READ, unique, &read, sizeof(read));

	guest_send_message(g, mount, &m, FILES_NO_SLOT);
}

/* The next frame; false at the channel's end. */
static inline bool guest_receive(struct guest *g, struct guest_got *ret)
{
	const uint8_t *message = ret->data;

	if (wait_fd(g->fd, POLLIN, soon()) < 0)
		fail_msg("the server says nothing");
	if (read_full(g->fd, &ret->frame, sizeof(ret->frame)) < 0)
		return false;
	if (ret->frame.slot == FILES_NO_SLOT) {
		assert_true(ret->frame.length <= sizeof(ret->data));
		assert_int_equal(read_full(g->fd, ret->data, ret->frame.length), 0);
	} else {
		assert_in_range(ret->frame.slot, FILES_GUEST_SLOTS, FILES_SLOTS - 1);
		assert_in_range(ret->frame.length, 0, FILES_SLOT_BYTES);
		message = guest_slot(g, ret->frame.slot);
	}
	if (ret->frame.kind == FILES_MESSAGE) {
		memcpy(&ret->out, message, sizeof(ret->out));
		assert_int_equal(ret->out.len, ret->frame.length);
	}
	return true;
}

/* The next frame is of this kind. */
static inline struct guest_got guest_expect(struct guest *g, enum files_kind kind)
{
	struct guest_got got;

	if (!guest_receive(g, &got))
		fail_msg("the server has ended the channel");
	assert_int_equal(got.frame.kind, kind);
	return got;
}

/* The next frame answers this request with this error. */
static inline struct guest_got guest_expect_answer(
	struct guest *g, unsigned int mount, uint64_t unique, int error)
{
	struct guest_got got = guest_expect(g, FILES_MESSAGE);

	assert_int_equal(got.frame.mount, mount);
	assert_int_equal(got.out.unique, unique);
	assert_int_equal(got.out.error, error);
	return got;
}
