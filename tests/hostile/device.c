/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device in the module's hands: see hostile.h. */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "tests/hostile/hostile.h"

static struct virtio_device *taken;
static struct virtqueue *queues[DEVICE_QUEUES_MAX];
static const struct device_wish *wish_now;
static struct virtio_device_id ids[2];
static bool registered;

struct virtqueue *device_queue(unsigned int i)
{
	return queues[i];
}

/* Nobody is called back: who waits looks. */
static int find_queues(struct virtio_device *vdev)
{
	unsigned int n = wish_now->n_queues;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	struct virtqueue_info info[DEVICE_QUEUES_MAX] = {};

	for (unsigned int i = 0; i < n; i++)
		info[i].name = "hostile";
	return virtio_find_vqs(vdev, n, queues, info, NULL);
#else
	vq_callback_t *callbacks[DEVICE_QUEUES_MAX] = {};
	const char *names[DEVICE_QUEUES_MAX];

	for (unsigned int i = 0; i < n; i++)
		names[i] = "hostile";
	return virtio_find_vqs(vdev, n, queues, callbacks, names, NULL);
#endif
}

static int probe_device(struct virtio_device *vdev)
{
	int r = find_queues(vdev);

	if (r < 0)
		return r;
	taken = vdev;
	virtio_device_ready(vdev);
	return 0;
}

static void remove_device(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	taken = NULL;
}

static struct virtio_driver driver = {
	.driver.name = "hostile",
	.driver.owner = THIS_MODULE,
	.id_table = ids,
	.probe = probe_device,
	.remove = remove_device,
};

/* Which has the driver that it came with, or none. */
static int release_if_wished(struct device *dev, void *data)
{
	const struct device_wish *wish = data;

	if (!dev->bus || strcmp(dev->bus->name, "virtio") != 0 ||
		dev_to_virtio(dev)->id.device != wish->id)
		return 0;
	device_release_driver(dev);
	return 1;
}

static bool release_device(const struct device_wish *wish)
{
	struct pci_dev *pci = NULL;

	while ((pci = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_ANY_ID, pci)))
		if (device_for_each_child(&pci->dev, (void *)wish, release_if_wished)) {
			pci_dev_put(pci);
			return true;
		}
	return false;
}

int device_take(const struct device_wish *wish)
{
	int r;

	if (!release_device(wish))
		return -ENODEV;
	wish_now = wish;
	ids[0] = (struct virtio_device_id){wish->id, VIRTIO_DEV_ANY_ID};
	driver.feature_table = wish->features;
	driver.feature_table_size = wish->n_features;
	/* It looks for devices without a driver. */
	r = register_virtio_driver(&driver);
	if (r < 0)
		return r;
	registered = true;
	return taken ? 0 : -ENXIO;
}

void device_give_back(void)
{
	if (registered)
		unregister_virtio_driver(&driver);
	registered = false;
}

int device_send(unsigned int queue, const void *data, size_t size)
{
	struct virtqueue *vq = queues[queue];
	void *copy = kmemdup(data, size, GFP_KERNEL);
	struct scatterlist sg;
	unsigned int len;
	int r;

	if (!copy)
		return -ENOMEM;
	sg_init_one(&sg, copy, size);
	r = virtqueue_add_outbuf(vq, &sg, 1, copy, GFP_KERNEL);
	if (r == 0 && !virtqueue_kick(vq))
		r = -EIO;
	while (r == 0 && !virtqueue_get_buf(vq, &len))
		r = virtqueue_is_broken(vq) ? -EIO : attack_go_on();
	/* Otherwise the device may still read it. */
	if (r == 0)
		kfree(copy);
	return r;
}

/* ---- chains that no driver makes ---- */

/* virtio 1.1, 2.6.5: what a descriptor may say. */
static void fill_chain(struct vring_desc *desc, unsigned int num, unsigned int kind)
{
	const u64 nowhere = 0xfffffffffffff000ull;
	u64 page = virt_to_phys(desc);

	memset(desc, 0, 4 * sizeof(*desc));
	switch (kind) {
	case 0: /* a loop */
		desc[0] = (struct vring_desc){page, 64, VRING_DESC_F_NEXT, 1};
		desc[1] = (struct vring_desc){page, 64, VRING_DESC_F_NEXT, 0};
		break;
	case 1: /* memory that is not there */
		desc[0] = (struct vring_desc){nowhere, 4096, 0, 0};
		break;
	case 2: /* more than there can be */
		desc[0] = (struct vring_desc){page, 0xffffffff, 0, 0};
		break;
	case 3: /* a table within a table */
		desc[0] = (struct vring_desc){page, 64, VRING_DESC_F_INDIRECT, 0};
		desc[1] = desc[2] = desc[3] = desc[0];
		break;
	case 4: /* a successor outside */
		desc[0] = (struct vring_desc){page, 64, VRING_DESC_F_NEXT, num + 7};
		break;
	case 5: /* to be read behind what is to be written */
		desc[0] = (struct vring_desc){
			page, 64, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1};
		desc[1] = (struct vring_desc){page, 64, 0, 0};
		break;
	case 6: /* nothing */
		break;
	default: /* a table of an odd size, at the end of what there is */
		desc[0] = (struct vring_desc){
			nowhere | 0xfff, 17, VRING_DESC_F_INDIRECT, 0};
		break;
	}
}

int device_send_chain(unsigned int queue, unsigned int kind)
{
	const struct vring *ring = virtqueue_get_vring(queues[queue]);
	u16 at = ring->avail->idx;

	fill_chain(ring->desc, ring->num, kind);
	/* One in four is ahead of itself, or names a descriptor that there is not. */
	ring->avail->ring[at % ring->num] = attack_random() % 4 ? 0 : ring->num + 3;
	virt_wmb();
	ring->avail->idx = at + (attack_random() % 4 ? 1 : ring->num + 5);
	virt_wmb();
	return virtqueue_notify(queues[queue]) ? 0 : -EIO;
}
