/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging a block device of the host's, or a file, as a disk, and taking it back. See
 * plug.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

static int add_node(struct qmp *q, const struct plug_block *block,
	const struct plug_fdset *set, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	/* QEMU takes each of the two for its own kind alone. */
	json_set_string(args, "driver", block->is_device ? "host_device" : "file");
	json_set_string(args, "node-name", block->id);
	json_set_string(args, "filename", set->path);
	json_set_string(args, "locking", "off");
	json_set_bool(args, "read-only", block->readonly);
	/* What the guest trims comes free in a thin pool or a sparse file. */
	if (!block->readonly)
		json_set_string(args, "discard", "unmap");
	return qmp_command(q, "blockdev-add", args, deadline, err);
}

static int del_node(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "node-name", id);
	return qmp_command(q, "blockdev-del", args, deadline, err);
}

static int add_disk(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", block->id);
	struct json_object *args = json_object_new_object();

	plug_set_port(args, &block->port);
	json_set_string(args, "drive", block->id);
	/* QEMU would stop the VM when the host's disk is full, until somebody has made
	 * room and tells it so. */
	json_set_string(args, "werror", "report");
	json_set_string(args, "rerror", "report");
	if (block->logical_bytes) {
		json_set_u64(args, "logical_block_size", block->logical_bytes);
		json_set_u64(args, "physical_block_size", block->physical_bytes);
	}
	return plug_device(q, "virtio-blk-pci", device, args, deadline, err);
}

static int add_both(struct qmp *q, const struct plug_block *block,
	const struct plug_fdset *set, int64_t deadline, struct err *err)
{
	int r = add_node(q, block, set, deadline, err);

	if (r < 0)
		return r;
	r = add_disk(q, block, deadline, err);
	if (r < 0)
		del_node(q, block->id, plug_undo_deadline(), NULL);
	return r;
}

int plug_add_block(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err)
{
	struct plug_file file = {.name = block->id,
		.fd = block->fd,
		.access = block->readonly ? O_RDONLY : O_RDWR};
	struct plug_fdset set;
	int r = plug_fdset_add(q, &file, &set, deadline, err);

	if (r < 0)
		return r;
	r = add_both(q, block, &set, deadline, err);
	/* The node has a duplicate. */
	plug_fdset_remove(q, &set, plug_undo_deadline(), NULL);
	return r;
}

int plug_block(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err)
{
	int r = plug_add_block(q, block, deadline, err);

	return r < 0 ? err_wrap(err, "cannot plug disk %s", block->id) : 0;
}

/* ---- taking it back ---- */

int unplug_block(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", id);
	int r = unplug_device(q, device, deadline, err);

	if (r == 0)
		r = del_node(q, id, deadline, err);
	return r < 0 ? err_wrap(err, "cannot unplug disk %s", id) : 0;
}
