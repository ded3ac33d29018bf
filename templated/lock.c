/* SPDX-License-Identifier: Apache-2.0 */
/* Lock files: see lock.h. */
#include "templated/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

/* A lock's holder removes the file when it ends: a lock on a removed file locks nobody
 * out. */
static bool is_in_place(int fd, const char *file)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(file, &there) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static int tell_holder(int fd, const char *what, const char *path, struct err *err)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? n : 0] = '\0';
	pid[strspn(pid, "0123456789")] = '\0';
	return err_set(err, -EBUSY, "another templated (pid %s) has the %s %s",
		*pid ? pid : "unknown", what, err_quote(path, 256));
}

static int make_folder(const char *path, struct err *err)
{
	_cleanup_free_ char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');

	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	return mkdir_parents(folder, 0755, err);
}

int lock_take(const char *what, const char *path, int *ret_fd, struct err *err)
{
	/* Not flock(2): a child of a killed templated would hold that until it executes
	 * QEMU. This one ends with the process that took it. */
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	_cleanup_free_ char *file = xasprintf("%s.lock", path);
	char pid[16];
	int r = make_folder(path, err);

	if (r < 0)
		return r;
	for (;;) {
		_cleanup_close_ int fd =
			open(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd < 0)
			return err_sys(err, errno, "cannot open the lock file %s",
				err_quote(file, 256));
		if (fcntl(fd, F_SETLK, &whole) < 0)
			return errno == EAGAIN || errno == EACCES
				       ? tell_holder(fd, what, path, err)
				       : err_sys(err, errno, "cannot lock %s",
						 err_quote(file, 256));
		if (!is_in_place(fd, file))
			continue;
		snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
		if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
			return err_sys(
				err, errno, "cannot write %s", err_quote(file, 256));
		*ret_fd = steal_fd(&fd);
		return 0;
	}
}

void lock_drop(const char *path, int fd)
{
	_cleanup_free_ char *file = xasprintf("%s.lock", path);

	if (fd < 0)
		return;
	unlink(file);
	close(fd);
}
