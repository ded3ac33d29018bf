/* SPDX-License-Identifier: Apache-2.0 */
/* The calling end of ttrpc. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/thread.h"
#include "base/ttrpc/io.h"
#include "base/ttrpc/ttrpc.h"
#include "base/ttrpc/ttrpc.pb-c.h"
#include "base/util.h"

/*
 * A call lives on its caller's stack and is in the list from before its request is sent
 * until its answer is there or its deadline has passed. The reader thread hands frames to
 * calls by stream id and does nothing else; unpacking is done by the callers. When the
 * connection ends the reader notes why in `down`, once, and wakes every caller.
 */
#define CALLS_MAX 1024

struct call {
	struct call *next;
	uint32_t stream;
	bool done, too_large;
	struct ttrpc_frame answer;
	const struct ttrpc_cancel *cancel; /* or NULL */
	pthread_cond_t wake;
};

struct ttrpc_client {
	struct ttrpc_io io;
	pthread_t reader;
	bool reader_ended; /* and was joined */

	pthread_mutex_t lock;
	pthread_cond_t left;
	unsigned int n_callers; /* inside of ttrpc_client_call() */
	struct call *calls;
	uint32_t next_stream;
	bool wrapped;                /* every odd id has been used */
	uint64_t n_sent, n_answered; /* requests, and answers that came */
	/* Why the connection has ended; set once, code 0 while it is up. */
	struct err down;
};

static struct call **find_call(struct ttrpc_client *c, uint32_t stream)
{
	struct call **p = &c->calls;

	while (*p && (*p)->stream != stream)
		p = &(*p)->next;
	return p;
}

static void unlink_call(struct ttrpc_client *c, struct call *call)
{
	struct call **p = find_call(c, call->stream);

	if (*p == call)
		*p = call->next;
}

static void finish_call(struct ttrpc_client *c, struct call *call)
{
	unlink_call(c, call);
	call->done = true;
	pthread_cond_signal(&call->wake);
}

/* Ends the connection for the reason given, unless it has ended already. */
static void go_down(struct ttrpc_client *c, int code, const char *reason)
{
	pthread_mutex_lock(&c->lock);
	if (!c->down.code)
		err_set(&c->down, code, "%s", reason);
	while (c->calls)
		finish_call(c, c->calls);
	pthread_mutex_unlock(&c->lock);
	ttrpc_io_hang_up(&c->io);
}

/* ---- the reader ---- */

/* Hands the frame to its call. False: there never was one, so the peer is not to be
 * believed. */
static bool deliver_answer(struct ttrpc_client *c, struct ttrpc_frame *f, bool too_large)
{
	struct call *call;
	bool known;

	pthread_mutex_lock(&c->lock);
	call = *find_call(c, f->stream);
	if (call) {
		call->answer = *f;
		call->too_large = too_large;
		f->data = NULL;
		finish_call(c, call);
	}
	/* An answer that came after its caller's deadline is nobody's; there are no more
	 * of these than requests without an answer. */
	known = call || (f->stream % 2 && c->n_answered < c->n_sent &&
				(c->wrapped || f->stream < c->next_stream));
	c->n_answered += known;
	pthread_mutex_unlock(&c->lock);
	return known;
}

static const char *why_ended(int r)
{
	switch (-r) {
	case 0:
		return "the peer has closed the connection";
	case ECANCELED:
		return "the connection was closed on this side";
	case ECONNRESET:
		return "the connection broke off";
	case EBADMSG:
		return "the peer sent something that is not a ttrpc frame";
	}
	return strerrordesc_np(-r);
}

/* One frame: true if there may be another. */
static bool read_one(struct ttrpc_client *c)
{
	struct ttrpc_frame f = {0};
	int r = ttrpc_io_recv(&c->io, &f);
	bool known;

	if (r <= 0 && r != -EMSGSIZE) {
		go_down(c, r == -EBADMSG ? r : -ECONNRESET, why_ended(r));
		return false;
	}
	known = f.type == TTRPC_RESPONSE && deliver_answer(c, &f, r == -EMSGSIZE);
	if (!known)
		go_down(c, -EBADMSG, "the peer sent a frame that answers no call");
	free(f.data);
	return known;
}

static void *reader_main(void *arg)
{
	struct ttrpc_client *c = arg;

	while (read_one(c))
		;
	return NULL;
}

/* ---- calling ---- */

static int enter_session(struct ttrpc_client *c, struct call *call, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (c->down.code) {
		r = err_copy(err, &c->down);
	} else if (c->n_callers == CALLS_MAX) {
		r = err_set(err, -EAGAIN, "%u calls are in flight already", CALLS_MAX);
	} else {
		do {
			call->stream = c->next_stream;
			c->next_stream += 2;
			c->wrapped |= c->next_stream == 1;
		} while (*find_call(c, call->stream));
		call->next = c->calls;
		c->calls = call;
		c->n_callers++;
		c->n_sent++;
		cond_init(&call->wake);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void leave_session(struct ttrpc_client *c, struct call *call)
{
	pthread_mutex_lock(&c->lock);
	if (!call->done)
		unlink_call(c, call);
	if (--c->n_callers == 0)
		pthread_cond_broadcast(&c->left);
	pthread_mutex_unlock(&c->lock);
	pthread_cond_destroy(&call->wake);
	free(call->answer.data);
}

static int send_request(struct ttrpc_client *c, uint32_t stream,
	const struct ttrpc_call *what, struct err *err)
{
	Ttrpc__Request envelope = TTRPC__REQUEST__INIT;
	struct ttrpc_message message = {
		.type = TTRPC_REQUEST,
		.stream = stream,
		.envelope = &envelope.base,
		.payload = what->request,
	};
	_cleanup_free_ uint8_t *frame = NULL;
	size_t len;
	int r;

	envelope.service = (char *)what->service;
	envelope.method = (char *)what->method;
	if (what->deadline != DEADLINE_NONE) {
		int64_t left_ms = what->deadline - now_ms();

		if (left_ms <= 0)
			return err_set(err, -ETIMEDOUT, "the deadline has passed");
		envelope.timeout_nano = MIN(left_ms, INT64_MAX / 1000000) * 1000000;
	}
	r = ttrpc_frame_new(&message, &frame, &len, err);
	if (r < 0)
		return r;
	r = ttrpc_io_send(&c->io, frame, len, what->deadline);
	if (r == -ETIMEDOUT)
		return err_set(err, r, "the peer did not take the request in time");
	if (r < 0) {
		/* Nothing more will come either. Unless it is known why, this is why. */
		go_down(c, -ECONNRESET, why_ended(r == -EPIPE ? 0 : r));
		return err_copy(err, &c->down);
	}
	return 0;
}

static bool is_given_up(const struct call *call)
{
	return call->cancel && call->cancel->given_up;
}

static int wait_answer(
	struct ttrpc_client *c, struct call *call, int64_t deadline, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (!call->done && r == 0 && !is_given_up(call))
		r = cond_wait(&call->wake, &c->lock, deadline);
	if (!call->done && is_given_up(call))
		r = err_set(err, -ECANCELED, "given up");
	else if (!call->done)
		r = err_set(err, -ETIMEDOUT, "no answer in time");
	else if (call->too_large)
		r = err_set(err, -EMSGSIZE, "an answer of %u bytes; the most is %u",
			call->answer.len, TTRPC_FRAME_MAX);
	else if (call->answer.type)
		r = 0;
	else
		r = err_copy(err, &c->down);
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* What a status says, as errno and text; its message is the peer's, so it is quoted. */
static int check_status(const Google__Rpc__Status *status, struct err *err)
{
	int r;

	if (!status || status->code == TTRPC_OK)
		return 0;
	r = ttrpc_errno_of_code((enum ttrpc_code)status->code);
	if (*status->message)
		return err_set(err, r, "%s", err_quote(status->message, 1000));
	return err_set(err, r, "refused with status %d and no text", status->code);
}

static int unpack_answer(struct call *call, const ProtobufCMessageDescriptor *type,
	ProtobufCMessage **ret, struct err *err)
{
	Ttrpc__Response *envelope;
	ProtobufCMessage *m = NULL;
	int r;

	envelope = (Ttrpc__Response *)ttrpc_unpack(
		&ttrpc__response__descriptor, call->answer.data, call->answer.len);
	if (!envelope)
		return err_set(err, -EBADMSG, "the peer's answer is malformed");
	free(steal_ptr(call->answer.data));
	r = check_status(envelope->status, err);
	if (r == 0 && type) {
		m = ttrpc_unpack(type, envelope->payload.data, envelope->payload.len);
		if (!m)
			r = err_set(err, -EBADMSG, "the peer's answer is not a %s",
				type->name);
	}
	ttrpc__response__free_unpacked(envelope, NULL);
	if (m)
		*ret = m;
	return r;
}

int ttrpc_client_call(struct ttrpc_client *c, const struct ttrpc_call *what,
	ProtobufCMessage **ret, struct err *err)
{
	struct err local = ERR_INIT, *e = err ? err : &local;
	struct call call = {.cancel = what->cancel};
	int r;

	r = enter_session(c, &call, e);
	if (r < 0)
		return err_wrap(e, "%s", what->method);
	r = send_request(c, call.stream, what, e);
	if (r == 0)
		r = wait_answer(c, &call, what->deadline, e);
	if (r == 0) {
		r = unpack_answer(&call, what->type, ret, e);
		if (r == -EBADMSG)
			go_down(c, r, e->text);
	}
	leave_session(c, &call);
	return r < 0 ? err_wrap(e, "%s", what->method) : 0;
}

void ttrpc_client_cancel(struct ttrpc_client *c, struct ttrpc_cancel *cancel)
{
	pthread_mutex_lock(&c->lock);
	cancel->given_up = true;
	for (struct call *call = c->calls; call; call = call->next)
		if (call->cancel == cancel)
			pthread_cond_signal(&call->wake);
	pthread_mutex_unlock(&c->lock);
}

/* ---- the connection ---- */

int ttrpc_client_new(int fd, struct ttrpc_client **ret, struct err *err)
{
	struct ttrpc_client *c = xnew0(struct ttrpc_client);
	int r;

	r = ttrpc_io_init(&c->io, fd, -1, err);
	if (r < 0) {
		close_fd(fd);
		free(c);
		return r;
	}
	pthread_mutex_init(&c->lock, NULL);
	cond_init(&c->left);
	c->next_stream = 1;
	r = thread_start(reader_main, c, 0, false, &c->reader);
	if (r < 0) {
		err_sys(err, r, "reader thread");
		ttrpc_io_done(&c->io);
		pthread_cond_destroy(&c->left);
		pthread_mutex_destroy(&c->lock);
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void ttrpc_client_free(struct ttrpc_client *c)
{
	if (!c)
		return;
	go_down(c, -ECONNRESET, why_ended(-ECANCELED));
	if (!c->reader_ended)
		pthread_join(c->reader, NULL);
	pthread_mutex_lock(&c->lock);
	while (c->n_callers)
		cond_wait(&c->left, &c->lock, DEADLINE_NONE);
	pthread_mutex_unlock(&c->lock);
	ttrpc_io_done(&c->io);
	pthread_cond_destroy(&c->left);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Whether the stream is between two frames, in both directions, and nothing is to
 * come. */
static int check_quiet(struct ttrpc_client *c, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (c->down.code)
		r = err_copy(err, &c->down);
	else if (c->n_callers || c->n_sent != c->n_answered)
		r = err_set(err, -EBUSY, "a call is unanswered");
	else
		err_set(&c->down, -ECONNRESET, "the connection was handed over");
	pthread_mutex_unlock(&c->lock);
	return r;
}

int ttrpc_client_detach(struct ttrpc_client *c, int *ret_fd, struct err *err)
{
	int r = check_quiet(c, err), fd = -1;

	if (r == 0) {
		ttrpc_io_hang_up(&c->io);
		pthread_join(c->reader, NULL);
		c->reader_ended = true;
		/* Nobody was owed an answer, so whatever came is the peer's mistake. */
		if (c->io.torn || c->io.begin != c->io.end || c->io.rest)
			r = err_set(err, -EBADMSG,
				"the connection is in the middle of a frame");
		else
			fd = steal_fd(&c->io.fd);
	}
	ttrpc_client_free(c);
	if (r < 0)
		return err_wrap(err, "hand the agent's connection over");
	*ret_fd = fd;
	return 0;
}
