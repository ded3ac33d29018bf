/* SPDX-License-Identifier: Apache-2.0 */
/* The lower folders of a root file system: which ones they are,
 * and whether an image can be made of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LAYERS_KEY_SIZE 65 /* 64 hex digits and the NUL */

/*
 * The identity of n folders (absolute paths, topmost first), as text: the same as long as
 * they are the same folders, by device, inode, birth time and path. What is in them does
 * not count: layers are not written to once they are a lower.
 *
 * Refused (-EINVAL, the reason names the path): what is no folder, is on an overlay,
 * whose inodes are not those of its files, or may be written to by everybody. ret_fds (n
 * places, or NULL) gets an O_PATH descriptor of each, the caller's.
 */
int layers_identify(char *const *lowers, size_t n, int *ret_fds,
	char ret_key[LAYERS_KEY_SIZE], struct err *err);
void layers_close(int *fds, size_t n);

/* What an image of a tree will take. */
struct layers_measure {
	uint64_t bytes;       /* of an image, about */
	uint64_t holes_bytes; /* of those: holes, which an image does not have */
	uint64_t inodes;
};

/* Goes through a tree until its end or until goes_on() is false (-ECANCELED). Also
 * -EFBIG where a bound of ours is passed: the reason says which. The thread's current
 * folder stays. */
int layers_look(const char *root, bool (*goes_on)(void *user), void *user,
	struct layers_measure *ret, struct err *err);
