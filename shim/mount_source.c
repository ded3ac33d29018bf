/* SPDX-License-Identifier: Apache-2.0 */
/* What the source of a bind mount is: see mount_source.h. */
#include "shim/mount_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"

/* include/uapi/linux/magic.h has no names for these;
 * fs/configfs/mount.c, fs/fuse/control.c, ipc/mqueue.c. */
#define CONFIGFS_SUPER_MAGIC 0x62656570
#define FUSE_CTL_SUPER_MAGIC 0x65735543
#define MQUEUE_SUPER_MAGIC   0x19800202

/* As many as the kernel follows. */
#define LINKS_MAX 40

static const long kernel_types[] = {
	BINFMTFS_MAGIC,
	BPF_FS_MAGIC,
	CGROUP2_SUPER_MAGIC,
	CGROUP_SUPER_MAGIC,
	CONFIGFS_SUPER_MAGIC,
	DEBUGFS_MAGIC,
	DEVPTS_SUPER_MAGIC,
	EFIVARFS_MAGIC,
	FUSE_CTL_SUPER_MAGIC,
	MQUEUE_SUPER_MAGIC,
	NSFS_MAGIC,
	PROC_SUPER_MAGIC,
	PSTOREFS_MAGIC,
	RDTGROUP_SUPER_MAGIC,
	SECURITYFS_MAGIC,
	SELINUX_MAGIC,
	SMACK_MAGIC,
	SYSFS_MAGIC,
	TRACEFS_MAGIC,
};

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool has_kernel_type(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kernel_types); i++)
		if (fs.f_type == kernel_types[i])
			return true;
	return false;
}

/* /dev is a devtmpfs, or in a container a tmpfs or a folder: its type says nothing. What
 * is mounted below it has another device number. What is detached has no path, and is of
 * /dev if that is a file system of its own. */
static bool is_of_dev(int fd)
{
	char name[40], path[PATH_MAX];
	struct stat st, dev, root;
	ssize_t len;

	if (fstat(fd, &st) < 0 || stat("/dev", &dev) < 0 || stat("/", &root) < 0 ||
		st.st_dev != dev.st_dev)
		return false;
	if (dev.st_dev != root.st_dev)
		return true;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	len = readlink(name, path, sizeof(path) - 1);
	if (len < 0)
		return false;
	path[len] = '\0';
	return is_below(path, "/dev");
}

static bool is_kernels(int fd)
{
	return fd >= 0 && (has_kernel_type(fd) || is_of_dev(fd));
}

/* Where a link leads that leads nowhere, or NULL: path is no link. */
static char *read_link(const char *path)
{
	const char *name = strrchr(path, '/');
	char target[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof(target) - 1);

	if (len < 0 || !name)
		return NULL;
	target[len] = '\0';
	return *target == '/' ? xstrdup(target)
			      : xasprintf("%.*s/%s", (int)(name - path), path, target);
}

/* What the path leads to; where nothing is, the nearest folder above that. */
static int open_nearest(const char *source)
{
	_cleanup_free_ char *path = xstrdup(source);
	unsigned int links = 0;

	for (;;) {
		int fd = open(*path ? path : "/", O_PATH | O_CLOEXEC);
		char *target, *end = strrchr(path, '/');

		if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR) || !end)
			return fd;
		target = links < LINKS_MAX ? read_link(path) : NULL;
		if (!target) {
			*end = '\0';
			continue;
		}
		links++;
		free(path);
		path = target;
	}
}

bool mount_source_is_kernels(const char *source)
{
	_cleanup_close_ int fd = open_nearest(source);

	return is_kernels(fd);
}

int mount_source_check(int fd, const char *source, struct err *err)
{
	if (!is_kernels(fd))
		return 0;
	return err_set(err, -EPERM,
		"%s leads to a kernel's file system now, and did not before",
		err_quote(source, 256));
}

bool mount_source_tmpfs(const char *source, struct mount_tmpfs *ret)
{
	struct statfs fs;
	struct stat st;

	if (statfs(source, &fs) < 0 || stat(source, &st) < 0 ||
		fs.f_type != TMPFS_MAGIC || !S_ISDIR(st.st_mode))
		return false;
	/* Their bits in f_flags are those of mount(2). */
	if (ret)
		*ret = (struct mount_tmpfs){.device = st.st_dev,
			.inode = st.st_ino,
			.flags = (unsigned long)fs.f_flags &
				 (MS_NOSUID | MS_NODEV | MS_NOEXEC),
			.mode = st.st_mode & 07777,
			.uid = st.st_uid,
			.gid = st.st_gid,
			.bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize};
	return true;
}

uint64_t mount_source_memory_bytes(int fd)
{
	struct statfs fs;

	/* Its bits are those of statvfs(3). */
	if (fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC || fs.f_flags & ST_RDONLY)
		return 0;
	return fs.f_blocks ? (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize : UINT64_MAX;
}
