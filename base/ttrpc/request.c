/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a ttrpc server, from its frame to its answer. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/ttrpc/server_internal.h"
#include "base/ttrpc/ttrpc.pb-c.h"
#include "base/util.h"

#define REQUESTS_MAX_DEFAULT 64

/* How long the client of ttrpc_request_stop_server() may take to leave. */
#define LEAVE_MS 5000

struct ttrpc_request {
	struct ttrpc_connection *connection;
	struct ttrpc_request *next; /* of its connection */
	struct ttrpc_frame frame;
	int64_t deadline;
	bool stops_server;
};

int64_t ttrpc_request_deadline(const struct ttrpc_request *request)
{
	return request->deadline;
}

int ttrpc_request_closed_fd(const struct ttrpc_request *request)
{
	return request->connection->io.closed_fd;
}

void ttrpc_request_stop_server(struct ttrpc_request *request)
{
	request->stops_server = true;
}

/* ---- answering ---- */

static int send_status(struct ttrpc_connection *c, uint32_t stream, enum ttrpc_code code,
	const char *text, int64_t deadline)
{
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	Ttrpc__Response envelope = TTRPC__RESPONSE__INIT;
	struct ttrpc_message message = {
		.type = TTRPC_RESPONSE,
		.stream = stream,
		.envelope = &envelope.base,
	};
	_cleanup_free_ uint8_t *frame = NULL;
	size_t len;
	int r;

	status.code = (int32_t)code;
	status.message = (char *)text;
	envelope.status = &status;
	r = ttrpc_frame_new(&message, &frame, &len, NULL);
	return r < 0 ? r : ttrpc_io_send(&c->io, frame, len, deadline);
}

static int send_message(
	struct ttrpc_request *q, const ProtobufCMessage *out, struct err *err)
{
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	Ttrpc__Response envelope = TTRPC__RESPONSE__INIT;
	struct ttrpc_message message = {
		.type = TTRPC_RESPONSE,
		.stream = q->frame.stream,
		.envelope = &envelope.base,
		.payload = out,
	};
	_cleanup_free_ uint8_t *frame = NULL;
	size_t len;
	int r;

	envelope.status = &status;
	r = ttrpc_frame_new(&message, &frame, &len, err);
	if (r < 0)
		return r;
	/* A client that does not take its answer is its own trouble; the rest of the
	 * frame, if any, goes before the next one. */
	ttrpc_io_send(&q->connection->io, frame, len, q->deadline);
	return 0;
}

/* ---- running ---- */

static const struct ttrpc_method *find_method(
	const struct ttrpc_server_config *config, const Ttrpc__Request *envelope)
{
	for (size_t t = 0; t < TTRPC_TABLES; t++) {
		for (size_t i = 0; i < config->tables[t].n; i++) {
			const struct ttrpc_method *m = &config->tables[t].methods[i];

			if (strcmp(m->name, envelope->method) == 0 &&
				strcmp(m->service, envelope->service) == 0)
				return m;
		}
	}
	return NULL;
}

/* What is asked, and of which method; nothing else of the frame is kept while that
 * runs. */
static int decode_request(struct ttrpc_request *q, const Ttrpc__Request *envelope,
	const struct ttrpc_method **ret_method, ProtobufCMessage **ret_in,
	struct err *err)
{
	const struct ttrpc_method *m =
		find_method(&q->connection->server->config, envelope);
	ProtobufCMessage *in;

	if (!m)
		return err_set(err, -ENOSYS, "/%s/%s is not implemented",
			err_quote(envelope->service, 128),
			err_quote(envelope->method, 128));
	in = ttrpc_unpack(m->request_type, envelope->payload.data, envelope->payload.len);
	if (!in)
		return err_set(err, -EINVAL, "/%s/%s: the request is not a %s",
			m->service, m->name, m->request_type->name);
	if (envelope->timeout_nano > 0)
		q->deadline = deadline_after_ms(envelope->timeout_nano / 1000000);
	*ret_method = m;
	*ret_in = in;
	return 0;
}

static int run_request(
	struct ttrpc_request *q, ProtobufCMessage **ret_out, struct err *err)
{
	const struct ttrpc_method *m = NULL;
	ProtobufCMessage *in = NULL;
	Ttrpc__Request *envelope;
	int r;

	envelope = (Ttrpc__Request *)ttrpc_unpack(
		&ttrpc__request__descriptor, q->frame.data, q->frame.len);
	if (!envelope)
		return err_set(err, -EINVAL, "the request is malformed");
	free(steal_ptr(q->frame.data));
	r = decode_request(q, envelope, &m, &in, err);
	ttrpc__request__free_unpacked(envelope, NULL);
	if (r < 0)
		return r;
	r = m->handler(q->connection->server->config.user, q, in, ret_out, err);
	protobuf_c_message_free_unpacked(in, NULL);
	return r;
}

/* From now on its stream id may be used again. */
static void request_unlink(struct ttrpc_request *q)
{
	struct ttrpc_server *s = q->connection->server;
	struct ttrpc_request **p;

	pthread_mutex_lock(&s->lock);
	for (p = &q->connection->requests; *p != q; p = &(*p)->next)
		;
	*p = q->next;
	pthread_mutex_unlock(&s->lock);
}

static void request_free(struct ttrpc_request *q)
{
	struct ttrpc_connection *c = q->connection;
	struct ttrpc_server *s = c->server;

	free(q->frame.data);
	free(q);
	pthread_mutex_lock(&s->lock);
	s->n_requests--;
	pthread_mutex_unlock(&s->lock);
	ttrpc_connection_unref(c);
}

static void *request_main(void *arg)
{
	struct ttrpc_request *q = arg;
	ProtobufCMessage *out = NULL;
	struct err err = ERR_INIT;
	int r;

	r = run_request(q, &out, &err);
	/* Before the answer: a client may use the id again as soon as it has that. */
	request_unlink(q);
	if (r == 0)
		r = send_message(q, out, &err);
	if (r < 0)
		send_status(q->connection, q->frame.stream, ttrpc_code_of_errno(r),
			*err.text ? err.text : strerrordesc_np(-r), q->deadline);
	if (out)
		protobuf_c_message_free_unpacked(out, NULL);
	if (q->stops_server) {
		/* It leaves by itself, or is hung up on when its time is over. */
		wait_fd(q->connection->io.closed_fd, POLLIN, deadline_after_ms(LEAVE_MS));
		ttrpc_server_stop(q->connection->server);
	}
	request_free(q);
	return NULL;
}

/* ---- taking a frame ---- */

/*
 * Adds the request to its connection. NULL with *ret_code TTRPC_OK: its id is in
 * flight; with another code: there are too many.
 */
static struct ttrpc_request *request_new(
	struct ttrpc_connection *c, struct ttrpc_frame *f, enum ttrpc_code *ret_code)
{
	struct ttrpc_server *s = c->server;
	unsigned int max =
		s->config.max_requests ? s->config.max_requests : REQUESTS_MAX_DEFAULT;
	struct ttrpc_request *q;

	*ret_code = TTRPC_OK;
	pthread_mutex_lock(&s->lock);
	for (q = c->requests; q && q->frame.stream != f->stream; q = q->next)
		;
	if (!q && s->n_requests >= max) {
		*ret_code = TTRPC_RESOURCE_EXHAUSTED;
	} else if (!q) {
		q = xnew0(struct ttrpc_request);
		q->connection = c;
		q->frame = *f;
		q->deadline = DEADLINE_NONE;
		q->next = c->requests;
		c->requests = q;
		s->has_asked = true;
		c->refs++;
		s->n_requests++;
		f->data = NULL;
	} else {
		q = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return q;
}

static int start_request(struct ttrpc_connection *c, struct ttrpc_frame *f)
{
	struct ttrpc_request *q;
	enum ttrpc_code code;
	int r;

	q = request_new(c, f, &code);
	if (!q && code == TTRPC_OK)
		return -EBADMSG;
	if (q) {
		r = thread_start(request_main, q, c->server->config.thread_stack_bytes,
			true, NULL);
		if (r == 0)
			return 0;
		request_unlink(q);
		request_free(q);
	}
	return send_status(c, f->stream, TTRPC_RESOURCE_EXHAUSTED,
		"too many requests at once", DEADLINE_NONE);
}

int ttrpc_connection_frame(
	struct ttrpc_connection *c, struct ttrpc_frame *f, bool too_large)
{
	int r;

	/* What a client streams was refused with its request; the rest of it comes all
	 * the same. */
	if (f->type == TTRPC_DATA)
		return 1;
	if (f->type != TTRPC_REQUEST)
		return -EBADMSG;
	if (too_large)
		r = send_status(c, f->stream, TTRPC_RESOURCE_EXHAUSTED,
			"the request is above the limit of 4 MiB", DEADLINE_NONE);
	else if (f->stream % 2 == 0)
		r = send_status(c, f->stream, TTRPC_INVALID_ARGUMENT,
			"a client's stream ids are odd", DEADLINE_NONE);
	else if (f->flags & TTRPC_FLAG_REMOTE_OPEN)
		r = send_status(c, f->stream, TTRPC_UNIMPLEMENTED,
			"streams are not implemented", DEADLINE_NONE);
	else
		r = start_request(c, f);
	return r < 0 ? r : 1;
}
