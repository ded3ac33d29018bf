/* SPDX-License-Identifier: Apache-2.0 */
/* Building answers: protobuf-c messages whose every part is from malloc. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* An empty message; the caller casts, fills, and frees with
 * protobuf_c_message_free_unpacked(). */
void *message_new(const ProtobufCMessageDescriptor *type);

/* Appends to a repeated field (or a list of ours) of pointers: MESSAGE_APPEND(m->n_x,
 * m->x, ptr). */
#define MESSAGE_APPEND(n, list, item)                                                    \
	((list) = xreallocarray((list), (n) + 1, sizeof(*(list))), (list)[(n)++] = (item))

static inline void message_free(ProtobufCMessage *m)
{
	protobuf_c_message_free_unpacked(m, NULL);
}
