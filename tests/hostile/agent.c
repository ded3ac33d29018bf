/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks of the console device: the agent's port, and the ports as such. */
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/virtio_console.h>

#include "tests/hostile/hostile.h"

/* A frame of ttrpc: what it says of itself, and what it carries. */
struct frame {
	__be32 length, stream;
	u8 type, flags;
	u8 data[1014];
} __packed;

#define TYPE_RESPONSE 2

/* Answers that nobody waits for, and then no frames any more. */
int agent_attack(void)
{
	struct frame *frame = kzalloc(sizeof(*frame), GFP_KERNEL);
	int r = frame ? serial_take() : -ENOMEM;

	for (unsigned int i = 0; r == 0 && i < attack_amount; i++) {
		attack_random_bytes(frame->data, sizeof(frame->data));
		frame->length = cpu_to_be32(sizeof(frame->data));
		frame->stream = cpu_to_be32(2 * i + 1);
		frame->type = TYPE_RESPONSE;
		frame->flags = 0;
		r = serial_send(SERIAL_AGENT, frame, sizeof(*frame));
	}
	while (r == 0) {
		attack_random_bytes(frame, sizeof(*frame));
		r = serial_send(SERIAL_AGENT, frame, sizeof(*frame));
	}
	kfree(frame);
	return r;
}

/* What a driver says of its ports, of ports that there are and of others: each opening
 * and closing is an event of QEMU's. */
int ports_attack(void)
{
	u64 marker;
	u16 mount;
	int r = files_begin(&mount, &marker);

	for (unsigned int i = 0; r == 0 && (!attack_amount || i < attack_amount); i++) {
		u8 garbage[16];

		r = serial_control(1 + i % 2, VIRTIO_CONSOLE_PORT_OPEN, i / 2 % 2);
		if (r < 0 || i % 16)
			continue;
		attack_random_bytes(garbage, sizeof(garbage));
		r = device_send(SERIAL_CONTROL_OUT, garbage, 1 + attack_random() % 16);
	}
	return r == 0 ? channel_end_pod() : r;
}
