/* SPDX-License-Identifier: Apache-2.0 */
/* What the source of a bind mount is: see mount_source.h. */
#include "shim/mount_source.h"

#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/util.h"

/* include/uapi/linux/magic.h has no names for these;
 * fs/configfs/mount.c, ipc/mqueue.c. */
#define CONFIGFS_SUPER_MAGIC 0x62656570
#define MQUEUE_SUPER_MAGIC   0x19800202

static const long kernel_types[] = {
	BINFMTFS_MAGIC,
	BPF_FS_MAGIC,
	CGROUP2_SUPER_MAGIC,
	CGROUP_SUPER_MAGIC,
	CONFIGFS_SUPER_MAGIC,
	DEBUGFS_MAGIC,
	DEVPTS_SUPER_MAGIC,
	EFIVARFS_MAGIC,
	MQUEUE_SUPER_MAGIC,
	NSFS_MAGIC,
	PROC_SUPER_MAGIC,
	PSTOREFS_MAGIC,
	SECURITYFS_MAGIC,
	SELINUX_MAGIC,
	SYSFS_MAGIC,
	TRACEFS_MAGIC,
};

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool has_kernel_type(const char *source)
{
	struct statfs fs;

	if (statfs(source, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kernel_types); i++)
		if (fs.f_type == kernel_types[i])
			return true;
	return false;
}

/* /dev is a devtmpfs, or in a container a tmpfs or a folder: its type says nothing. What
 * is mounted below it has another device number. */
static bool is_of_dev(const char *source, const struct stat *st)
{
	_cleanup_free_ char *path = realpath(source, NULL);
	struct stat dev;

	return path && is_below(path, "/dev") && stat("/dev", &dev) == 0 &&
	       dev.st_dev == st->st_dev;
}

bool mount_source_is_kernels(const char *source)
{
	struct stat st;

	if (stat(source, &st) < 0)
		return is_below(source, "/proc") || is_below(source, "/sys") ||
		       is_below(source, "/dev");
	return has_kernel_type(source) || is_of_dev(source, &st);
}

uint64_t mount_source_tmpfs_bytes(const char *source)
{
	struct statfs fs;

	if (statfs(source, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
}
