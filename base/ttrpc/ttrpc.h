/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc, both ends of the wire: unary calls of protobuf messages over one byte stream. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The wire (containerd/ttrpc, PROTOCOL.md): a frame is a 10-byte header (u32 BE data
 * length, u32 BE stream id, u8 type, u8 flags) and the data; types 1 request, 2 response,
 * 3 data; a client's stream ids are odd; a frame's data is at most 4 MiB. Requests carry
 * {service=1, method=2, payload=3, timeout_nano=4, metadata=5}, responses {status=1
 * (google.rpc.Status: code=1, message=2), payload=2}.
 *
 * The stream has no beginning on a virtio-serial port (a clone's agent goes on reading
 * where the template's stopped), so a server accepts any odd id that is not in flight.
 */
#define TTRPC_FRAME_MAX (4u << 20)

/* google.rpc.Code, the part that is used. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELLED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

/* The one table between errno values and codes (status.c): ENOENT is NOT_FOUND, EEXIST
 * ALREADY_EXISTS and so on. An errno that it has not, of either sign, is UNKNOWN; a code
 * that it has not is -EREMOTEIO. */
enum ttrpc_code ttrpc_code_of_errno(int code);
int ttrpc_errno_of_code(enum ttrpc_code code);

/* ---- client ---- */

struct ttrpc_client;

/*
 * Takes fd (a connected stream, closed by _free). One reader thread; any number of
 * threads may call at the same time. Calls in flight are limited to 1024.
 */
int ttrpc_client_new(int fd, struct ttrpc_client **ret, struct err *err);
/* Ends every call in flight with -ECONNRESET, then waits until those callers have left.
 * NULL is fine. */
void ttrpc_client_free(struct ttrpc_client *c);
/*
 * Frees c and hands its stream out, to be given to ttrpc_client_new() by whoever goes on
 * with it. Not a byte is lost: -EBUSY while a call is in flight or an answer is
 * outstanding that its caller did not wait for, else what ended the connection; c is
 * freed and the stream closed then, too.
 */
int ttrpc_client_detach(struct ttrpc_client *c, int *ret_fd, struct err *err);

/* Lets calls be given up that may last for ever; all zeros at first. */
struct ttrpc_cancel {
	bool given_up; /* under the client's lock */
};

struct ttrpc_call {
	const char *service, *method;
	const ProtobufCMessage *request;
	const ProtobufCMessageDescriptor *type; /* of the answer; NULL: it is ignored */
	int64_t deadline;                       /* absolute; also sent as timeout_nano */
	const struct ttrpc_cancel *cancel;      /* NULL: this call is not given up */
};

/*
 * Sends the request, waits for the answer until the deadline, and unpacks it into *ret,
 * the caller's (protobuf_c_message_free_unpacked(ret, NULL)); ret is NULL if type is. A
 * request whose deadline passes while the peer does not read leaves the connection whole,
 * and so does a late answer. Errors: the peer's status as errno with its message quoted
 * in err; -ETIMEDOUT; -ECONNRESET if the peer left; -EBADMSG if it broke the protocol
 * (the connection is then over); -EMSGSIZE if the request (which is then not sent) or the
 * answer is above TTRPC_FRAME_MAX; -EAGAIN with too many calls in flight; -ECANCELED if
 * it was given up.
 */
int ttrpc_client_call(struct ttrpc_client *c, const struct ttrpc_call *call,
	ProtobufCMessage **ret, struct err *err);
/* All calls with this `cancel` return now, and later ones at once. The peer is not told;
 * its answer is nobody's. */
void ttrpc_client_cancel(struct ttrpc_client *c, struct ttrpc_cancel *cancel);

/* ---- server ---- */

struct ttrpc_request; /* one request under way; lives until its handler has returned */

/*
 * Handles one request in a thread of its own: `in` is unpacked as the method's
 * request_type. Returns 0 with *ret_out a message of the method's response_type,
 * allocated with malloc by message and fields (freed with
 * protobuf_c_message_free_unpacked(), NULL means empty), or a negative errno and err,
 * which become the status.
 */
typedef int (*ttrpc_handler)(void *user, struct ttrpc_request *request,
	const ProtobufCMessage *in, ProtobufCMessage **ret_out, struct err *err);

struct ttrpc_method {
	const char *service, *name;
	const ProtobufCMessageDescriptor *request_type, *response_type;
	ttrpc_handler handler;
};

/* Absolute deadline that the client asked for, or DEADLINE_NONE. */
int64_t ttrpc_request_deadline(const struct ttrpc_request *request);
/* Becomes readable when the connection the request came by has ended (its answer goes
 * nowhere): a handler that waits for long includes it in its poll. */
int ttrpc_request_closed_fd(const struct ttrpc_request *request);

/* The server stops (ttrpc_server_stop()) when the client has the answer and has left: one
 * that still waits when its connection ends may take that for a failure. It has 5 s. */
void ttrpc_request_stop_server(struct ttrpc_request *request);

/* What a server answers: all of its services in these, any other is UNIMPLEMENTED. */
#define TTRPC_TABLES 2
struct ttrpc_table {
	const struct ttrpc_method *methods; /* static */
	size_t n;
};

struct ttrpc_server_config {
	struct ttrpc_table tables[TTRPC_TABLES];
	void *user; /* first argument of every handler, and of: */
	/* Some client has asked for something, and now the last one has left, and all
	 * handlers have returned; in a thread of the server. May be NULL. */
	void (*left)(void *user);
	size_t thread_stack_bytes; /* of a handler; 0: 64 KiB */
	unsigned int max_requests; /* at once; more: RESOURCE_EXHAUSTED. 0: 64 */
};

struct ttrpc_server;

int ttrpc_server_new(const struct ttrpc_server_config *config, struct ttrpc_server **ret,
	struct err *err);
/* Serves one stream in this thread until its end (fd is taken, closed when the last
 * handler of it has returned). A peer that breaks the protocol loses its connection.
 * Returns 0 at the end of the stream or a negative errno. */
int ttrpc_server_serve(struct ttrpc_server *s, int fd);
/* Accepts connections on a listening socket (not taken, but set to O_NONBLOCK), each
 * served in a thread of its own, until ttrpc_server_stop(). A shortage (of descriptors,
 * of memory) costs at most the connection it befalls. */
int ttrpc_server_accept_loop(struct ttrpc_server *s, int listen_fd, struct err *err);
/* Async-signal-safe: ends the accept loop and hangs up every connection; handlers under
 * way go on to their end. */
void ttrpc_server_stop(struct ttrpc_server *s);
/* Waits for connections and handlers to end, then frees. */
void ttrpc_server_free(struct ttrpc_server *s);
