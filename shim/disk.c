/* SPDX-License-Identifier: Apache-2.0 */
/* A block device of the host, opened: see disk.h. */
#include "shim/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

#define NODE               "disk"
#define PHYSICAL_BYTES_MAX (2u << 20)

/* In a file system of its own: /run, for one, has nodev. */
static int make_node(dev_t dev, struct err *err)
{
	_cleanup_close_ int folder = mount_nowhere(0);

	if (folder < 0)
		return err_sys(err, folder, "cannot make a place for a device's node");
	if (mknodat(folder, NODE, S_IFBLK | 0600, dev) < 0)
		return err_sys(err, errno, "cannot make a node for block device %u:%u",
			major(dev), minor(dev));
	return steal_fd(&folder);
}

/* Linux 6.18 opens such a device for writing, too, and refuses each write. */
static bool is_readonly_device(int fd)
{
	int readonly = 0;

	return ioctl(fd, BLKROGET, &readonly) == 0 && readonly;
}

/* A partition table or XFS on sectors of 4 KiB is none on others. */
static int read_sectors(struct disk *disk, struct err *err)
{
	unsigned int physical = 0;
	int logical = 0;

	if (ioctl(disk->fd, BLKSSZGET, &logical) < 0 ||
		ioctl(disk->fd, BLKPBSZGET, &physical) < 0)
		return err_sys(err, errno, "cannot ask for the sectors of %u:%u",
			major(disk->dev), minor(disk->dev));
	disk->logical_bytes = (unsigned int)logical;
	/* QEMU takes no smaller ones, and none beyond 2 MiB. */
	disk->physical_bytes =
		MIN(MAX(physical, disk->logical_bytes), PHYSICAL_BYTES_MAX);
	return 0;
}

static int take_device(struct disk *disk, struct disk *ret, struct err *err)
{
	int r = read_sectors(disk, err);

	if (r < 0)
		disk_done(disk);
	else
		*ret = *disk;
	return r;
}

int disk_open_device(dev_t dev, bool readonly, struct disk *ret, struct err *err)
{
	_cleanup_close_ int folder = make_node(dev, err);
	_cleanup_close_ int fd = -1;

	if (folder < 0)
		return folder;
	fd = openat(folder, NODE, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !readonly)
		readonly = is_readonly_device(fd);
	if (fd >= 0 && !readonly) {
		close(fd);
		fd = openat(folder, NODE, O_RDWR | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(err, errno, "cannot open block device %u:%u", major(dev),
			minor(dev));
	return take_device(&(struct disk){.fd = steal_fd(&fd),
				   .is_device = true,
				   .readonly = readonly,
				   .dev = dev},
		ret, err);
}

int disk_open_source(const struct disk_source *source, struct disk *ret, struct err *err)
{
	/* Of a device the kernel then lets nobody mount it. */
	int flags = O_CLOEXEC | (source->readonly ? O_RDONLY : O_RDWR) |
		    (source->is_file ? 0 : O_EXCL);
	_cleanup_close_ int fd = open(source->path, flags);
	struct stat st;

	if (fd < 0 && errno == EBUSY)
		return err_set(err, -EBUSY, "%s is mounted, or in use otherwise",
			err_quote(source->path, 256));
	if (fd < 0)
		return err_sys(
			err, errno, "cannot open %s", err_quote(source->path, 256));
	if (fstat(fd, &st) < 0)
		return err_sys(
			err, errno, "cannot look at %s", err_quote(source->path, 256));
	if (source->is_file ? !S_ISREG(st.st_mode) : !S_ISBLK(st.st_mode))
		return err_set(err, -ENOTBLK, "%s is no %s", err_quote(source->path, 256),
			source->is_file ? "regular file" : "block device");
	if (!source->is_file && !source->readonly && is_readonly_device(fd))
		return err_set(err, -EROFS, "%s is read-only, and to be mounted writable",
			err_quote(source->path, 256));
	if (source->is_file) {
		*ret = (struct disk){.fd = steal_fd(&fd), .readonly = source->readonly};
		return 0;
	}
	return take_device(&(struct disk){.fd = steal_fd(&fd),
				   .is_device = true,
				   .readonly = source->readonly,
				   .exclusive = true,
				   .dev = st.st_rdev},
		ret, err);
}

void disk_done(struct disk *disk)
{
	close_fd(disk->fd);
	*disk = DISK_INIT;
}
