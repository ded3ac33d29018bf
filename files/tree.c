/* SPDX-License-Identifier: Apache-2.0 */
/* A tree's life: made, started by the guest's kernel, reset, freed. */
#include "files/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>

#include "base/thread.h"
#include "files/call.h"
#include "files/caller.h"
#include "files/watch.h"
#include "files/wire.h"

#define PAGE_BYTES 4096u

int tree_prepare(struct err *err)
{
	int r = caller_prepare(err);

	return r < 0 ? r : waits_prepare(err);
}

/* Whatever can be mounted, and so not a symbolic link. (A device's number is lost on the
 * way: the kernel makes a FUSE mount's root without one.) */
static int root_check(int fd, const struct statx *root, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || !(flags & O_PATH))
		return err_set(
			err, -EINVAL, "the root of a tree is no O_PATH descriptor");
	switch (root->stx_mode & S_IFMT) {
	case S_IFDIR:
	case S_IFREG:
	case S_IFSOCK:
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
		return 0;
	}
	return err_set(err, -EINVAL, "the root of a tree is nothing that is mounted: %o",
		root->stx_mode);
}

/* Where what is in memory is told without asking anybody. */
static bool root_is_local(int fd)
{
	static const unsigned long types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
		BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((unsigned long)fs.f_type == types[i])
			return true;
	return false;
}

int tree_new(int root_fd, const struct tree_options *options, struct tree **ret,
	struct err *err)
{
	_cleanup_close_ int fd = -1;
	struct tree *tree;
	struct statx root;
	int r;

	r = tree_prepare(err);
	if (r < 0)
		return r;
	r = file_stat(root_fd, &root);
	if (r < 0)
		return err_sys(err, r, "the root of a tree");
	r = root_check(root_fd, &root, err);
	if (r < 0)
		return r;
	fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, errno, "the root of a tree");
	tree = xnew0(struct tree);
	tree->is_local = root_is_local(fd);
	tree->options = *options;
	if (tree_is_own(tree)) {
		tree->options.watch = NULL;
		tree->options.blanks = NULL;
	}
	pthread_mutex_init(&tree->lock, NULL);
	cond_init(&tree->unchanged);
	room_init(&tree->own_room, options->inodes_max, options->handles_max, 0);
	tree->room = options->room ? options->room : &tree->own_room;
	inodes_init(tree, steal_fd(&fd), &root);
	handles_init(tree);
	changes_init(&tree->heard);
	replay_init(&tree->replay);
	*ret = tree;
	return 0;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	handles_done(tree);
	inodes_done(tree);
	/* No inode is watched any more. */
	changes_done(&tree->heard);
	replay_done(&tree->replay);
	knowns_done(&tree->knowns);
	room_done(&tree->own_room);
	pthread_cond_destroy(&tree->unchanged);
	pthread_mutex_destroy(&tree->lock);
	free(tree);
}

void tree_reset(struct tree *tree)
{
	handles_clear(tree);
	replay_end(&tree->replay);
	inodes_clear(tree);
	changes_clear(&tree->heard);
	waits_clear(tree);
	tree->started = false;
	tree->setxattr_ext = false;
}

void tree_interrupt_all(struct tree *tree)
{
	waits_end(tree);
	room_wake(tree->room);
}

bool tree_is_own(const struct tree *tree)
{
	return tree->options.cache == TREE_CACHE_OWN;
}

/* ---- changes ---- */

int call_check_writable(struct call *c)
{
	struct tree *tree = c->tree;
	bool refuse;

	if (c->changes)
		return 0;
	pthread_mutex_lock(&tree->lock);
	refuse = tree->options.readonly || tree->frozen;
	c->changes = !refuse;
	tree->changes += c->changes;
	pthread_mutex_unlock(&tree->lock);
	return refuse ? -EROFS : 0;
}

void tree_end_change(struct tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	if (--tree->changes == 0)
		pthread_cond_broadcast(&tree->unchanged);
	pthread_mutex_unlock(&tree->lock);
}

void call_end_changes(struct call *c)
{
	if (c->changes)
		tree_end_change(c->tree);
	c->changes = false;
}

int tree_freeze(struct tree *tree, int64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&tree->lock);
	tree->frozen = true;
	while (r == 0 && tree->changes > 0)
		r = cond_wait(&tree->unchanged, &tree->lock, deadline);
	if (r < 0)
		tree->frozen = false;
	pthread_mutex_unlock(&tree->lock);
	return r < 0 ? -EBUSY : 0;
}

void tree_thaw(struct tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	tree->frozen = false;
	pthread_mutex_unlock(&tree->lock);
}

int call_become(const struct call *c, mode_t mask)
{
	return caller_become(c->header.uid, c->header.gid, mask);
}

/* ---- FUSE_INIT ---- */

#define WANTED_BY_ALL                                                                    \
	(FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC |                      \
		FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | FUSE_DONT_MASK |                 \
		FUSE_FLOCK_LOCKS | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |         \
		FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL |                 \
		FUSE_MAX_PAGES | FUSE_SETXATTR_EXT | FUSE_INIT_EXT)
/* The guest's kernel need not ask before it believes its cache. Not FUSE_WRITEBACK_CACHE:
 * what is only in the guest yet has no blocks, is a hole to SEEK_DATA (a copy leaves it
 * out), and is missing in what the host makes of the files meanwhile. */
#define WANTED_BY_OWN FUSE_CACHE_SYMLINKS
/* Set-user-ID and capabilities go with a write, by the server. The guest's overlay writes
 * to its upper layer as root, who loses neither: there the kernel sets the mode itself,
 * as it does on the host. */
#define WANTED_WITHOUT_OVERLAY FUSE_HANDLE_KILLPRIV_V2
/* A file that has grown or has another time drops what is cached of it. */
#define WANTED_BY_SHARED FUSE_AUTO_INVAL_DATA

static uint64_t init_flags(const struct tree *tree, const struct fuse_init_in *in)
{
	uint64_t wanted = WANTED_BY_ALL;
	uint64_t known = in->flags;

	if (in->flags & FUSE_INIT_EXT)
		known |= (uint64_t)in->flags2 << 32;
	wanted |= tree_is_own(tree) ? WANTED_BY_OWN : WANTED_BY_SHARED;
	if (!tree->options.keeper)
		wanted |= WANTED_WITHOUT_OVERLAY;
	return wanted & known;
}

int call_init(struct call *c)
{
	const struct fuse_init_in *in = &c->in.init;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_OUR_MINOR};
	uint64_t flags = init_flags(c->tree, in);

	/* A kernel with a later major version asks again in ours. */
	if (in->major > FUSE_KERNEL_VERSION)
		return call_put(c, &out, sizeof(out));
	if (in->major < FUSE_KERNEL_VERSION || in->minor < FUSE_LEAST_MINOR)
		return -EPROTO;
	out.max_readahead = MIN(in->max_readahead, FILES_DATA_BYTES);
	out.flags = (uint32_t)flags;
	out.flags2 = flags >> 32;
	out.max_background = FILES_CREDITS;
	out.congestion_threshold = FILES_CREDITS / 4 * 3;
	out.max_write = FILES_DATA_BYTES;
	out.max_pages = FILES_DATA_BYTES / PAGE_BYTES;
	out.time_gran = 1;
	pthread_mutex_lock(&c->tree->lock);
	c->tree->started = true;
	c->tree->setxattr_ext = flags & FUSE_SETXATTR_EXT;
	pthread_mutex_unlock(&c->tree->lock);
	watch_add(c->tree, c->tree->inodes.root);
	return call_put(c, &out, sizeof(out));
}

/* The inodes stay until tree_reset(): other requests may be under way. */
int call_destroy(struct call *c)
{
	(void)c;
	return 0;
}

/* No FUSE_IOCTL has a meaning for a file on the host; the flags of a file (chattr) are
 * not the guest's to set. */
int call_ioctl(struct call *c)
{
	(void)c;
	return -ENOTTY;
}
