/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging a file that nobody writes, as memory or as a disk. See plug.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

/* ---- as memory ---- */

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

static int add_device(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", image->id);
	struct json_object *args = json_object_new_object();

	plug_set_port(args, &image->port);
	json_set_string(args, "memdev", image->id);
	return plug_device(q, "virtio-pmem-pci", device, args, deadline, err);
}

static void del_memory(struct qmp *q, const struct plug_image *image)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "id", image->id);
	qmp_command(q, "object-del", args, plug_undo_deadline(), NULL);
}

static int add_pmem(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err)
{
	struct plug_file file = {.name = image->id, .fd = image->fd, .access = O_RDONLY};
	struct plug_fdset set;
	int r = plug_fdset_add(q, &file, &set, deadline, err);

	if (r < 0)
		return r;
	r = add_memory(q, image, &set, deadline, err);
	if (r == 0) {
		r = add_device(q, image, deadline, err);
		if (r < 0)
			del_memory(q, image);
	}
	if (r < 0)
		plug_fdset_remove(q, &set, plug_undo_deadline(), NULL);
	return r;
}

/* ---- either ---- */

static int check_size(const struct plug_image *image, struct err *err)
{
	if (image->bytes > 0 && image->bytes % PLUG_PMEM_ALIGN_BYTES == 0)
		return 0;
	return err_set(err, -EINVAL,
		"an image of %" PRIu64 " bytes: not a multiple of %llu", image->bytes,
		PLUG_PMEM_ALIGN_BYTES);
}

int plug_pmem(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err)
{
	int r = check_size(image, err);

	if (r < 0)
		return r;
	r = add_pmem(q, image, deadline, err);
	return r < 0 ? err_wrap(err, "cannot plug image %s as memory", image->id) : 0;
}

int plug_disk(
	struct qmp *q, const struct plug_image *image, int64_t deadline, struct err *err)
{
	const struct plug_block block = {
		.id = image->id, .port = image->port, .fd = image->fd, .readonly = true};
	int r = check_size(image, err);

	if (r < 0)
		return r;
	r = plug_add_block(q, &block, deadline, err);
	return r < 0 ? err_wrap(err, "cannot plug image %s as a disk", image->id) : 0;
}
