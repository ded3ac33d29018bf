/* SPDX-License-Identifier: Apache-2.0 */
/* Plugging a disk whose image or device is a descriptor of ours. See plug.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

#define SERIAL_MAX 20 /* VIRTIO_BLK_ID_BYTES */

/* QEMU opens block devices by another driver than files. */
static int choose_driver(int fd, const char **ret, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot stat its descriptor");
	if (S_ISREG(st.st_mode))
		*ret = "file";
	else if (S_ISBLK(st.st_mode))
		*ret = "host_device";
	else
		return err_set(err, -EINVAL, "it is neither a file nor a block device");
	return 0;
}

static int add_node(struct qmp *q, const struct plug_block *block, const char *driver,
	const char *path, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();
	struct json_object *file = json_object_new_object();

	json_set_string(file, "driver", driver);
	json_set_string(file, "filename", path);
	json_set_string(args, "driver", "raw");
	json_set_string(args, "node-name", block->id);
	json_set_bool(args, "read-only", block->readonly);
	/* Else QEMU would try the other access mode, for which the set has no descriptor.
	 */
	json_set_bool(args, "auto-read-only", false);
	json_object_object_add(args, "file", file);
	return qmp_command(q, "blockdev-add", args, -1, deadline, NULL, err);
}

static int del_node(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_string(args, "node-name", id);
	return qmp_command(q, "blockdev-del", args, -1, deadline, NULL, err);
}

static int add_disk(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", block->id);
	struct json_object *args = json_object_new_object();

	json_set_string(args, "bus", block->bus);
	json_set_string(args, "drive", block->id);
	json_set_string(args, "serial", block->serial);
	return plug_device(q, "virtio-blk-pci", device, args, deadline, err);
}

static int plug(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err)
{
	const char *driver = "";
	struct plug_fdset set;
	int r;

	if (strlen(block->serial) > SERIAL_MAX)
		return err_set(err, -EINVAL, "the serial \"%s\" is longer than %d bytes",
			err_quote(block->serial, 64), SERIAL_MAX);
	r = choose_driver(block->fd, &driver, err);
	if (r < 0)
		return r;
	r = plug_fdset_add(q, block->id, block->fd, block->readonly ? O_RDONLY : O_RDWR,
		&set, deadline, err);
	if (r < 0)
		return r;
	r = add_node(q, block, driver, set.path, deadline, err);
	if (r == 0) {
		r = add_disk(q, block, deadline, err);
		if (r < 0)
			del_node(q, block->id, plug_undo_deadline(), NULL);
	}
	if (r < 0)
		plug_fdset_remove(q, &set, plug_undo_deadline(), NULL);
	return r;
}

int plug_block(
	struct qmp *q, const struct plug_block *block, int64_t deadline, struct err *err)
{
	int r = plug(q, block, deadline, err);

	if (r < 0)
		err_wrap(err, "cannot plug disk %s", block->id);
	return r;
}

int unplug_block(struct qmp *q, const char *id, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *device = xasprintf("dev-%s", id);
	struct plug_fdset set;
	int r;

	r = unplug_device(q, device, deadline, err);
	if (r == 0)
		r = del_node(q, id, deadline, err);
	if (r == 0)
		r = plug_fdset_find(q, id, &set, deadline, err);
	if (r == 0)
		r = plug_fdset_remove(q, &set, deadline, err);
	return r;
}
