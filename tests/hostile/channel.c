/* SPDX-License-Identifier: Apache-2.0 */
/* The file channel as a guest speaks it, and as none does: see hostile.h. */
#include <linux/fuse.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "files/wire.h"
#include "tests/hostile/hostile.h"

static u64 last_unique;
static u8 out[sizeof(struct files_frame) + FILES_INLINE_BYTES];

static struct files_frame frame_of(u16 mount, u8 kind, u32 length)
{
	return (struct files_frame){.length = length,
		.mount = mount,
		.kind = kind,
		.slot = FILES_NO_SLOT,
		.done = FILES_NO_SLOT};
}

/* The whole frame is in `out` then; how long it is. */
static size_t put_message(const struct channel_call *call)
{
	struct fuse_in_header in = {.len = sizeof(in) + call->size,
		.opcode = call->opcode,
		.unique = ++last_unique,
		.nodeid = call->node};
	struct files_frame frame = frame_of(call->mount, FILES_MESSAGE, in.len);
	u8 *at = out;

	memcpy(at, &frame, sizeof(frame));
	at += sizeof(frame);
	memcpy(at, &in, sizeof(in));
	at += sizeof(in);
	memcpy(at, call->data, call->size);
	return at - out + call->size;
}

int channel_ask(const struct channel_call *call)
{
	return serial_send(SERIAL_FILES, out, put_message(call));
}

/* A long answer lies in the window, which nobody looks at here. */
static int give_slot_back(u8 slot)
{
	struct files_frame frame = frame_of(0, FILES_DONE, 0);

	frame.done = slot;
	return serial_send(SERIAL_FILES, &frame, sizeof(frame));
}

enum heard {
	HEARD_NOTHING,
	HEARD_ANSWER,
	HEARD_CREDIT,
};

static int take_frame(struct channel_answer *ret)
{
	struct fuse_out_header head = {};
	struct files_frame frame;
	int r = serial_receive(SERIAL_FILES, &frame, sizeof(frame));

	if (r < 0)
		return r;
	ret->size = 0;
	if (frame.kind != FILES_MESSAGE)
		return frame.kind == FILES_CREDIT ? HEARD_CREDIT : HEARD_NOTHING;
	if (frame.slot != FILES_NO_SLOT) {
		*ret = (struct channel_answer){.error = 0};
		r = give_slot_back(frame.slot);
		return r < 0 ? r : HEARD_ANSWER;
	}
	if (frame.length > sizeof(ret->data))
		return -EPROTO;
	r = serial_receive(SERIAL_FILES, &head, sizeof(head));
	if (r == 0)
		r = serial_receive(SERIAL_FILES, ret->data, frame.length - sizeof(head));
	if (r < 0)
		return r;
	ret->error = head.error;
	ret->size = frame.length - sizeof(head);
	return head.unique != 0 ? HEARD_ANSWER : HEARD_NOTHING;
}

int channel_hear(struct channel_answer *ret)
{
	int r;

	do
		r = take_frame(ret);
	while (r == HEARD_NOTHING || r == HEARD_CREDIT);
	return min(r, 0);
}

int channel_hear_credit(struct channel_answer *ret)
{
	int r;

	do
		r = take_frame(ret);
	while (r == HEARD_NOTHING);
	return r < 0 ? r : r == HEARD_CREDIT;
}

int channel_call(const struct channel_call *call, struct channel_answer *ret)
{
	static struct channel_answer unused;
	int r;

	ret = ret ?: &unused;
	r = channel_ask(call);
	if (r == 0)
		r = channel_hear(ret);
	return r < 0 ? r : ret->error;
}

int channel_unmounted(u16 mount)
{
	struct files_frame frame = frame_of(mount, FILES_UNMOUNTED, 0);

	return serial_send(SERIAL_FILES, &frame, sizeof(frame));
}

/* ---- what no guest sends ---- */

static int send_message(u32 opcode, const char *data, size_t size)
{
	return channel_ask(&(struct channel_call){.mount = 1,
		.opcode = opcode,
		.node = FUSE_ROOT_ID,
		.data = data,
		.size = size});
}

static int send_garbage(void)
{
	u8 garbage[1024];
	int r = 0;

	while (r == 0) {
		attack_random_bytes(garbage, sizeof(garbage));
		r = serial_send(SERIAL_FILES, garbage, sizeof(garbage));
	}
	return r;
}

/* A message that says of itself `more` than its frame does, or whose frame is of another
 * kind or number. */
static int send_wrong(int more, u8 kind, u16 mount)
{
	static const char name[] = "name";
	struct channel_call call = {mount, FUSE_LOOKUP, FUSE_ROOT_ID, name, sizeof(name)};
	size_t size = put_message(&call);
	struct files_frame *frame = (void *)out;
	struct fuse_in_header *in = (void *)(frame + 1);

	frame->kind = kind;
	in->len += more;
	return serial_send(SERIAL_FILES, out, size);
}

static int send_frame(u32 length, u8 slot, u8 done)
{
	struct files_frame frame =
		frame_of(1, length ? FILES_MESSAGE : FILES_DONE, length);

	frame.slot = slot;
	frame.done = done;
	return serial_send(SERIAL_FILES, &frame, sizeof(frame));
}

#define TEXT(text) text, sizeof(text)

int channel_send_illegal(unsigned int kind)
{
	switch (kind) {
	case 0:
		return send_garbage();
	case 1:
		return send_message(FUSE_LOOKUP, TEXT("../canary"));
	case 2:
		return send_message(FUSE_LOOKUP, TEXT("/etc/passwd"));
	case 3:
		return send_message(FUSE_UNLINK, TEXT(".."));
	case 4:
		return send_message(FUSE_LOOKUP, "unended", 7);
	case 5:
		return send_message(FUSE_LOOKUP, TEXT("name\0and more"));
	case 6:
		return send_wrong(1, FILES_MESSAGE, 1);
	case 7:
		return send_wrong(0, 99, 1);
	case 8:
		return send_wrong(0, FILES_MESSAGE, FILES_MOUNTS_MAX);
	case 9:
		return send_frame(FILES_SLOT_BYTES + 1, 0, FILES_NO_SLOT);
	case 10:
		return send_frame(4096, FILES_GUEST_SLOTS, FILES_NO_SLOT);
	default:
		return send_frame(0, FILES_NO_SLOT, FILES_SLOTS - 1);
	}
}

int channel_end_pod(void)
{
	int r = channel_send_illegal(attack_frame);

	while (r == 0)
		r = attack_go_on();
	return r;
}
