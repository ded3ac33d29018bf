/* SPDX-License-Identifier: Apache-2.0 */
/* Hears what others change in the folders that the guest knows. */
#pragma once

#include <stdint.h>
#include <sys/fanotify.h>

#include "base/err.h"

struct tree;
struct inode;

/*
 * How it works. One fanotify group of the process, as anybody may have it (not root):
 * marks on inodes, events with the folder's file handle and a name. Such a group learns
 * which of the events are of its own process, and nothing else about who makes them. So
 * what the guest does by this server is told from what others do: other pods' servers,
 * processes of the host.
 *
 * Each folder of a shared tree has a mark from when the guest first hears of it: whoever
 * watches it in the guest misses nothing. What is heard goes to the tree's changes
 * (files/change.h), and the guest is told that there are some.
 *
 * File systems without file handles or without an id (NFS, FUSE, an overlay before Linux
 * 6.6, a tmpfs before 5.17) can't be watched so, nor can what another machine changes.
 */
struct watch;
struct watched; /* an inode's part */

#ifndef FAN_RENAME
#define FAN_RENAME 0x10000000 /* Linux 5.17 */
#endif
/* Of names that were moved: the first one alone where the kernel has it. */
#define WATCH_MOVES (FAN_RENAME | FAN_MOVED_FROM | FAN_MOVED_TO)

/* fanotify_init(2)'s: events have handles, never descriptors. */
#define WATCH_GROUP                                                                      \
	(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID |                 \
		FAN_REPORT_DFID_NAME)

/* Once for the process, which has no CAP_SYS_ADMIN and keeps it to its end. Nothing else
 * is made before the first watch_add(), and a thread then; where the kernel has no such
 * groups nothing is heard, and the log says so. */
struct watch *watch_new(void);

/* Both without the tree's lock. The inode is in use and stays known to the guest; any but
 * a folder or the root is let be. Twice is once, and costs no lock. Of a thread that may
 * serve. */
void watch_add(struct tree *tree, struct inode *inode);
void watch_remove(struct tree *tree, struct inode *inode);
