/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol, client side: asking templated for an
 * image of a root file system's layers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"

/* How long templated may take to answer: it makes nobody wait for an image. */
#define IMAGE_ASK_MS 2000

#define IMAGE_KEY_SIZE 65 /* 64 hex digits and the NUL */

enum {
	IMAGE_READY = 0,
	IMAGE_NONE = 1, /* err says why */
};

/* An EROFS image, uncompressed and without inline data, its size a multiple of 2 MiB. */
struct image {
	/* O_RDONLY, opened through a read-only mount. Its open file description holds a
	 * shared flock(2): as long as there is a descriptor of it, the image is in use
	 * and stays. */
	int fd;
	uint64_t bytes;
	char key[IMAGE_KEY_SIZE];
};

#define IMAGE_INIT ((struct image){.fd = -1})

/*
 * Asks for the image of the lower folders of an overlay, absolute paths, topmost first,
 * as in lowerdir=. IMAGE_READY with *ret, for image_release(); or IMAGE_NONE with the
 * reason: it is being made (asking for one that is not there has it made behind the
 * answer), the layers are too large or such that no image can be made, images are
 * switched off, templated is not there. Negative errnos are for what is broken on this
 * side.
 */
int image_ask(const struct config *c, char *const *lowers, size_t n, struct image *ret,
	struct err *err);
void image_release(struct image *image); /* closes; idempotent */
