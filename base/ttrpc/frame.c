/* SPDX-License-Identifier: Apache-2.0 */
/* Making frames and unpacking what they hold: see io.h. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ttrpc/io.h"
#include "base/ttrpc/ttrpc.h"
#include "base/util.h"

#define UNPACK_BYTES_MAX ((size_t)16 << 20)
#define MALLOC_OVERHEAD  16

#define WIRE_TYPE_BYTES 2

static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	return n;
}

static void put_header(uint8_t *out, size_t len, uint32_t stream, enum ttrpc_type type)
{
	uint32_t be_len = htobe32((uint32_t)len), be_stream = htobe32(stream);

	memcpy(out, &be_len, 4);
	memcpy(out + 4, &be_stream, 4);
	out[8] = (uint8_t)type;
	out[9] = 0;
}

/* The number of `payload` in ttrpc.Request and in ttrpc.Response. */
static unsigned int payload_field(enum ttrpc_type type)
{
	return type == TTRPC_REQUEST ? 3 : 2;
}

int ttrpc_frame_new(const struct ttrpc_message *message, uint8_t **ret, size_t *ret_len,
	struct err *err)
{
	const ProtobufCMessage *payload = message->payload;
	size_t len = protobuf_c_message_get_packed_size(message->envelope);
	size_t payload_len = payload ? protobuf_c_message_get_packed_size(payload) : 0;
	size_t prefix_len = 0;
	uint8_t prefix[20], *p;

	/* The payload is written straight to its place instead of being packed into a
	 * buffer that the envelope is then packed from: fields may come in any order. */
	if (payload_len) {
		prefix_len = put_varint(
			prefix, payload_field(message->type) << 3 | WIRE_TYPE_BYTES);
		prefix_len += put_varint(prefix + prefix_len, payload_len);
		len += prefix_len + payload_len;
	}
	if (len > TTRPC_FRAME_MAX)
		return err_set(err, -EMSGSIZE, "a message of %zu bytes; the most is %u",
			len, TTRPC_FRAME_MAX);
	p = *ret = xmalloc(TTRPC_HEADER_BYTES + len);
	*ret_len = TTRPC_HEADER_BYTES + len;
	put_header(p, len, message->stream, message->type);
	p += TTRPC_HEADER_BYTES;
	p += protobuf_c_message_pack(message->envelope, p);
	memcpy(p, prefix, prefix_len);
	if (payload_len)
		protobuf_c_message_pack(payload, p + prefix_len);
	return 0;
}

static void *budget_alloc(void *data, size_t size)
{
	size_t *left = data;

	if (size > *left || *left - size < MALLOC_OVERHEAD)
		return NULL;
	*left -= size + MALLOC_OVERHEAD;
	return malloc(size);
}

static void budget_free(void *data, void *p)
{
	(void)data;
	free(p);
}

ProtobufCMessage *ttrpc_unpack(
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len)
{
	size_t left = UNPACK_BYTES_MAX;
	ProtobufCAllocator budget = {budget_alloc, budget_free, &left};

	return protobuf_c_message_unpack(type, &budget, len, data);
}
