/* SPDX-License-Identifier: Apache-2.0 */
/* The raw other end of a ttrpc connection: frames as bytes,
 * and calls made from threads. */
#pragma once

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "agent-client/proto/health.pb-c.h"
#include "base/io.h"
#include "base/thread.h"
#include "base/ttrpc/ttrpc.h"
#include "base/ttrpc/ttrpc.pb-c.h"
#include "base/util.h"
#include "tests/lib/patience.h"

#define REQUEST  1
#define RESPONSE 2
#define DATA     3

struct raw {
	uint32_t len, stream;
	uint8_t type, flags;
	uint8_t *data;
};

static inline void send_header(
	int fd, uint32_t len, uint32_t stream, uint8_t type, uint8_t flags)
{
	uint32_t be_len = htobe32(len), be_stream = htobe32(stream);
	uint8_t header[10];

	memcpy(header, &be_len, 4);
	memcpy(header + 4, &be_stream, 4);
	header[8] = type;
	header[9] = flags;
	assert_int_equal(write_full(fd, header, sizeof(header)), 0);
}

static inline void send_frame(int fd, uint32_t stream, uint8_t type, uint8_t flags,
	const void *data, size_t len)
{
	send_header(fd, (uint32_t)len, stream, type, flags);
	assert_int_equal(write_full(fd, data, len), 0);
}

/* The frame's data is the caller's to free(). */
static inline struct raw recv_frame(int fd)
{
	struct raw f = {0};
	uint8_t header[10];

	assert_int_equal(read_full(fd, header, sizeof(header)), 0);
	memcpy(&f.len, header, 4);
	memcpy(&f.stream, header + 4, 4);
	f.len = be32toh(f.len);
	f.stream = be32toh(f.stream);
	f.type = header[8];
	f.flags = header[9];
	assert_true(f.len <= TTRPC_FRAME_MAX);
	f.data = xmalloc(f.len);
	assert_int_equal(read_full(fd, f.data, f.len), 0);
	return f;
}

static inline void assert_end_of_stream(int fd)
{
	char c;

	assert_int_equal(read_full(fd, &c, 1), -ENODATA);
}

static inline void assert_nothing_to_read(int fd)
{
	assert_int_equal(wait_fd(fd, POLLIN, now_ms()), -ETIMEDOUT);
}

/* ---- a client's frames ---- */

/* method is /t/<method> with a CheckRequest of `text`. */
static inline void send_request(int fd, uint32_t stream, uint8_t flags,
	const char *method, const char *text, int64_t timeout_nano)
{
	Grpc__CheckRequest check = GRPC__CHECK_REQUEST__INIT;
	Ttrpc__Request r = TTRPC__REQUEST__INIT;
	_cleanup_free_ uint8_t *payload = NULL, *data = NULL;

	check.service = (char *)text;
	payload = xmalloc(grpc__check_request__get_packed_size(&check));
	r.service = "t";
	r.method = (char *)method;
	r.payload.len = grpc__check_request__pack(&check, payload);
	r.payload.data = payload;
	r.timeout_nano = timeout_nano;
	data = xmalloc(ttrpc__request__get_packed_size(&r));
	send_frame(fd, stream, REQUEST, flags, data, ttrpc__request__pack(&r, data));
}

/* Takes the next answer, which must be of this stream,
 * code and text (of status or message). */
static inline void expect_answer(
	int fd, uint32_t stream, enum ttrpc_code code, const char *text)
{
	struct raw f = recv_frame(fd);
	Ttrpc__Response *r = ttrpc__response__unpack(NULL, f.len, f.data);
	Grpc__VersionCheckResponse *v;

	assert_int_equal(f.type, RESPONSE);
	assert_int_equal(f.flags, 0);
	assert_int_equal(f.stream, stream);
	assert_non_null(r);
	assert_int_equal(r->status ? r->status->code : 0, code);
	if (code != TTRPC_OK) {
		assert_string_equal(r->status->message, text);
		assert_int_equal(r->payload.len, 0);
	} else {
		v = grpc__version_check_response__unpack(
			NULL, r->payload.len, r->payload.data);
		assert_non_null(v);
		assert_string_equal(v->grpc_version, text);
		grpc__version_check_response__free_unpacked(v, NULL);
	}
	ttrpc__response__free_unpacked(r, NULL);
	free(f.data);
}

/* ---- a server's frames ---- */

/* Takes the next request, which must be /t/<method> with `text`;
 * returns its stream id. */
static inline uint32_t expect_request(int fd, const char *method, const char *text)
{
	struct raw f = recv_frame(fd);
	Ttrpc__Request *r = ttrpc__request__unpack(NULL, f.len, f.data);
	Grpc__CheckRequest *check;

	assert_int_equal(f.type, REQUEST);
	assert_int_equal(f.flags, 0);
	assert_non_null(r);
	assert_string_equal(r->service, "t");
	assert_string_equal(r->method, method);
	check = grpc__check_request__unpack(NULL, r->payload.len, r->payload.data);
	assert_non_null(check);
	if (text)
		assert_string_equal(check->service, text);
	grpc__check_request__free_unpacked(check, NULL);
	ttrpc__request__free_unpacked(r, NULL);
	free(f.data);
	return f.stream;
}

static inline void send_answer(int fd, uint32_t stream, const char *text)
{
	Grpc__VersionCheckResponse v = GRPC__VERSION_CHECK_RESPONSE__INIT;
	Ttrpc__Response r = TTRPC__RESPONSE__INIT;
	_cleanup_free_ uint8_t *payload = NULL, *data = NULL;

	v.grpc_version = (char *)text;
	payload = xmalloc(grpc__version_check_response__get_packed_size(&v));
	r.payload.len = grpc__version_check_response__pack(&v, payload);
	r.payload.data = payload;
	data = xmalloc(ttrpc__response__get_packed_size(&r));
	send_frame(fd, stream, RESPONSE, 0, data, ttrpc__response__pack(&r, data));
}

static inline void send_status(int fd, uint32_t stream, int code, const char *text)
{
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	Ttrpc__Response r = TTRPC__RESPONSE__INIT;
	_cleanup_free_ uint8_t *data = NULL;

	status.code = code;
	status.message = (char *)text;
	r.status = &status;
	data = xmalloc(ttrpc__response__get_packed_size(&r));
	send_frame(fd, stream, RESPONSE, 0, data, ttrpc__response__pack(&r, data));
}

/* ---- calls ---- */

struct caller {
	struct ttrpc_client *client;
	const char *method, *text;
	int64_t deadline;
	const ProtobufCMessageDescriptor *type; /* NULL: VersionCheckResponse */
	pthread_t thread;
	int r;
	struct err err;
	char *answer; /* "" if none came */
};

static inline void make_call(struct caller *c)
{
	Grpc__CheckRequest check = GRPC__CHECK_REQUEST__INIT;
	Grpc__VersionCheckResponse *v = NULL;
	ProtobufCMessage *m = NULL;

	check.service = (char *)c->text;
	c->r = ttrpc_client_call(c->client,
		&(struct ttrpc_call){.service = "t",
			.method = c->method,
			.request = &check.base,
			.type = c->type ? c->type
					: &grpc__version_check_response__descriptor,
			.deadline = c->deadline},
		&m, &c->err);
	v = (Grpc__VersionCheckResponse *)m;
	c->answer = xstrdup(v ? v->grpc_version : "");
	if (v)
		grpc__version_check_response__free_unpacked(v, NULL);
}

static inline void *caller_main(void *arg)
{
	make_call(arg);
	return NULL;
}

static inline void caller_start(struct caller *c, struct ttrpc_client *client,
	const char *method, const char *text, int64_t deadline)
{
	*c = (struct caller){
		.client = client, .method = method, .text = text, .deadline = deadline};
	assert_int_equal(thread_start(caller_main, c, 0, false, &c->thread), 0);
}

static inline void caller_check(struct caller *c, int code, const char *text)
{
	const char *found = code ? c->err.text : c->answer;

	if (c->r != code || strcmp(found, text) != 0)
		fail_msg("%s: %d \"%.200s\" instead of %d \"%.200s\"", c->method, c->r,
			c->r ? c->err.text : found, code, text);
	free(c->answer);
}

/* code 0: text is the answer; else the error's. */
static inline void caller_end(struct caller *c, int code, const char *text)
{
	pthread_join(c->thread, NULL);
	caller_check(c, code, text);
}

/* A call in this thread. */
static inline void assert_call(struct ttrpc_client *client, const char *method,
	const char *text, int64_t deadline, int code, const char *found)
{
	struct caller c = {
		.client = client, .method = method, .text = text, .deadline = deadline};

	make_call(&c);
	caller_check(&c, code, found);
}
