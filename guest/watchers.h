/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches what in one mount of the guest, by inotify. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Beyond, everything counts as watched. */
#define WATCHERS_MAX 65536u

/* FUSE's file handle, FILEID_INO64_GEN of linux/exportfs.h: of the node's high half, its
 * low half and its generation. */
#define WATCHERS_HANDLE_TYPE  0x81
#define WATCHERS_HANDLE_WORDS 3

struct watcher {
	uint64_t node; /* FUSE's number of the file or folder */
	uint32_t mask; /* inotify's, of all who watch it together */
};

struct watchers {
	struct watcher *item; /* by node */
	size_t n;
	bool all; /* there are too many to know, or some could not be read */
};

/*
 * The watches of all processes on the FUSE file system `dev`, from /proc as it is mounted
 * at proc_fd. Who begins to watch meanwhile may be missing.
 */
int watchers_read(int proc_fd, dev_t dev, struct watchers *ret, struct err *err);
void watchers_done(struct watchers *watchers);
bool watchers_none(const struct watchers *watchers);
/* The mask of a node, 0 if nobody watches it. */
uint32_t watchers_mask(const struct watchers *watchers, uint64_t node);

/* One line of an inotify's fdinfo; false: no watch on a FUSE file system. */
bool watchers_parse_line(const char *line, dev_t *ret_dev, struct watcher *ret);
