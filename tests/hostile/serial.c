/* SPDX-License-Identifier: Apache-2.0 */
/* The console device with its ports, without the kernel's driver: see hostile.h. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include "tests/hostile/hostile.h"

/* Buffers of each port that the host fills. */
#define BUFFERS 16

static const unsigned int features[] = {VIRTIO_CONSOLE_F_MULTIPORT};
static const struct device_wish wish = {
	.id = VIRTIO_ID_CONSOLE,
	.features = features,
	.n_features = ARRAY_SIZE(features),
	/* Two for each port, and behind those of port 0 two for the control. */
	.n_queues = DEVICE_QUEUES_MAX,
};

/* What came of a port and was not taken yet. */
static struct {
	u8 *data;
	unsigned int at, size;
} got[3];

static unsigned int queue_in(unsigned int port)
{
	return SERIAL_QUEUE_OUT(port) - 1;
}

static int add_buffer(unsigned int queue, void *data)
{
	struct scatterlist sg;

	sg_init_one(&sg, data, PAGE_SIZE);
	return virtqueue_add_inbuf(device_queue(queue), &sg, 1, data, GFP_KERNEL);
}

static int add_buffers(unsigned int queue)
{
	for (unsigned int i = 0; i < BUFFERS; i++) {
		void *data = (void *)__get_free_page(GFP_KERNEL);
		int r = data ? add_buffer(queue, data) : -ENOMEM;

		if (r < 0)
			return r;
	}
	return virtqueue_kick(device_queue(queue)) ? 0 : -EIO;
}

int serial_control(u32 port, u16 event, u16 value)
{
	struct virtio_console_control control = {
		cpu_to_le32(port), cpu_to_le16(event), cpu_to_le16(value)};

	return device_send(SERIAL_CONTROL_OUT, &control, sizeof(control));
}

static int open_port(unsigned int port)
{
	int r = add_buffers(queue_in(port));

	if (r == 0)
		r = serial_control(port, VIRTIO_CONSOLE_PORT_READY, 1);
	if (r == 0)
		r = serial_control(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
	return r;
}

int serial_take(void)
{
	int r;

	attack_stop_agent();
	memset(got, 0, sizeof(got));
	r = device_take(&wish);
	if (r == 0)
		r = add_buffers(SERIAL_CONTROL_OUT - 1);
	if (r == 0)
		r = serial_control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	if (r == 0)
		r = open_port(SERIAL_AGENT);
	if (r == 0)
		r = open_port(SERIAL_FILES);
	return r;
}

int serial_send(unsigned int port, const void *data, size_t size)
{
	return device_send(SERIAL_QUEUE_OUT(port), data, size);
}

static int fetch_buffer(unsigned int port)
{
	struct virtqueue *vq = device_queue(queue_in(port));
	int r = 0;

	if (got[port].data) {
		r = add_buffer(queue_in(port), got[port].data);
		virtqueue_kick(vq);
	}
	got[port].at = 0;
	got[port].data = NULL;
	while (r == 0 && !(got[port].data = virtqueue_get_buf(vq, &got[port].size)))
		r = virtqueue_is_broken(vq) ? -EIO : attack_go_on();
	return r;
}

int serial_receive(unsigned int port, void *data, size_t size)
{
	while (size > 0) {
		unsigned int n = got[port].data ? got[port].size - got[port].at : 0;
		int r;

		if (n == 0) {
			r = fetch_buffer(port);
			if (r < 0)
				return r;
			continue;
		}
		n = min_t(size_t, n, size);
		memcpy(data, got[port].data + got[port].at, n);
		got[port].at += n;
		data += n;
		size -= n;
	}
	return 0;
}
