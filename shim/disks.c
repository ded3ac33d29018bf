/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of one container: see disks.h. */
#include "shim/disks.h"

#include "agent-client/agent.h"
#include "shim/block_root.h"
#include "shim/pod_disks.h"

struct one_disk {
	struct disk disk; /* until it is plugged */
	bool readonly;
	struct pod_disk *plugged; /* NULL: it is not */
	const char *path;         /* a device's, in the container */
};

struct disks {
	struct block_root root; /* fstype NULL: a file tree */
	struct one_disk *all;   /* the root, then the devices */
	unsigned int n;

	char *mount_point;
	Grpc__Storage root_storage;
	Grpc__Device *devices, **device_list;
};

static struct one_disk *add_disk(struct disks *d, const char *path)
{
	struct one_disk *one = &d->all[d->n++];

	*one = (struct one_disk){.disk = DISK_INIT, .path = path};
	return one;
}

static int open_root(struct disks *d, const struct disks_config *c, struct err *err)
{
	struct one_disk *one;
	int r;

	if (!block_root_parse(c->mounts, c->n_mounts, &d->root))
		return 0;
	one = add_disk(d, NULL);
	r = disk_open_source(&d->root.source, &one->disk, err);
	one->readonly = one->disk.readonly;
	return r < 0 ? err_wrap(err, "root file system") : 0;
}

static int open_device(struct disks *d, const struct spec_device *device, struct err *err)
{
	struct one_disk *one = add_disk(d, device->path);
	int r = disk_open_device(device->dev, device->readonly, &one->disk, err);

	one->readonly = one->disk.readonly;
	return r < 0 ? err_wrap(err, "device %s", err_quote(device->path, 256)) : 0;
}

int disks_open(const struct disks_config *config, struct disks **ret, struct err *err)
{
	_cleanup_(disks) struct disks *d = xnew0(struct disks);
	int r;

	d->mount_point = xasprintf(AGENT_SHARED_DIR "/%s/rootfs", config->cid);
	d->all = xreallocarray(NULL, config->n_devices + 1, sizeof(*d->all));
	r = open_root(d, config, err);
	for (unsigned int i = 0; r == 0 && i < config->n_devices; i++)
		r = open_device(d, &config->devices[i], err);
	if (r < 0)
		return r;
	*ret = steal_ptr(d);
	return 0;
}

bool disks_have_root(const struct disks *d)
{
	return d->root.fstype;
}

bool disks_are_writable(const struct disks *d)
{
	for (unsigned int i = 0; d && i < d->n; i++)
		if (!d->all[i].readonly)
			return true;
	return false;
}

int disks_plug(struct disks *d, const struct pod_use *use, struct err *err)
{
	for (unsigned int i = 0; i < d->n; i++) {
		struct one_disk *one = &d->all[i];
		int r = pod_disk_plug(use, &one->disk, &one->plugged, err);

		if (r < 0 && one->path)
			return err_wrap(err, "device %s", err_quote(one->path, 256));
		if (r < 0)
			return err_wrap(err, "root file system");
		/* QEMU has its own descriptor. */
		disk_done(&one->disk);
	}
	return 0;
}

Grpc__Storage *disks_root(struct disks *d)
{
	static char driver[] = "blk";
	Grpc__Storage *s = &d->root_storage;

	if (!disks_have_root(d))
		return NULL;
	grpc__storage__init(s);
	s->driver = driver;
	s->source = (char *)(uintptr_t)pod_disk_address(d->all[0].plugged);
	s->fstype = (char *)(uintptr_t)d->root.fstype;
	s->options = d->root.options;
	s->n_options = d->root.n_options;
	s->mount_point = d->mount_point;
	return s;
}

static void describe_device(const struct one_disk *one, Grpc__Device *ret)
{
	static char type[] = "blk";

	grpc__device__init(ret);
	ret->type = type;
	ret->id = (char *)(uintptr_t)pod_disk_address(one->plugged);
	ret->container_path = (char *)(uintptr_t)one->path;
}

Grpc__Device **disks_devices(struct disks *d, size_t *ret_n)
{
	size_t n = 0;

	d->devices = xreallocarray(d->devices, d->n + 1, sizeof(*d->devices));
	d->device_list = xreallocarray(d->device_list, d->n + 1, sizeof(*d->device_list));
	for (unsigned int i = 0; i < d->n; i++) {
		if (!d->all[i].path)
			continue;
		describe_device(&d->all[i], &d->devices[n]);
		d->device_list[n] = &d->devices[n];
		n++;
	}
	*ret_n = n;
	return d->device_list;
}

void disks_unplug(struct disks *d, const struct pod_use *use)
{
	for (unsigned int i = 0; d && i < d->n; i++)
		if (d->all[i].plugged)
			pod_disk_release(use, steal_ptr(d->all[i].plugged));
}

void disks_free(struct disks *d)
{
	if (!d)
		return;
	for (unsigned int i = 0; i < d->n; i++)
		disk_done(&d->all[i].disk);
	block_root_done(&d->root);
	free(d->mount_point);
	free(d->devices);
	free(d->device_list);
	free(d->all);
	free(d);
}
