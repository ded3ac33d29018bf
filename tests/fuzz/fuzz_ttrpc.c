/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest or client may send: any bytes as a stream of ttrpc frames, their
 * data as envelopes, and the payloads as the agent protocol's messages. What was
 * understood is packed again and must then be understood as the same.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/ttrpc/io.h"
#include "base/ttrpc/ttrpc.pb-c.h"
#include "base/util.h"

/* Fits into a socket's buffer, so that one thread can be both ends. */
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *pack(const ProtobufCMessage *m, size_t *ret_len)
{
	uint8_t *data = xmalloc(protobuf_c_message_get_packed_size(m));

	*ret_len = protobuf_c_message_pack(m, data);
	return data;
}

static void check_message(
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len)
{
	ProtobufCMessage *m = ttrpc_unpack(type, data, len), *again;
	size_t len_a, len_b;
	uint8_t *a, *b;

	if (!m)
		return;
	a = pack(m, &len_a);
	protobuf_c_message_free_unpacked(m, NULL);
	again = ttrpc_unpack(type, a, len_a);
	/* It may have been just within the limit of memory. */
	if (again) {
		b = pack(again, &len_b);
		assert(len_a == len_b && memcmp(a, b, len_a) == 0);
		protobuf_c_message_free_unpacked(again, NULL);
		free(b);
	}
	free(a);
}

/* The stream id says which method's messages the payload is taken for. */
static void check_frame(const struct ttrpc_frame *f)
{
	const ProtobufCServiceDescriptor *service = &grpc__agent_service__descriptor;
	const ProtobufCMethodDescriptor *method =
		&service->methods[f->stream / 2 % service->n_methods];
	Ttrpc__Request *request;
	Ttrpc__Response *response;

	request = (Ttrpc__Request *)ttrpc_unpack(
		&ttrpc__request__descriptor, f->data, f->len);
	if (request) {
		check_message(method->input, request->payload.data, request->payload.len);
		ttrpc__request__free_unpacked(request, NULL);
	}
	response = (Ttrpc__Response *)ttrpc_unpack(
		&ttrpc__response__descriptor, f->data, f->len);
	if (response) {
		check_message(
			method->output, response->payload.data, response->payload.len);
		ttrpc__response__free_unpacked(response, NULL);
	}
	check_message(&ttrpc__request__descriptor, f->data, f->len);
	check_message(&ttrpc__response__descriptor, f->data, f->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ttrpc_io io;
	int fds[2], r;

	if (size > INPUT_MAX ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	if (write(fds[1], data, size) != (ssize_t)size)
		abort();
	close(fds[1]);
	if (ttrpc_io_init(&io, fds[0], -1, NULL) < 0)
		abort();
	do {
		struct ttrpc_frame f = {0};

		r = ttrpc_io_recv(&io, &f);
		if (r > 0)
			check_frame(&f);
		free(f.data);
	} while (r > 0);
	ttrpc_io_done(&io);
	return 0;
}
