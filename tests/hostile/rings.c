/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that no driver writes, for each device in turn: see hostile.h. */
#include <linux/kernel.h>
#include <linux/virtio_ids.h>

#include "tests/hostile/hostile.h"

static const struct device_wish wishes[] = {
	{.id = VIRTIO_ID_NET, .n_queues = 2},
	{.id = VIRTIO_ID_CONSOLE, .n_queues = 2},
};

/* A device that has seen a wrong one wants to be reset: it is taken anew. */
static int break_device(const struct device_wish *wish, unsigned int kind)
{
	int r = device_take(wish);

	for (unsigned int queue = 0; r == 0 && queue < wish->n_queues; queue++)
		r = device_send_chain(queue, kind);
	device_give_back();
	return r;
}

int rings_attack(void)
{
	u64 marker;
	u16 mount;
	int r = files_begin(&mount, &marker);

	device_give_back();
	for (unsigned int i = 0; r == 0 && (!attack_amount || i < attack_amount); i++) {
		r = break_device(
			&wishes[i % ARRAY_SIZE(wishes)], i / 2 % DEVICE_CHAIN_KINDS);
		if (r == 0)
			r = attack_go_on();
	}
	if (r == 0)
		r = serial_take();
	return r == 0 ? channel_end_pod() : r;
}
