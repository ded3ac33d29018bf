/* SPDX-License-Identifier: Apache-2.0 */
/* One request on its way through the server, and the tree that it is for. */
#pragma once

#include <pthread.h>
#include <sys/stat.h>

#include "base/util.h"
#include "files/change.h"
#include "files/fuse.h"
#include "files/handle.h"
#include "files/inode.h"
#include "files/known.h"
#include "files/replay.h"
#include "files/room.h"
#include "files/stale.h"
#include "files/tree.h"
#include "files/wait.h"

struct tree {
	struct tree_options options;
	pthread_mutex_t lock; /* of all that follows; held for moments */
	bool started;         /* FUSE_INIT was answered */
	bool setxattr_ext;    /* struct fuse_setxattr_in has its second half */
	struct inodes inodes;
	struct handles handles;
	struct stales stales;
	struct knowns knowns;
	struct changes heard; /* of others; has its own lock */
	struct replay replay; /* has its own lock */
	struct waits waits;
	struct lock_wait *lock_waits;
	struct room *room, own_room;
	bool is_local; /* a file system of this machine's */
	bool frozen;
	unsigned int changes; /* calls that may change something, files open to write */
	pthread_cond_t unchanged; /* there are none any more */
};

/* What a request has after its header. */
union call_in {
	struct fuse_forget_in forget;
	struct fuse_batch_forget_in batch_forget;
	struct fuse_getattr_in getattr;
	struct fuse_setattr_in setattr;
	struct fuse_statx_in statx;
	struct fuse_mknod_in mknod;
	struct fuse_mkdir_in mkdir;
	struct fuse_rename_in rename;
	struct fuse_rename2_in rename2;
	struct fuse_link_in link;
	struct fuse_open_in open;
	struct fuse_create_in create;
	struct fuse_read_in read;
	struct fuse_write_in write;
	struct fuse_release_in release;
	struct fuse_flush_in flush;
	struct fuse_fsync_in fsync;
	struct fuse_setxattr_in setxattr;
	struct fuse_getxattr_in getxattr;
	struct fuse_lk_in lk;
	struct fuse_interrupt_in interrupt;
	struct fuse_fallocate_in fallocate;
	struct fuse_lseek_in lseek;
	struct fuse_copy_file_range_in copy;
	struct fuse_ioctl_in ioctl;
	struct fuse_init_in init;
	uint64_t fh; /* of those that begin with it */
};

/* A request whose shape is right. */
struct call {
	struct tree *tree;
	struct fuse_in_header header;
	union call_in in; /* zeros behind what the request has */
	const char *names[2];
	const uint8_t *data; /* the guest may change a FUSE_WRITE's at any time */
	size_t data_len;
	struct inode *inode;   /* of header.nodeid, where the request is for one */
	struct handle *handle; /* of in.fh, where the request has one there */
	struct tree_answer *answer;
	bool at_once;    /* -EAGAIN rather than to wait */
	bool by_overlay; /* of the guest's overlay itself, not of a process */
	bool by_replay;  /* of the agent, which does again what others did */
	bool made;       /* something was done that must not be done twice */
	bool changes;    /* it counts among the tree's, until it is answered */
	size_t out_len;  /* bytes behind the answer's header */
};

/* A handler: 0 or the negative errno that is the answer. */
int call_lookup(struct call *c);
int call_forget(struct call *c);
int call_batch_forget(struct call *c);
int call_getattr(struct call *c);
int call_setattr(struct call *c);
int call_statx(struct call *c);
int call_statfs(struct call *c);
int call_readlink(struct call *c);
int call_symlink(struct call *c);
int call_mknod(struct call *c);
int call_mkdir(struct call *c);
int call_unlink(struct call *c);
int call_rmdir(struct call *c);
int call_rename(struct call *c);
int call_rename2(struct call *c);
int call_link(struct call *c);
int call_create(struct call *c);
int call_tmpfile(struct call *c);
int call_open(struct call *c);
int call_read(struct call *c);
int call_write(struct call *c);
int call_release(struct call *c);
int call_fsync(struct call *c);
int call_flush(struct call *c);
int call_fallocate(struct call *c);
int call_lseek(struct call *c);
int call_copy_file_range(struct call *c);
int call_syncfs(struct call *c);
int call_opendir(struct call *c);
int call_readdir(struct call *c);
int call_readdirplus(struct call *c);
int call_setxattr(struct call *c);
int call_getxattr(struct call *c);
int call_listxattr(struct call *c);
int call_removexattr(struct call *c);
int call_getlk(struct call *c);
int call_setlk(struct call *c);
int call_setlkw(struct call *c);
int call_interrupt(struct call *c);
int call_init(struct call *c);
int call_destroy(struct call *c);
int call_ioctl(struct call *c);

/* ---- what handlers share ---- */

/* Room for size bytes behind the answer's header, of any alignment; NULL: there is no
 * memory. At most once a call. */
uint8_t *call_room(struct call *c, size_t size);
/* The answer is this. For what fits the shortest answer. */
int call_put(struct call *c, const void *data, size_t size);

/* Before anything is changed: -EROFS where that must not be. */
int call_check_writable(struct call *c);
/* It was served, and is to be answered. */
void call_end_changes(struct call *c);
/* One of tree->changes is over. */
void tree_end_change(struct tree *tree);
/* caller_become() for who asks. */
int call_become(const struct call *c, mode_t mask);

bool tree_is_own(const struct tree *tree);
/* statx(2) of a descriptor of any kind, with birth time and mount. */
int file_stat(int fd, struct statx *ret);
/* An O_PATH descriptor of a name in a folder, never by a symbolic link. */
int file_open_name(int folder_fd, const char *name);
/* A held regular file, opened anew; a negative errno. */
int file_open_again(int fd, int flags);

void attr_fill(const struct tree *tree, const struct statx *st, struct fuse_attr *ret);
void entry_fill(const struct tree *tree, uint64_t nodeid, const struct statx *st,
	struct fuse_entry_out *ret);
/* Looks up a name in the call's folder: one lookup more of the inode is counted. */
int entry_look_up(struct call *c, const char *name, struct fuse_entry_out *ret);
/* An O_PATH descriptor of what is to be named, the same; taken. Of a folder that others
 * write to, changes are heard of from then on. */
int entry_enter(struct tree *tree, int fd, struct fuse_entry_out *ret);
/* The host's flags for an open of the guest's. */
int open_flags(uint32_t guest);
/* A handle for an open file or folder (fd is taken), and the answer for it. */
int open_fill(struct call *c, struct inode *inode, int fd, struct fuse_open_out *ret);
