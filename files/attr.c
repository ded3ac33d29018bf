/* SPDX-License-Identifier: Apache-2.0 */
/* Names looked up and forgotten; attributes read and set. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "files/call.h"
#include "files/caller.h"
#include "files/watch.h"

#define OWN_TIMEOUT_SECONDS (24u * 60 * 60)

/* ---- files by descriptor ---- */

int file_stat(int fd, struct statx *ret)
{
	unsigned int mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;

	return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, mask, ret) < 0 ? -errno : 0;
}

static int open_resolved(int fd, const char *name, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
	int r = syscall(SYS_openat2, fd, name, &how, sizeof(how));

	if (r < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	return r;
}

/* A name's, in a folder. */
#define RESOLVE_BY_NAME (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)

int file_open_name(int folder_fd, const char *name)
{
	return open_resolved(folder_fd, name, O_PATH | O_NOFOLLOW, RESOLVE_BY_NAME);
}

int file_open_again(int fd, int flags)
{
	int again =
		openat(caller_proc_fd(), fd_path(fd).text, flags | O_CLOEXEC | O_NOCTTY);

	if (again < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	return again;
}

/* ---- attributes, entries ---- */

void attr_fill(const struct tree *tree, const struct statx *st, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = inode_number(tree, stat_dev(st), st->stx_ino),
		.size = st->stx_size,
		.blocks = st->stx_blocks,
		.atime = st->stx_atime.tv_sec,
		.mtime = st->stx_mtime.tv_sec,
		.ctime = st->stx_ctime.tv_sec,
		.atimensec = st->stx_atime.tv_nsec,
		.mtimensec = st->stx_mtime.tv_nsec,
		.ctimensec = st->stx_ctime.tv_nsec,
		.mode = st->stx_mode,
		.nlink = st->stx_nlink,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		/* Linux's makedev() is the kernel's new_encode_dev() for 32 bits. */
		.rdev = makedev(st->stx_rdev_major, st->stx_rdev_minor),
		.blksize = st->stx_blksize,
	};
}

void entry_fill(const struct tree *tree, uint64_t nodeid, const struct statx *st,
	struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){.nodeid = nodeid};
	if (tree_is_own(tree))
		ret->entry_valid = ret->attr_valid = OWN_TIMEOUT_SECONDS;
	attr_fill(tree, st, &ret->attr);
}

/* The guest knows it, and may watch it from when it has the answer. */
static void watch_node(struct tree *tree, uint64_t nodeid)
{
	struct inode *inode = tree->options.watch ? inode_use(tree, nodeid) : NULL;

	if (!inode)
		return;
	watch_add(tree, inode);
	inode_unuse(tree, inode);
}

int entry_enter(struct tree *tree, int fd, struct fuse_entry_out *ret)
{
	struct statx st;
	uint64_t nodeid;
	int r;

	r = file_stat(fd, &st);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = inode_enter(tree, fd, &st, &nodeid);
	if (r < 0)
		return r;
	if (S_ISDIR(st.stx_mode))
		watch_node(tree, nodeid);
	entry_fill(tree, nodeid, &st, ret);
	return 0;
}

int entry_look_up(struct call *c, const char *name, struct fuse_entry_out *ret)
{
	uint64_t resolve = RESOLVE_BY_NAME;
	int fd, r;

	if (c->at_once)
		resolve |= RESOLVE_CACHED;
	fd = open_resolved(c->inode->fd, name, O_PATH | O_NOFOLLOW, resolve);
	r = fd < 0 ? fd : entry_enter(c->tree, fd, ret);
	if (r == 0)
		known_note(c->tree, c->inode->nodeid, name, ret->nodeid);
	return r;
}

/* "." and ".." resolve a file handle of the guest's (open_by_handle_at(2)). ".." would
 * lead out of the tree where a folder was moved out of it: so only to what was seen
 * within. */
static int look_up_parent(struct call *c, struct fuse_entry_out *ret)
{
	_cleanup_close_ int fd = -1;
	struct statx st;
	uint64_t nodeid;
	int r;

	if (c->header.nodeid == FUSE_ROOT_ID)
		return -ESTALE;
	fd = open_resolved(c->inode->fd, "..", O_PATH | O_DIRECTORY,
		RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return fd;
	r = file_stat(fd, &st);
	if (r < 0)
		return r;
	r = inode_enter_known(c->tree, &st, &nodeid);
	if (r < 0)
		return r;
	entry_fill(c->tree, nodeid, &st, ret);
	return 0;
}

static int entry_of(struct call *c, struct inode *inode, struct fuse_entry_out *ret)
{
	struct statx st;
	int r;

	r = file_stat(inode->fd, &st);
	if (r < 0)
		return r;
	inode_count(c->tree, inode);
	entry_fill(c->tree, inode->nodeid, &st, ret);
	return 0;
}

static int look_up_self(struct call *c, struct fuse_entry_out *ret)
{
	return entry_of(c, c->inode, ret);
}

/* For a process, in an overlay's upper layer: stale.h. */
static int look_up_checked(struct call *c, struct fuse_entry_out *ret)
{
	_cleanup_close_ int fd = file_open_name(c->inode->fd, c->names[0]);
	struct inode *inode;
	bool known;
	int r;

	inode = stale_find(c, c->names[0], fd >= 0, &known);
	if (inode) {
		r = entry_of(c, inode, ret);
		inode_unuse(c->tree, inode);
		return r;
	}
	/* Nothing that is remembered of a name that is asked for again. */
	if (fd == -ENOENT && known) {
		*ret = (struct fuse_entry_out){0};
		return 0;
	}
	return fd < 0 ? fd : entry_enter(c->tree, steal_fd(&fd), ret);
}

int call_lookup(struct call *c)
{
	struct fuse_entry_out entry = {0};
	int r;

	if (strcmp(c->names[0], ".") == 0)
		r = look_up_self(c, &entry);
	else if (strcmp(c->names[0], "..") == 0)
		r = look_up_parent(c, &entry);
	else if (c->tree->options.keeper && !c->by_overlay)
		r = look_up_checked(c, &entry);
	else
		r = entry_look_up(c, c->names[0], &entry);
	/* That there is none is something to remember. */
	if (r == -ENOENT && tree_is_own(c->tree))
		entry = (struct fuse_entry_out){.entry_valid = OWN_TIMEOUT_SECONDS};
	else if (r < 0)
		return r;
	return call_put(c, &entry, sizeof(entry));
}

int call_forget(struct call *c)
{
	inode_forget(c->tree, c->header.nodeid, c->in.forget.nlookup);
	return 0;
}

int call_batch_forget(struct call *c)
{
	struct fuse_forget_one one;

	for (size_t at = 0; at < c->data_len; at += sizeof(one)) {
		memcpy(&one, c->data + at, sizeof(one));
		inode_forget(c->tree, one.nodeid, one.nlookup);
	}
	return 0;
}

/* ---- reading attributes ---- */

/* A handle that a request names beside the inode is one of it. The descriptor of the
 * inode does as well, so it is only looked for. */
static int fh_check(struct call *c, uint64_t fh)
{
	c->handle = handle_use(c->tree, fh, c->inode);
	return c->handle ? 0 : -EBADF;
}

static int attr_answer(struct call *c)
{
	struct fuse_attr_out out = {0};
	struct statx st;
	int r;

	r = file_stat(c->inode->fd, &st);
	if (r < 0)
		return r;
	if (tree_is_own(c->tree))
		out.attr_valid = OWN_TIMEOUT_SECONDS;
	attr_fill(c->tree, &st, &out.attr);
	return call_put(c, &out, sizeof(out));
}

int call_getattr(struct call *c)
{
	if (c->in.getattr.getattr_flags & FUSE_GETATTR_FH) {
		int r = fh_check(c, c->in.getattr.fh);

		if (r < 0)
			return r;
	}
	return attr_answer(c);
}

static struct fuse_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct fuse_sx_time){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

int call_statx(struct call *c)
{
	struct fuse_statx_out out = {0};
	struct statx st;
	int r = 0;

	if (c->in.statx.getattr_flags & FUSE_GETATTR_FH)
		r = fh_check(c, c->in.statx.fh);
	if (r == 0)
		r = file_stat(c->inode->fd, &st);
	if (r < 0)
		return r;
	if (tree_is_own(c->tree))
		out.attr_valid = OWN_TIMEOUT_SECONDS;
	out.stat = (struct fuse_statx){
		.mask = st.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
		.blksize = st.stx_blksize,
		.attributes = st.stx_attributes,
		.nlink = st.stx_nlink,
		.uid = st.stx_uid,
		.gid = st.stx_gid,
		.mode = st.stx_mode,
		.ino = inode_number(c->tree, stat_dev(&st), st.stx_ino),
		.size = st.stx_size,
		.blocks = st.stx_blocks,
		.attributes_mask = st.stx_attributes_mask,
		.atime = sx_time(&st.stx_atime),
		.btime = sx_time(&st.stx_btime),
		.ctime = sx_time(&st.stx_ctime),
		.mtime = sx_time(&st.stx_mtime),
		.rdev_major = st.stx_rdev_major,
		.rdev_minor = st.stx_rdev_minor,
	};
	return call_put(c, &out, sizeof(out));
}

int call_statfs(struct call *c)
{
	struct fuse_statfs_out out = {0};
	struct statfs fs;

	if (fstatfs(c->inode->fd, &fs) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = fs.f_blocks,
		.bfree = fs.f_bfree,
		.bavail = fs.f_bavail,
		.files = fs.f_files,
		.ffree = fs.f_ffree,
		.bsize = fs.f_bsize,
		.namelen = fs.f_namelen,
		.frsize = fs.f_frsize,
	};
	return call_put(c, &out, sizeof(out));
}

int call_readlink(struct call *c)
{
	uint8_t *room = call_room(c, PATH_MAX);
	ssize_t n;

	if (!room)
		return -ENOMEM;
	if (!S_ISLNK(c->inode->type))
		return -EINVAL;
	n = readlinkat(c->inode->fd, "", (char *)room, PATH_MAX);
	if (n < 0)
		return -errno;
	c->out_len = n;
	return 0;
}

/* ---- setting attributes ---- */

#define SETATTR_TIMES (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)
#define SETATTR_KNOWN                                                                    \
	(FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_FH | FATTR_LOCKOWNER |  \
		FATTR_CTIME | FATTR_KILL_SUIDGID | SETATTR_TIMES)

static int set_owner(const struct call *c)
{
	const struct fuse_setattr_in *in = &c->in.setattr;
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	return fchownat(c->inode->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* What the host's kernel takes from a file with a new owner or size, and an overlay's
 * must keep: the guest's overlayfs copies a file up with its set-id bits and
 * capabilities, and gives it size and owner last. Where they are to go it says so. */
struct privileges {
	struct statx st;
	uint8_t capability[64];
	ssize_t len; /* negative: none */
};

static int privileges_get(const struct call *c, struct privileges *ret)
{
	ret->len = getxattr(fd_path(c->inode->fd).text, XATTR_NAME_CAPS, ret->capability,
		sizeof(ret->capability));
	return file_stat(c->inode->fd, &ret->st);
}

static int privileges_set(const struct call *c, const struct privileges *p)
{
	struct fd_path path = fd_path(c->inode->fd);

	if (p->st.stx_mode & (S_ISUID | S_ISGID) &&
		chmod(path.text, p->st.stx_mode & 07777) < 0)
		return -errno;
	if (p->len >= 0 && setxattr(path.text, XATTR_NAME_CAPS, p->capability,
				   (size_t)p->len, 0) < 0)
		return -errno;
	return 0;
}

/* change(), less that. */
static int keep_privileges(const struct call *c, int (*change)(const struct call *c))
{
	struct privileges privileges;
	int r;

	if (!c->tree->options.keeper || !S_ISREG(c->inode->type))
		return change(c);
	r = privileges_get(c, &privileges);
	if (r == 0)
		r = change(c);
	return r == 0 ? privileges_set(c, &privileges) : r;
}

/* The path follows to the inode itself, a symbolic link, too; that has no mode to set. */
static int set_mode(const struct call *c)
{
	mode_t mode = c->in.setattr.mode & 07777;

	if (S_ISLNK(c->inode->type))
		return -EOPNOTSUPP;
	return chmod(fd_path(c->inode->fd).text, mode) < 0 ? -errno : 0;
}

static int truncate_now(const struct call *c)
{
	off_t size = c->in.setattr.size;

	/* A handle may write where nobody else may any more: it was opened before. */
	if (c->in.setattr.valid & FATTR_FH)
		return ftruncate(c->handle->fd, size) < 0 ? -errno : 0;
	return truncate(fd_path(c->inode->fd).text, size) < 0 ? -errno : 0;
}

static int set_size(const struct call *c)
{
	bool kill = c->in.setattr.valid & FATTR_KILL_SUIDGID;
	int r;

	if (!S_ISREG(c->inode->type))
		return S_ISDIR(c->inode->type) ? -EISDIR : -EINVAL;
	if (kill)
		caller_drop_fsetid();
	r = truncate_now(c);
	if (kill)
		caller_regain_fsetid();
	return r;
}

static struct timespec time_of(uint32_t set, uint32_t now, uint64_t sec, uint32_t nsec)
{
	if (now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (!set)
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	return (struct timespec){.tv_sec = sec, .tv_nsec = nsec};
}

static int set_times(const struct call *c)
{
	const struct fuse_setattr_in *in = &c->in.setattr;
	struct timespec times[2] = {
		time_of(in->valid & FATTR_ATIME, in->valid & FATTR_ATIME_NOW, in->atime,
			in->atimensec),
		time_of(in->valid & FATTR_MTIME, in->valid & FATTR_MTIME_NOW, in->mtime,
			in->mtimensec),
	};

	/* These two would not be times. */
	if (in->atimensec > 999999999 || in->mtimensec > 999999999)
		return -EINVAL;
	return utimensat(c->inode->fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* In this order: a new owner takes the set-id bits away, and a new mode may bring them; a
 * new size changes the times. */
static int attr_set(const struct call *c)
{
	uint32_t valid = c->in.setattr.valid;
	int r = 0;

	if (valid & (FATTR_UID | FATTR_GID))
		r = keep_privileges(c, set_owner);
	if (r == 0 && valid & FATTR_MODE)
		r = set_mode(c);
	if (r == 0 && valid & FATTR_SIZE)
		r = keep_privileges(c, set_size);
	if (r == 0 && valid & SETATTR_TIMES)
		r = set_times(c);
	return r;
}

int call_setattr(struct call *c)
{
	int r = call_check_writable(c);

	if (r == 0 && c->in.setattr.valid & ~SETATTR_KNOWN)
		return -EINVAL;
	if (r == 0 && c->in.setattr.valid & FATTR_FH)
		r = fh_check(c, c->in.setattr.fh);
	if (r == 0)
		r = attr_set(c);
	return r < 0 ? r : attr_answer(c);
}
