/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a mount as containerd writes them, taken apart for mount(2). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct mount_options {
	unsigned long flags;       /* MS_… */
	unsigned long propagation; /* MS_PRIVATE, … or 0; a call of its own */
	bool loop;                 /* the source is a file to put behind a loop device */
	char *data; /* what the file system itself reads, comma-separated; never NULL */
};

/* At most this many bytes of data: what the kernel takes, a page. */
#define MOUNT_DATA_MAX 4095

/* -E2BIG if the data is longer than any file system takes even with
 * mount_options_shorten(). */
int mount_options_parse(
	char *const *options, size_t n, struct mount_options *ret, struct err *err);
void mount_options_done(struct mount_options *o);

/*
 * Overlay with many layers has more data than fits a page: the longest folder that all of
 * lowerdir, upperdir and workdir lie in is taken off them. *ret_dir is that folder, where
 * the thread that mounts must have its working directory ("" if nothing was gained); the
 * caller's to free().
 */
void mount_options_shorten(struct mount_options *o, char **ret_dir);
