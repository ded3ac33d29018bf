/* SPDX-License-Identifier: Apache-2.0 */
/* CopyFile: files that the host puts below GUEST_SHARED_ROOT, piece by piece. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "guest/init.h"
#include "guest/service.h"
#include "guest/spec.h"

/* Resolv.conf, hosts, secrets: small files, in the guest's memory. */
#define FILE_BYTES_MAX (64 * MiB)

/* Nothing that a pod names a file of its own. */
#define PART_SUFFIX ".stencil-part"

/*
 * Opens the folder of `path` (relative to the shared root), making what is missing, and
 * points *ret_name to the last component. No step follows a link out of the shared root.
 */
static int open_parent(char *path, mode_t dir_mode, int *ret_dirfd, char **ret_name)
{
	_cleanup_close_ int dir =
		open(GUEST_SHARED_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	if (dir < 0)
		return -errno;
	while ((slash = strchr(path, '/'))) {
		int next;

		*slash = '\0';
		if (mkdirat(dir, path, dir_mode) < 0 && errno != EEXIST)
			return -errno;
		next = open_beneath(dir, path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
		if (next < 0)
			return next;
		close(dir);
		dir = next;
		path = slash + 1 + strspn(slash + 1, "/");
	}
	*ret_dirfd = steal_fd(&dir);
	*ret_name = path;
	return 0;
}

static int write_piece(int fd, const Grpc__CopyFileRequest *req)
{
	const uint8_t *data = req->data.data;
	size_t len = req->data.len;
	int64_t offset = req->offset;

	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			offset += n;
		}
	}
	return 0;
}

/* Pieces go into a file beside it, which gets its name when it has its size. */
static int copy_piece(const Grpc__CopyFileRequest *req, int dir, const char *name)
{
	_cleanup_free_ char *tmp = xasprintf("%s" PART_SUFFIX, name);
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	fd = open_beneath(
		dir, tmp, O_WRONLY | O_CREAT | O_NOFOLLOW | (req->offset ? 0 : O_TRUNC));
	if (fd < 0)
		return fd;
	r = write_piece(fd, req);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < req->file_size)
		return 0;
	if (fchown(fd, (uid_t)req->uid, (gid_t)req->gid) < 0 ||
		fchmod(fd, req->file_mode & 07777) < 0 ||
		renameat(dir, tmp, dir, name) < 0)
		return -errno;
	return 0;
}

static int check_request(const Grpc__CopyFileRequest *req, struct err *err)
{
	size_t root = strlen(GUEST_SHARED_ROOT), len = strlen(req->path);

	if (!path_is_below(req->path, GUEST_SHARED_ROOT) || len <= root + 1 ||
		req->path[len - 1] == '/')
		return err_set(err, -EINVAL, "%s is not a file below " GUEST_SHARED_ROOT,
			err_quote(req->path, 256));
	if (req->file_mode & S_IFMT && !S_ISREG(req->file_mode))
		return err_set(err, -EOPNOTSUPP, "%s: only regular files can be copied",
			err_quote(req->path, 256));
	if (req->file_size < 0 || req->offset < 0 ||
		(uint64_t)req->file_size > FILE_BYTES_MAX ||
		(uint64_t)req->offset + req->data.len > (uint64_t)req->file_size)
		return err_set(err, -EFBIG,
			"%s: %zu bytes at %lld don't fit into a file of %lld "
			"(at most %llu)",
			err_quote(req->path, 256), req->data.len, (long long)req->offset,
			(long long)req->file_size, (unsigned long long)FILE_BYTES_MAX);
	return 0;
}

SERVICE_HANDLER(handle_copy_file)
{
	const Grpc__CopyFileRequest *req = (const Grpc__CopyFileRequest *)in;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int dir = -1;
	char *name;
	int r;

	(void)user, (void)request, (void)ret_out;
	r = check_request(req, err);
	if (r < 0)
		return r;
	path = xstrdup(req->path + strlen(GUEST_SHARED_ROOT));
	name = path + strspn(path, "/");
	r = open_parent(
		name, req->dir_mode & 07777 ? req->dir_mode & 07777 : 0755, &dir, &name);
	if (r == 0)
		r = copy_piece(req, dir, name);
	return r < 0 ? err_sys(err, r, "copy %s", err_quote(req->path, 256)) : 0;
}
