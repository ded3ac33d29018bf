/* SPDX-License-Identifier: Apache-2.0 */
/* The template tmpfs: see tmpfs.h. */
#include "mm/tmpfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

#define MOUNT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* ---- the way there ---- */

/* A folder on the way: nobody but root may put something else in its place. */
static int check_step(int fd, const char *path, size_t len, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot look at %.*s", (int)len, path);
	if (S_ISLNK(st.st_mode))
		return err_set(err, -ELOOP,
			"%.*s is a symbolic link; template_path must not lead over one",
			(int)len, path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%.*s is not a folder", (int)len, path);
	if (st.st_uid != 0)
		return err_set(err, -EPERM, "%.*s belongs to uid %u, not to root",
			(int)len, path, st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH) && !(st.st_mode & S_ISVTX))
		return err_set(err, -EPERM,
			"%.*s may be written to by others (mode %04o)", (int)len, path,
			st.st_mode & 07777);
	return 0;
}

/* Opens path component by component: 1 with the folder's fd, 0 where one is missing, or a
 * negative errno. */
static int tmpfs_open_path(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *p = path;

	if (fd < 0)
		return err_sys(err, errno, "cannot open /");
	while (*(p += strspn(p, "/"))) {
		size_t len = strcspn(p, "/");
		_cleanup_free_ char *name = xstrndup(p, len);
		int next, r;

		p += len;
		if (strcmp(name, "..") == 0)
			return err_set(err, -EINVAL,
				"template_path %s must not have .. in it",
				err_quote(path, 256));
		next = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && errno == ENOENT)
			return 0;
		if (next < 0)
			return err_sys(
				err, errno, "cannot open %.*s", (int)(p - path), path);
		close(fd);
		fd = next;
		r = check_step(fd, path, (size_t)(p - path), err);
		if (r < 0)
			return r;
	}
	*ret_fd = steal_fd(&fd);
	return 1;
}

/* ---- what is there ---- */

static int mount_id(int fd, uint64_t *ret_id, bool *ret_is_root, struct err *err)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
		return err_sys(err, errno, "statx");
	*ret_id = stx.stx_mnt_id;
	*ret_is_root = stx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	return 0;
}

/* Whether a mount shows its file system from the root: a folder's bind mount does not. */
static int check_whole(const char *path, uint64_t id, struct err *err)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	if (!f)
		return err_sys(err, errno, "cannot open /proc/self/mountinfo");
	while (getline(&line, &size, f) > 0) {
		char *end, *field = NULL;

		/* id, parent, major:minor, root, mount point, … */
		if (strtoull(line, &end, 10) != id)
			continue;
		for (int i = 0; i < 2 && end; i++)
			field = end = strchr(end + 1, ' ');
		if (field && strncmp(field, " / ", 3) == 0)
			return 0;
		return err_set(err, -EINVAL,
			"%s is a bind mount of a part of another tmpfs",
			err_quote(path, 256));
	}
	return err_set(err, -ENOENT, "the mount %s is not in /proc/self/mountinfo",
		err_quote(path, 256));
}

static int check_flags(int fd, const char *path, struct err *err)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} wanted[] = {
		{ST_NOSUID, "nosuid"},
		{ST_NODEV, "nodev"},
		{ST_NOEXEC, "noexec"},
	};
	struct statvfs fs;
	struct stat st;

	if (fstatvfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot look at %s", err_quote(path, 256));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!(fs.f_flag & wanted[i].flag))
			return err_set(err, -EPERM,
				"%s is mounted without %s: mount -o "
				"remount,nosuid,nodev,noexec %s",
				err_quote(path, 256), wanted[i].name,
				err_quote(path, 256));
	if (fs.f_flag & ST_RDONLY)
		return err_set(err, -EROFS,
			"%s is mounted read-only: mount -o remount,rw %s",
			err_quote(path, 256), err_quote(path, 256));
	if (st.st_mode & 07777 & ~TMPFS_MODE)
		return err_set(err, -EPERM,
			"%s has mode %04o where %04o is wanted: chmod %04o %s",
			err_quote(path, 256), st.st_mode & 07777, TMPFS_MODE, TMPFS_MODE,
			err_quote(path, 256));
	return 0;
}

/* What is mounted at an opened path: nothing, where that is no mount point. */
static int look_at_fd(int fd, const char *path, struct tmpfs_usage *ret, struct err *err)
{
	struct statfs fs;
	uint64_t id = 0;
	bool is_root = false;
	int r;

	r = mount_id(fd, &id, &is_root, err);
	if (r < 0)
		return r;
	if (!is_root) {
		*ret = (struct tmpfs_usage){0};
		return 0;
	}
	if (fstatfs(fd, &fs) < 0)
		return err_sys(err, errno, "cannot look at %s", err_quote(path, 256));
	if (fs.f_type != TMPFS_MAGIC)
		return err_set(err, -EINVAL,
			"%s is a mounted file system that is not tmpfs: unmount it, or "
			"give "
			"another template_path",
			err_quote(path, 256));
	r = check_whole(path, id, err);
	if (r == 0)
		r = check_flags(fd, path, err);
	if (r < 0)
		return r;
	*ret = (struct tmpfs_usage){
		.mounted = true,
		.size_bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize,
		.used_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize,
	};
	return 0;
}

int tmpfs_look(const char *path, struct tmpfs_usage *ret, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r = tmpfs_open_path(path, &fd, err);

	if (r > 0)
		return look_at_fd(fd, path, ret, err);
	if (r == 0)
		*ret = (struct tmpfs_usage){0};
	return r;
}

/* ---- changing it ---- */

/* A mount hides what is below it: refuse to hide files. */
static int check_empty(const char *path, struct err *err)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return err_sys(err, errno, "cannot read %s", err_quote(path, 256));
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return err_set(err, -ENOTEMPTY,
				"%s is a folder on disk with files in it (%s), and not a "
				"tmpfs: "
				"empty it, or give another template_path",
				err_quote(path, 256), err_quote(entry->d_name, 64));
	return 0;
}

static int tmpfs_mount(const char *path, uint64_t size_bytes, struct err *err)
{
	char options[64];
	int r;

	r = mkdir_parents(path, 0755, err);
	if (r == 0)
		r = check_empty(path, err);
	if (r < 0)
		return r;
	snprintf(options, sizeof(options), "mode=%04o,size=%" PRIu64, TMPFS_MODE,
		size_bytes);
	if (mount("stencil-template", path, "tmpfs", MOUNT_FLAGS, options) < 0)
		return err_sys(err, errno,
			"cannot mount a tmpfs of %" PRIu64 " bytes at %s", size_bytes,
			err_quote(path, 256));
	return 0;
}

static int tmpfs_grow(const char *path, uint64_t size_bytes, struct err *err)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%" PRIu64, size_bytes);
	if (mount(NULL, path, NULL, MS_REMOUNT | MOUNT_FLAGS, options) < 0)
		return err_sys(err, errno,
			"cannot grow the tmpfs at %s to %" PRIu64 " bytes",
			err_quote(path, 256), size_bytes);
	return 0;
}

int tmpfs_ensure(const char *path, uint64_t size_bytes, struct err *err)
{
	struct tmpfs_usage usage;
	int r = tmpfs_look(path, &usage, err);

	if (r < 0)
		return r;
	if (!usage.mounted)
		r = tmpfs_mount(path, size_bytes, err);
	else if (usage.size_bytes < size_bytes)
		r = tmpfs_grow(path, size_bytes, err);
	if (r == 0)
		r = tmpfs_look(path, &usage, err);
	if (r == 0 && !usage.mounted)
		r = err_set(err, -EIO, "%s is not mounted after mounting it",
			err_quote(path, 256));
	return r;
}

int tmpfs_open(const char *path, bool readonly, int *ret_fd, struct err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					      MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	_cleanup_close_ int fd = -1, tree = -1;
	struct tmpfs_usage usage;
	int r = tmpfs_open_path(path, &fd, err);

	if (r == 0)
		return err_set(err, -ENOENT, "%s is not there", err_quote(path, 256));
	if (r > 0)
		r = look_at_fd(fd, path, &usage, err);
	if (r < 0)
		return r;
	if (!usage.mounted)
		return err_set(
			err, -ENOENT, "no tmpfs is mounted at %s", err_quote(path, 256));
	if (readonly) {
		tree = open_tree(
			fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		if (tree < 0 ||
			mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
			return err_sys(err, errno, "cannot make a read-only mount of %s",
				err_quote(path, 256));
		*ret_fd = steal_fd(&tree);
		return 0;
	}
	tree = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(path, 256));
	*ret_fd = steal_fd(&tree);
	return 0;
}

int tmpfs_unmount(const char *path, struct err *err)
{
	struct tmpfs_usage usage;
	int r = tmpfs_look(path, &usage, err);

	if (r < 0 || !usage.mounted)
		return r;
	if (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
		return err_sys(err, errno, "cannot unmount %s", err_quote(path, 256));
	return 0;
}
