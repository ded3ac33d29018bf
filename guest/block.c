/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices that the host plugs: see block.h.
 *
 * How it works. A device that QEMU plugs is found by the kernel's hot-plug within
 * milliseconds, and its driver makes a block device of it:
 *	0000:01:1f.0/virtio5/ndbus0/region0/namespace0.0/block/pmem0
 *	0000:01:1f.0/virtio5/block/vda
 * The request may be here first: it looks, and looks again at each event of the kernel.
 */
#include "guest/block.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "guest/storage.h"
#include "guest/uevent.h"

#define DEVICES        "/sys/bus/pci/devices"
#define PLUG_LIMIT_MS  30000
#define DEPTH_MAX      8
#define HEX            "0123456789abcdef"
#define DEVICE_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789"

static bool is_address(const char *text)
{
	static const char shape[] = "0000:xx:xx.0";

	for (size_t i = 0; i < sizeof(shape); i++)
		if (shape[i] == 'x' ? !text[i] || !strchr(HEX, text[i])
				    : text[i] != shape[i])
			return false;
	return true;
}

/* Whether a folder is on the way to the block device. */
static bool leads_on(const char *name)
{
	static const char *const parts[] = {
		"virtio", "ndbus", "region", "namespace", "block"};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strncmp(name, parts[i], strlen(parts[i])) == 0)
			return true;
	return false;
}

/* Takes fd. `below`: it is a folder of block devices. */
static bool find_block(int fd, bool below, unsigned int depth, char ret[BLOCK_NAME_SIZE])
{
	DIR *dir = fdopendir(fd);
	bool found = false;
	struct dirent *e;

	if (!dir) {
		close_fd(fd);
		return false;
	}
	while (!found && (e = readdir(dir))) {
		int next;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (below && strlen(e->d_name) < BLOCK_NAME_SIZE &&
			strspn(e->d_name, DEVICE_LETTERS) == strlen(e->d_name)) {
			snprintf(ret, BLOCK_NAME_SIZE, "%s", e->d_name);
			found = true;
		} else if (!below && depth > 0 && leads_on(e->d_name)) {
			next = openat(dirfd(dir), e->d_name,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			found = next >= 0 &&
				find_block(next, strcmp(e->d_name, "block") == 0,
					depth - 1, ret);
		}
	}
	closedir(dir);
	return found;
}

static bool find_device(const char *address, char ret[BLOCK_NAME_SIZE])
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s", address);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && find_block(fd, false, DEPTH_MAX, ret);
}

/* Its folder in sysfs is there before its node is, and that before it can be opened. */
static int open_once(const char *address, struct block *ret)
{
	_cleanup_close_ int fd = -1;
	char path[BLOCK_NAME_SIZE + 8];
	struct stat st;

	if (!find_device(address, ret->name))
		return -ENOENT;
	snprintf(path, sizeof(path), "/dev/%s", ret->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	ret->dev = st.st_rdev;
	return 0;
}

int block_find(const char *address, struct block *ret, struct err *err)
{
	int64_t deadline = deadline_after_ms(PLUG_LIMIT_MS);
	_cleanup_close_ int events = -1;
	int r, waited = 0;

	if (!is_address(address))
		return err_set(err, -EINVAL, "%s is no PCI address, 0000:01:1f.0 is",
			err_quote(address, 64));
	/* Before the first look: nothing that comes after it is missed. */
	r = uevent_open(&events, err);
	if (r < 0)
		return r;
	while ((r = open_once(address, ret)) == -ENOENT || r == -ENXIO) {
		waited = uevent_wait(events, "block", -1, deadline);
		if (waited < 0)
			return err_sys(
				err, waited, "wait for the block device at %s", address);
	}
	return r < 0 ? err_sys(err, r, "open the block device at %s (%s)", address,
			       ret->name)
		     : 0;
}

int block_mount(const Grpc__Storage *s, struct err *err)
{
	_cleanup_free_ char *data = NULL;
	char path[BLOCK_NAME_SIZE + 8];
	unsigned long flags;
	struct block block;
	int r = storage_parse_options(s->options, s->n_options, &flags, &data, err);

	if (r == 0)
		r = block_find(s->source, &block, err);
	if (r == 0)
		r = mkdir_parents(s->mount_point, 0755, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/dev/%s", block.name);
	if (mount(path, s->mount_point, s->fstype, flags, data) < 0)
		return err_sys(err, errno,
			"mount the block device at %s (%s) on %s with %s", s->source,
			err_quote(s->fstype, 32), err_quote(s->mount_point, 256),
			err_quote(data, 256));
	return 0;
}
