/* SPDX-License-Identifier: Apache-2.0 */
/* The attack of the network: frames and orders of no sense, as fast as they go. */
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "tests/hostile/hostile.h"

#define QUEUE_SEND  1
#define QUEUE_ORDER 2

#define FRAME_MAX 2048

/* The headers' promises are the host's kernel's to check. */
static const unsigned int features[] = {
	VIRTIO_NET_F_CSUM,
	VIRTIO_NET_F_HOST_TSO4,
	VIRTIO_NET_F_HOST_TSO6,
	VIRTIO_NET_F_HOST_ECN,
	VIRTIO_NET_F_HOST_UFO,
	VIRTIO_NET_F_CTRL_VQ,
	VIRTIO_NET_F_CTRL_RX,
	VIRTIO_NET_F_CTRL_VLAN,
	VIRTIO_NET_F_CTRL_MAC_ADDR,
};
static const struct device_wish wish = {
	.id = VIRTIO_ID_NET,
	.features = features,
	.n_features = ARRAY_SIZE(features),
	.n_queues = 3,
};

/* Half of them to everybody, of a protocol that the host knows. */
static size_t fill_frame(u8 *frame)
{
	static const u8 known[][2] = {
		{0x08, 0x00}, {0x08, 0x06}, {0x86, 0xdd}, {0x81, 0x00}, {0x88, 0xcc}};
	size_t head = sizeof(struct virtio_net_hdr);
	size_t size = head + 1 + attack_random() % (FRAME_MAX - head);

	attack_random_bytes(frame, size);
	if (attack_random() % 2)
		memset(frame, 0, head);
	if (attack_random() % 2 && size >= head + 14) {
		memset(frame + head, 0xff, 6);
		memcpy(frame + head + 12, known[attack_random() % ARRAY_SIZE(known)], 2);
	}
	return size;
}

int net_attack(void)
{
	u8 *frame = kmalloc(FRAME_MAX, GFP_KERNEL);
	int r = frame ? device_take(&wish) : -ENOMEM;

	for (unsigned int i = 0; r == 0; i++) {
		r = device_send(QUEUE_SEND, frame, fill_frame(frame));
		if (r == 0 && i % 64 == 0) {
			/* After a wrong order the device wants to be reset. */
			device_give_back();
			r = device_take(&wish);
			if (r == 0)
				r = device_send_chain(QUEUE_ORDER,
					attack_random() % DEVICE_CHAIN_KINDS);
			device_give_back();
			if (r == 0)
				r = device_take(&wish);
		}
	}
	kfree(frame);
	return r;
}
