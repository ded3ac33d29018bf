/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging a file that nobody writes, as memory or as a disk. See plug.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

/* One way to have it: what is behind the device, and the device. */
struct kind {
	const char *what, *driver, *property;
	int (*add)(struct qmp *q, const struct plug_image *image,
		const struct plug_fdset *set, int64_t deadline, struct err *err);
	const char *del, *del_key;
};

/* QEMU's memory backends open their file by open(2), which knows no sets of
 * descriptors. */
static int add_memory(struct qmp *q, const struct plug_image *image,
	const struct plug_fdset *set, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%" PRIu64, set->fd);
	json_set_string(args, "qom-type", "memory-backend-file");
	json_set_string(args, "id", image->id);
	json_set_string(args, "mem-path", path);
	json_set_u64(args, "size", image->bytes);
	json_set_bool(args, "share", true);
	json_set_bool(args, "readonly", true);
	return qmp_command(q, "object-add", args, deadline, err);
}

static int add_blocks(struct qmp *q, const struct plug_image *image,
	const struct plug_fdset *set, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "driver", "file");
	json_set_string(args, "node-name", image->id);
	json_set_string(args, "filename", set->path);
	json_set_string(args, "locking", "off");
	json_set_bool(args, "read-only", true);
	return qmp_command(q, "blockdev-add", args, deadline, err);
}

static const struct kind memory = {
	"memory", "virtio-pmem-pci", "memdev", add_memory, "object-del", "id"};
static const struct kind disk = {
	"a disk", "virtio-blk-pci", "drive", add_blocks, "blockdev-del", "node-name"};

static int add_device(struct qmp *q, const struct kind *kind,
	const struct plug_image *image, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", image->id);
	struct json_object *args = json_object_new_object();

	plug_set_port(args, &image->port);
	json_set_string(args, kind->property, image->id);
	return plug_device(q, kind->driver, device, args, deadline, err);
}

static void del_backend(
	struct qmp *q, const struct kind *kind, const struct plug_image *image)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, kind->del_key, image->id);
	qmp_command(q, kind->del, args, plug_undo_deadline(), NULL);
}

static int add_both(struct qmp *q, const struct kind *kind,
	const struct plug_image *image, int64_t deadline, struct err *err)
{
	struct plug_file file = {.name = image->id, .fd = image->fd, .access = O_RDONLY};
	struct plug_fdset set;
	int r = plug_fdset_add(q, &file, &set, deadline, err);

	if (r < 0)
		return r;
	r = kind->add(q, image, &set, deadline, err);
	if (r == 0) {
		r = add_device(q, kind, image, deadline, err);
		if (r < 0)
			del_backend(q, kind, image);
	}
	if (r < 0)
		plug_fdset_remove(q, &set, plug_undo_deadline(), NULL);
	return r;
}

static int plug_either(struct qmp *q, const struct kind *kind,
	const struct plug_image *image, int64_t deadline, struct err *err)
{
	int r;

	if (image->bytes == 0 || image->bytes % PLUG_PMEM_ALIGN_BYTES)
		return err_set(err, -EINVAL,
			"an image of %" PRIu64 " bytes: not a multiple of %llu",
			image->bytes, PLUG_PMEM_ALIGN_BYTES);
	r = add_both(q, kind, image, deadline, err);
	return r < 0 ? err_wrap(err, "cannot plug image %s as %s", image->id, kind->what)
		     : 0;
}

int plug_pmem(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err)
{
	return plug_either(q, &memory, image, deadline, err);
}

int plug_disk(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err)
{
	return plug_either(q, &disk, image, deadline, err);
}
