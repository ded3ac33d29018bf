/* SPDX-License-Identifier: Apache-2.0 */
/* Names made, moved and removed. Each is one component in a folder that is held. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "files/call.h"
#include "files/caller.h"

/* How often FUSE_CREATE tries again with a name that comes and goes. */
#define CREATE_TRIES 3

/* Asked before anything is made, so that a full table leaves nothing behind. */
static int make_check(struct call *c)
{
	int r = call_check_writable(c);

	return r < 0 ? r : inode_check_room(c->tree);
}

static int entry_answer(struct call *c, const char *name)
{
	struct fuse_entry_out entry;
	int r = entry_look_up(c, name, &entry);

	return r < 0 ? r : call_put(c, &entry, sizeof(entry));
}

/* ---- made ---- */

static int make_node(const struct call *c)
{
	const struct fuse_mknod_in *in = &c->in.mknod;

	return mknodat(c->inode->fd, c->names[0], in->mode, in->rdev) < 0 ? -errno : 0;
}

static int make_folder(const struct call *c)
{
	mode_t mode = c->in.mkdir.mode & 07777;

	return mkdirat(c->inode->fd, c->names[0], mode) < 0 ? -errno : 0;
}

static int make_symlink(const struct call *c)
{
	return symlinkat(c->names[1], c->inode->fd, c->names[0]) < 0 ? -errno : 0;
}

static int make_as_caller(struct call *c, mode_t mask, int (*make)(const struct call *c))
{
	int r = make_check(c);

	if (r == 0)
		r = call_become(c, mask);
	if (r < 0)
		return r;
	r = make(c);
	caller_return();
	stale_made(c, c->inode, c->names[0]);
	c->made = r == 0;
	return r < 0 ? r : entry_answer(c, c->names[0]);
}

int call_mknod(struct call *c)
{
	return make_as_caller(c, c->in.mknod.umask, make_node);
}

int call_mkdir(struct call *c)
{
	return make_as_caller(c, c->in.mkdir.umask, make_folder);
}

int call_symlink(struct call *c)
{
	return make_as_caller(c, 0, make_symlink);
}

/* The path of the descriptor leads to the very inode, also to one that has no name yet
 * (O_TMPFILE), and to a symbolic link itself. */
static int link_inode(struct call *c, struct inode *old)
{
	struct fuse_entry_out entry;
	struct statx st;
	int r;

	if (linkat(caller_proc_fd(), fd_path(old->fd).text, c->inode->fd, c->names[0],
		    AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	r = file_stat(old->fd, &st);
	if (r < 0)
		return r;
	inode_count(c->tree, old);
	entry_fill(c->tree, old->nodeid, &st, &entry);
	return call_put(c, &entry, sizeof(entry));
}

int call_link(struct call *c)
{
	struct inode *old;
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	old = inode_use(c->tree, c->in.link.oldnodeid);
	if (!old)
		return -ESTALE;
	r = link_inode(c, old);
	stale_made(c, c->inode, c->names[0]);
	inode_unuse(c->tree, old);
	return r;
}

/* ---- made and opened ---- */

struct created {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};
_Static_assert(sizeof(struct created) ==
		       sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
	"the wire's layout");

/* Takes fd, the open file that there is now: its descriptor is what it is known by, since
 * the name may be another's already. */
static int created_answer(struct call *c, int fd)
{
	struct created out = {0};
	struct inode *inode;
	int path_fd = file_open_again(fd, O_PATH);
	int r;

	c->made = true;
	r = path_fd < 0 ? path_fd : entry_enter(c->tree, path_fd, &out.entry);
	if (r < 0) {
		close(fd);
		return r;
	}
	known_note(c->tree, c->inode->nodeid, c->names[0], out.entry.nodeid);
	inode = inode_use(c->tree, out.entry.nodeid);
	r = open_fill(c, inode, fd, &out.open);
	inode_unuse(c->tree, inode);
	if (r < 0) {
		inode_forget(c->tree, out.entry.nodeid, 1);
		return r;
	}
	return call_put(c, &out, sizeof(out));
}

/* In the folder under this name, as the caller; a negative errno. */
static int create_as_caller(const struct call *c, const char *name, int flags)
{
	const struct fuse_create_in *in = &c->in.create;
	int fd, r;

	r = call_become(c, in->umask);
	if (r < 0)
		return r;
	fd = openat(c->inode->fd, name, flags | O_CLOEXEC | O_NOCTTY, in->mode & 07777);
	if (fd < 0)
		fd = errno == EMFILE ? -ENFILE : -errno;
	caller_return();
	return fd;
}

/* Somebody else made it since the guest looked. What is no regular file is not opened
 * here: after ESTALE the guest's kernel looks again. */
static int create_open_there(const struct call *c, int flags)
{
	_cleanup_close_ int path_fd = file_open_name(c->inode->fd, c->names[0]);
	bool kill = c->in.create.open_flags & FUSE_OPEN_KILL_SUIDGID;
	struct statx st;
	int r;

	if (path_fd < 0)
		return path_fd;
	r = file_stat(path_fd, &st);
	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode))
		return -ESTALE;
	if (kill)
		caller_drop_fsetid();
	r = file_open_again(path_fd, flags);
	if (kill)
		caller_regain_fsetid();
	return r;
}

/* Made with O_EXCL in any case: without it the host's kernel
 * would open whatever is there. */
static int create_or_open(const struct call *c)
{
	int flags = open_flags(c->in.create.flags);
	int fd = -ESTALE;

	for (int i = 0; i < CREATE_TRIES; i++) {
		fd = create_as_caller(c, c->names[0],
			(flags & ~O_TRUNC) | O_CREAT | O_EXCL | O_NOFOLLOW);
		if (fd != -EEXIST || c->in.create.flags & O_EXCL)
			return fd;
		fd = create_open_there(c, flags);
		if (fd != -ENOENT)
			return fd;
	}
	return -ESTALE;
}

static int create_check(struct call *c)
{
	int r = make_check(c);

	return r < 0 ? r : handle_check_room(c->tree);
}

int call_create(struct call *c)
{
	int r = create_check(c);

	if (r == 0)
		r = create_or_open(c);
	stale_made(c, c->inode, c->names[0]);
	return r < 0 ? r : created_answer(c, r);
}

/* O_EXCL here means that it can never be linked. */
int call_tmpfile(struct call *c)
{
	int flags = open_flags(c->in.create.flags) & ~O_TRUNC;
	int r = create_check(c);

	/* Overlayfs would hold the file by a name that no request can carry. */
	if (c->tree->options.keeper)
		return -ENOSYS;
	if (c->in.create.flags & O_EXCL)
		flags |= O_EXCL;
	if (r == 0)
		r = create_as_caller(c, ".", flags | O_TMPFILE);
	return r < 0 ? r : created_answer(c, r);
}

/* ---- removed, moved ---- */

static int name_remove(struct call *c, int flags)
{
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	return unlinkat(c->inode->fd, c->names[0], flags) < 0 ? -errno : 0;
}

int call_unlink(struct call *c)
{
	struct stale_loss loss;
	int r;

	stale_begin(c, c->inode, c->names[0], &loss);
	r = name_remove(c, 0);
	stale_end(c, &loss, r == 0);
	return r;
}

int call_rmdir(struct call *c)
{
	return name_remove(c, AT_REMOVEDIR);
}

/* As the caller, whose the whiteout is that RENAME_WHITEOUT leaves. */
static int move_as_caller(struct call *c, const struct inode *to, unsigned int flags)
{
	int r = call_become(c, 0);

	if (r < 0)
		return r;
	if (renameat2(c->inode->fd, c->names[0], to->fd, c->names[1], flags) < 0)
		r = -errno;
	caller_return();
	return r;
}

static int name_move(struct call *c, uint64_t to_nodeid, unsigned int flags)
{
	struct stale_loss loss;
	struct inode *to;
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	to = inode_use(c->tree, to_nodeid);
	if (!to)
		return -ESTALE;
	stale_begin(c, to, c->names[1], &loss);
	r = move_as_caller(c, to, flags);
	stale_end(c, &loss, r == 0 && !(flags & RENAME_EXCHANGE));
	stale_made(c, to, c->names[1]);
	if (r == 0 && flags & RENAME_EXCHANGE)
		known_exchange(
			c->tree, c->inode->nodeid, c->names[0], to_nodeid, c->names[1]);
	else if (r == 0)
		known_move(
			c->tree, c->inode->nodeid, c->names[0], to_nodeid, c->names[1]);
	inode_unuse(c->tree, to);
	return r;
}

int call_rename(struct call *c)
{
	return name_move(c, c->in.rename.newdir, 0);
}

int call_rename2(struct call *c)
{
	unsigned int flags = c->in.rename2.flags;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	return name_move(c, c->in.rename2.newdir, flags);
}
