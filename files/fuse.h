/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE's messages: <linux/fuse.h>, and what Debian 12's (7.38) does not have yet. */
#pragma once

#include <linux/fuse.h>

/* The newest version whose messages we know. A kernel that knows more keeps to it. */
#define FUSE_OUR_MINOR 39
/* The oldest one: Linux 5.4's. */
#define FUSE_LEAST_MINOR 31

/* 7.39, from include/uapi/linux/fuse.h of Linux 6.6. */
#if FUSE_KERNEL_MINOR_VERSION < 39
#define FUSE_STATX 52

struct fuse_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t __reserved;
};

struct fuse_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t __spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_sx_time atime;
	struct fuse_sx_time btime;
	struct fuse_sx_time ctime;
	struct fuse_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t __spare2[14];
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};
#endif

_Static_assert(sizeof(struct fuse_in_header) == 40, "the wire's layout");
_Static_assert(sizeof(struct fuse_statx_out) == 288, "the wire's layout");
