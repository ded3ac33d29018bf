/* SPDX-License-Identifier: Apache-2.0 */
/* Files opened, read, written, synced. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

#include "files/call.h"
#include "files/caller.h"
#include "files/lock.h"
#include "files/wire.h"

/* One FUSE_COPY_FILE_RANGE does at most this much, so that it ends soon:
 * the guest asks again. */
#define COPY_BYTES_MAX (128u << 20)

/* ---- opening ---- */

/*
 * Not O_APPEND: the guest says for each write whether it appends, and what its kernel
 * writes back from its page cache does not. Not O_DIRECT: the guest goes round its own
 * cache by itself, and answers are not aligned as the host would want them (which tmpfs
 * refuses anyhow).
 */
int open_flags(uint32_t guest)
{
	return guest & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME);
}

int open_fill(struct call *c, struct inode *inode, int fd, struct fuse_open_out *ret)
{
	*ret = (struct fuse_open_out){0};
	if (tree_is_own(c->tree))
		ret->open_flags = FOPEN_KEEP_CACHE;
	if (tree_is_own(c->tree) && S_ISDIR(inode->type))
		ret->open_flags |= FOPEN_CACHE_DIR;
	return handle_add(c->tree, inode, fd, &ret->fh);
}

/* FIFOs, sockets and devices are the guest's own kernel's:
 * opening one here would act on the host. */
static int open_check(struct call *c, int flags)
{
	if (S_ISDIR(c->inode->type))
		return -EISDIR;
	if (S_ISLNK(c->inode->type))
		return -ELOOP;
	if (!S_ISREG(c->inode->type))
		return -ENXIO;
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		return call_check_writable(c);
	return 0;
}

int call_open(struct call *c)
{
	int flags = open_flags(c->in.open.flags);
	bool kill = c->in.open.open_flags & FUSE_OPEN_KILL_SUIDGID;
	struct fuse_open_out out;
	int r = open_check(c, flags);

	if (r == 0)
		r = handle_check_room(c->tree);
	if (r < 0)
		return r;
	if (kill)
		caller_drop_fsetid();
	r = file_open_again(c->inode->fd, flags);
	if (kill)
		caller_regain_fsetid();
	if (r >= 0)
		r = open_fill(c, c->inode, r, &out);
	return r < 0 ? r : call_put(c, &out, sizeof(out));
}

int call_release(struct call *c)
{
	if (c->in.release.release_flags & FUSE_RELEASE_FLUSH)
		lock_owner_leave(c, c->in.release.lock_owner);
	lock_handle_leave(c);
	handle_release(c->tree, c->handle);
	return 0;
}

/* ---- data ---- */

int call_read(struct call *c)
{
	const struct fuse_read_in *in = &c->in.read;
	uint8_t *room;
	ssize_t n = 0;

	if (in->size > FILES_DATA_BYTES)
		return -EINVAL;
	room = call_room(c, in->size);
	if (!room)
		return -ENOMEM;
	/* Only the end of the file may make an answer short. */
	while (c->out_len < in->size) {
		n = pread(c->handle->fd, room + c->out_len, in->size - c->out_len,
			in->offset + c->out_len);
		if (n <= 0)
			break;
		c->out_len += n;
	}
	return n < 0 && c->out_len == 0 ? -errno : 0;
}

static int write_flags(const struct call *c)
{
	uint32_t guest = c->in.write.flags;
	int flags = 0;

	/* Where the guest writes back pages, and where it alone writes,
	 * its offset counts. */
	if (guest & O_APPEND && !(c->in.write.write_flags & FUSE_WRITE_CACHE) &&
		!tree_is_own(c->tree))
		flags |= RWF_APPEND;
	if ((guest & O_SYNC) == O_SYNC)
		flags |= RWF_SYNC;
	else if (guest & O_DSYNC)
		flags |= RWF_DSYNC;
	return flags;
}

/* How much was written in *ret, and 0 or what ended it. */
static int write_all(const struct call *c, size_t *ret)
{
	int flags = write_flags(c);
	size_t done = 0;
	int r = 0;

	do {
		struct iovec part = {(void *)(c->data + done), c->data_len - done};
		ssize_t n = pwritev2(
			c->handle->fd, &part, 1, c->in.write.offset + done, flags);

		if (n <= 0) {
			r = n < 0 ? -errno : -EIO;
			break;
		}
		done += n;
	} while (done < c->data_len);
	*ret = done;
	return r;
}

int call_write(struct call *c)
{
	bool kill = c->in.write.write_flags & FUSE_WRITE_KILL_SUIDGID;
	struct fuse_write_out out = {0};
	size_t done = 0;
	int r = 0;

	if (kill)
		caller_drop_fsetid();
	if (c->data_len > 0)
		r = write_all(c, &done);
	if (kill)
		caller_regain_fsetid();
	/* Of pages that it writes back the guest does not see that some were not. */
	if (r < 0 && (done == 0 || c->in.write.write_flags & FUSE_WRITE_CACHE))
		return r;
	out.size = done;
	return call_put(c, &out, sizeof(out));
}

int call_fsync(struct call *c)
{
	int fd = c->handle->fd;
	bool data = c->in.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC;

	return (data ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

/* A close(2) in the guest. That of a copy tells of errors
 * that only a close does (NFS). */
int call_flush(struct call *c)
{
	int copy;

	lock_owner_leave(c, c->in.flush.lock_owner);
	copy = fcntl(c->handle->fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	return close(copy) < 0 ? -errno : 0;
}

int call_fallocate(struct call *c)
{
	const struct fuse_fallocate_in *in = &c->in.fallocate;
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	/* No flag says that set-uid bits go: a user's do. */
	if (c->header.uid != 0)
		caller_drop_fsetid();
	r = fallocate(c->handle->fd, in->mode, in->offset, in->length) < 0 ? -errno : 0;
	if (c->header.uid != 0)
		caller_regain_fsetid();
	return r;
}

/* The rest of lseek(2) the guest does without us. */
int call_lseek(struct call *c)
{
	struct fuse_lseek_out out = {0};
	off_t at;

	if (c->in.lseek.whence != SEEK_DATA && c->in.lseek.whence != SEEK_HOLE)
		return -EINVAL;
	/* A folder's descriptor has a position that counts. */
	if (!S_ISREG(c->inode->type))
		return -EINVAL;
	at = lseek(c->handle->fd, c->in.lseek.offset, c->in.lseek.whence);
	if (at < 0)
		return -errno;
	out.offset = at;
	return call_put(c, &out, sizeof(out));
}

static int copy_to(struct call *c, int to_fd)
{
	const struct fuse_copy_file_range_in *in = &c->in.copy;
	struct fuse_write_out out = {0};
	off_t from_at = in->off_in, to_at = in->off_out;
	ssize_t n = copy_file_range(
		c->handle->fd, &from_at, to_fd, &to_at, MIN(in->len, COPY_BYTES_MAX), 0);

	if (n < 0)
		return -errno;
	out.size = n;
	return call_put(c, &out, sizeof(out));
}

int call_copy_file_range(struct call *c)
{
	const struct fuse_copy_file_range_in *in = &c->in.copy;
	struct inode *inode;
	struct handle *to;
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	if (in->flags != 0)
		return -EINVAL;
	inode = inode_use(c->tree, in->nodeid_out);
	if (!inode)
		return -ESTALE;
	to = handle_use(c->tree, in->fh_out, inode);
	if (c->header.uid != 0)
		caller_drop_fsetid();
	r = to ? copy_to(c, to->fd) : -EBADF;
	if (c->header.uid != 0)
		caller_regain_fsetid();
	handle_unuse(c->tree, to);
	inode_unuse(c->tree, inode);
	return r;
}

int call_syncfs(struct call *c)
{
	_cleanup_close_ int fd = -1;

	if (!S_ISREG(c->inode->type) && !S_ISDIR(c->inode->type))
		return -EINVAL;
	fd = file_open_again(c->inode->fd, O_RDONLY);
	if (fd < 0)
		return fd;
	return syncfs(fd) < 0 ? -errno : 0;
}
