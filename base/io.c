/* SPDX-License-Identifier: Apache-2.0 */
/* Files, directories and sockets: see io.h. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

int read_full(int fd, void *buf, size_t len)
{
	for (char *p = buf; len > 0;) {
		ssize_t n = read(fd, p, len);

		if (n == 0)
			return -ENODATA;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int write_full(int fd, const void *buf, size_t len)
{
	for (const char *p = buf; len > 0;) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Reads to the end of fd, at most max bytes. */
static int read_to_end(int fd, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_free_ char *data = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (len + 1 >= size) {
			size = MAX((size_t)4096, size * 2);
			data = xreallocarray(data, size, 1);
		}
		n = read(fd, data + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
	}
	data[len] = '\0';
	*ret_data = steal_ptr(data);
	*ret_len = len;
	return 0;
}

int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len,
	struct err *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(path, 256));
	r = read_to_end(fd, max, ret_data, ret_len);
	if (r == -EFBIG)
		return err_set(err, r, "%s is larger than the %zu bytes allowed",
			err_quote(path, 256), max);
	if (r < 0)
		return err_sys(err, r, "cannot read %s", err_quote(path, 256));
	return 0;
}

/* Whether name still leads to what fd is. */
static bool is_at(int fd, int dirfd, const char *name)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 &&
	       fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

/* An empty file that this writer alone has, until it closes it. Another's rename takes
 * the name away from whoever waited for its lock: then again from the start. */
static int open_temporary(int dirfd, const char *tmp, mode_t mode)
{
	for (;;) {
		_cleanup_close_ int fd = openat(
			dirfd, tmp, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);

		if (fd < 0)
			return -errno;
		while (flock(fd, LOCK_EX) < 0) {
			if (errno != EINTR)
				return -errno;
		}
		if (is_at(fd, dirfd, tmp))
			return ftruncate(fd, 0) < 0 ? -errno : steal_fd(&fd);
	}
}

int file_write_atomic(int dirfd, const char *path, const void *data, size_t len,
	mode_t mode, struct err *err)
{
	_cleanup_free_ char *tmp = xasprintf("%s.new", path);
	_cleanup_close_ int fd = open_temporary(dirfd, tmp, mode);
	int r;

	if (fd < 0)
		return err_sys(err, fd, "cannot create %s", err_quote(tmp, 256));
	r = write_full(fd, data, len);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return err_sys(err, r, "cannot write %s", err_quote(path, 256));
	}
	return 0;
}

int file_write_text(int dirfd, const char *path, const char *text, struct err *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	/* One write(2): these files take a value a call. */
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_sys(err, errno, "cannot write %s to %s", err_quote(text, 64),
			err_quote(path, 256));
	return 0;
}

int mkdir_parents(const char *path, mode_t mode, struct err *err)
{
	_cleanup_free_ char *p = xstrdup(path);

	for (char *slash = p; slash;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_sys(err, errno, "cannot create the folder %s",
				err_quote(p, 256));
		if (slash)
			*slash = '/';
	}
	return 0;
}

int dir_open(int dirfd, const char *name, DIR **ret)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	*ret = fd < 0 ? NULL : fdopendir(fd);
	if (!*ret)
		return -errno;
	steal_fd(&fd); /* closedir() closes it */
	return 0;
}

static int remove_below(
	int parent_fd, const char *name, dev_t dev, unsigned int depth, struct err *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	struct stat st;
	int r;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, errno, "cannot look at %s",
						 err_quote(name, 256));
	if (!S_ISDIR(st.st_mode)) {
		if (unlinkat(parent_fd, name, 0) < 0 && errno != ENOENT)
			return err_sys(
				err, errno, "cannot remove %s", err_quote(name, 256));
		return 0;
	}
	if (st.st_dev != dev)
		return err_set(err, -EXDEV,
			"cannot remove %s: it is on another file system",
			err_quote(name, 256));
	if (depth == 0)
		return err_set(err, -ELOOP, "cannot remove %s: folders too deep",
			err_quote(name, 256));
	r = dir_open(parent_fd, name, &dir);
	if (r == -ENOENT)
		return 0; /* somebody else removes it, too */
	if (r < 0)
		return err_sys(err, r, "cannot open %s", err_quote(name, 256));
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		r = remove_below(dirfd(dir), entry->d_name, dev, depth - 1, err);
		if (r < 0)
			return r;
	}
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove %s", err_quote(name, 256));
	return 0;
}

int remove_tree(int dirfd, const char *name, struct err *err)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, errno, "cannot look at %s",
						 err_quote(name, 256));
	return remove_below(dirfd, name, st.st_dev, 64, err);
}

static int open_resolved(int dirfd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? 0600 : 0,
		.resolve = resolve,
	};
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int open_in_root(int rootfd, const char *path, int flags)
{
	return open_resolved(
		rootfd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int open_beneath(int dirfd, const char *path, int flags)
{
	return open_resolved(dirfd, path, flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int open_readonly_mount(const char *path, int flags)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	struct mount_attr sealed = {.attr_set = MOUNT_ATTR_NODEV};
	_cleanup_close_ int tree =
		open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	char self[40];
	int fd;

	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", tree);
	fd = open(self, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* The file is the mount's for ever: no device can be opened by it from now on. */
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &sealed, sizeof(sealed)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int mount_nowhere(unsigned int attributes)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 ||
		fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "2", 0) < 0 ||
		fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
		fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? -errno : fd;
}

int wait_fd(int fd, short events, int64_t deadline)
{
	struct pollfd pfd = {.fd = fd, .events = events};

	for (;;) {
		int n = poll(&pfd, 1, deadline_poll_ms(deadline));

		if (n > 0)
			return 0;
		if (n == 0 && now_ms() >= deadline)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}
