/* SPDX-License-Identifier: Apache-2.0 */
/* Inside base/ttrpc: frames over one descriptor, for client and server alike. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * How it works
 *
 * The descriptor may be a socket or a virtio-serial port, so it is read, written and
 * polled, and never shut down; it is set to O_NONBLOCK. Hanging up is an eventfd that
 * every wait has in its poll.
 *
 * One thread receives. Any number of threads send; they take turns, and wait for their
 * turn and for the peer no longer than their own deadline. A sender whose deadline passes
 * in the middle of a frame leaves the rest of it behind (a frame once begun must be
 * finished, or all later ones would be garbage); the next sender writes that rest first.
 */

enum ttrpc_type {
	TTRPC_REQUEST = 1,
	TTRPC_RESPONSE = 2,
	TTRPC_DATA = 3,
};

/* The sender of a request wants to send data behind it. */
#define TTRPC_FLAG_REMOTE_OPEN 0x02

#define TTRPC_HEADER_BYTES 10

struct ttrpc_frame {
	uint32_t len, stream;
	uint8_t type, flags;
	uint8_t *data; /* malloc'ed; NULL without data */
};

struct ttrpc_io {
	int fd;
	int closed_fd; /* eventfd: written once hung up */
	int stop_fd;   /* borrowed eventfd that hangs up many connections, or -1 */
	bool is_socket;

	/* The receiving thread's. */
	size_t begin, end;
	uint8_t buf[4096];
	bool torn; /* receiving ended in the middle of a frame */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t turn;
	bool sending;
	uint8_t *rest; /* of a frame that was begun; of the sender whose turn it is */
	size_t rest_off, rest_len;
};

/* Takes fd when it succeeds. */
int ttrpc_io_init(struct ttrpc_io *io, int fd, int stop_fd, struct err *err);
void ttrpc_io_done(struct ttrpc_io *io);

/* Any thread, any number of times: what waits in recv or send returns. */
void ttrpc_io_hang_up(struct ttrpc_io *io);

/*
 * Waits for one frame; its data is the caller's to free. Returns 1, or
 *   0            the stream has ended between two frames
 *   -EMSGSIZE    the frame is above TTRPC_FRAME_MAX: its header is in *ret, its data was
 *                thrown away
 *   -EBADMSG     what came is no frame: the stream is of no more use
 *   -ECONNRESET  it ended in the middle of a frame
 *   -ECANCELED   hung up on this side
 */
int ttrpc_io_recv(struct ttrpc_io *io, struct ttrpc_frame *ret);

/*
 * Sends a frame as ttrpc_frame_new() made it; tries at least once even if the deadline
 * has passed. 0, -ETIMEDOUT (the peer may get the frame later, whole or not at all),
 * -ECANCELED, or what write(2) says.
 */
int ttrpc_io_send(
	struct ttrpc_io *io, const uint8_t *frame, size_t len, int64_t deadline);

struct ttrpc_message {
	enum ttrpc_type type; /* TTRPC_REQUEST or TTRPC_RESPONSE */
	uint32_t stream;
	/* A ttrpc.Request or a ttrpc.Response, without its payload. */
	const ProtobufCMessage *envelope;
	const ProtobufCMessage *payload; /* NULL: none */
};

/*
 * The message as a frame, for ttrpc_io_send(). *ret is the caller's to free. -EMSGSIZE
 * with the sizes in err if the data would be above TTRPC_FRAME_MAX.
 */
int ttrpc_frame_new(const struct ttrpc_message *message, uint8_t **ret, size_t *ret_len,
	struct err *err);

/* protobuf_c_message_unpack() that spends at most 16 MiB: a hostile message of many empty
 * parts grows forty times when unpacked. NULL if it is malformed or larger. */
ProtobufCMessage *ttrpc_unpack(
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len);
