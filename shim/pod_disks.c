/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a pod's VM: see pod_disks.h. */
#include "shim/pod_disks.h"

#include "base/log.h"
#include "base/util.h"

struct pod_disk {
	struct pod_disk *next;
	unsigned int users;
	dev_t dev; /* 0: a file, which is one container's */
	bool readonly;
	struct vm_disk_port port;
};

/* Two disks of one device would each have a cache of it in the guest. One that must not
 * be written to is another disk, or its container could write by the other's. */
static struct pod_disk *find_disk(const struct pod *pod, const struct disk *disk)
{
	struct pod_disk *d = pod->disks;

	/* Its claim is with its own descriptor. */
	if (!disk->is_device || disk->exclusive)
		return NULL;
	while (d && (d->dev != disk->dev || d->readonly != disk->readonly || !d->users))
		d = d->next;
	return d;
}

static int plug_disk(const struct pod_use *use, const struct disk *disk,
	struct pod_disk **ret, struct err *err)
{
	const struct vm_disk plug = {.fd = disk->fd,
		.is_device = disk->is_device,
		.readonly = disk->readonly,
		.logical_bytes = disk->logical_bytes,
		.physical_bytes = disk->physical_bytes,
		.reserved = pod_reserved_ports(use->pod)};
	struct pod_disk *new = xnew0(struct pod_disk);
	int r = vm_plug_disk(use->vm, &plug, &new->port, err);

	if (r < 0) {
		free(new);
		return r;
	}
	new->dev = disk->dev;
	new->readonly = disk->readonly;
	new->next = use->pod->disks;
	use->pod->disks = new;
	*ret = new;
	return 0;
}

int pod_disk_plug(const struct pod_use *use, const struct disk *disk,
	struct pod_disk **ret, struct err *err)
{
	int r = 0;

	*ret = find_disk(use->pod, disk);
	if (!*ret)
		r = plug_disk(use, disk, ret, err);
	if (r == 0)
		(*ret)->users++;
	return r;
}

const char *pod_disk_address(const struct pod_disk *disk)
{
	return disk->port.address;
}

void pod_disk_release(const struct pod_use *use, struct pod_disk *disk)
{
	struct pod_disk **at = &use->pod->disks;
	struct err err = ERR_INIT;

	if (--disk->users > 0)
		return;
	/* It stays in the list then, of no use to anybody. */
	if (vm_unplug_disk(use->vm, &disk->port, &err) < 0) {
		log_error(
			"the VM keeps a disk of the host's until it ends: %s", err.text);
		return;
	}
	while (*at != disk)
		at = &(*at)->next;
	*at = disk->next;
	free(disk);
}

void pod_disks_forget(struct pod *pod)
{
	while (pod->disks) {
		struct pod_disk *next = pod->disks->next;

		free(pod->disks);
		pod->disks = next;
	}
}
