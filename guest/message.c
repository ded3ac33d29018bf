/* SPDX-License-Identifier: Apache-2.0 */
/* Building answers: see message.h. */
#include "guest/message.h"

#include "base/util.h"

void *message_new(const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *m = xzalloc(type->sizeof_message);

	protobuf_c_message_init(type, m);
	return m;
}
