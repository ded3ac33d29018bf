/* SPDX-License-Identifier: Apache-2.0 */
/* The image store: EROFS images of the layers that containers' root file systems have. */
#pragma once

#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "base/json.h"
#include "templated/layers.h"
#include "templated/settings.h"

/*
 * A folder, [images] path, with <key>.erofs and <key>.json for each image; the key is the
 * layers' identity (layers.h). An image is made as <key>.new, and is there once its .json
 * is: a crash at any time leaves an image or nothing that counts, and what does not count
 * is removed when the store is opened. What the .json says of the file (size, inode,
 * times, digest of its first block) is checked whenever it is given: one that is not what
 * was made is removed, and made again.
 *
 * Whoever has an image holds a shared flock(2) of it; one that is held is never removed.
 * Together they have at most max_bytes: those not used for longest go first.
 *
 * Asking for an image that is not there has a thread make it, one at a time, by
 * mkfs.erofs (image_jail.h). What can't be made is remembered, until templated ends,
 * prune, or, if another try may help, for IMAGES_RETRY_MS.
 *
 * Thread-safe, one lock. What is done under it is a few system calls: nobody waits for
 * the making.
 */
#define IMAGES_RETRY_MS  60000
#define IMAGES_QUEUE_MAX 64
/* What an image may have as zeros where its layers have holes. */
#define IMAGES_HOLES_MAX (1024 * MiB)

enum images_answer {
	IMAGES_GRANTED,
	/* err says why not: */
	IMAGES_DISABLED,    /* enable = false */
	IMAGES_UNAVAILABLE, /* no store, or no mkfs.erofs */
	IMAGES_REFUSED,     /* no image can be made of such layers */
	IMAGES_MAKING,      /* it is made, or will be */
	IMAGES_TOO_LARGE,   /* more than max_bytes, or too many holes */
	IMAGES_FULL,        /* those in use leave no room, or the file system */
	IMAGES_FAILED,      /* mkfs.erofs did */
	IMAGES_ANSWERS,
};

struct image_grant {
	int fd; /* as struct image has it, the caller's */
	uint64_t bytes;
	char key[LAYERS_KEY_SIZE];
};

struct images;

/* path: [images] path. Nothing is done yet. */
struct images *images_new(const char *path);
/* Ends what is being made, waits for that, and makes nothing more. Idempotent. */
void images_close(struct images *s);
/* The same first; images stay. */
void images_free(struct images *s);

/* Makes or recovers the folder, unless images are switched off. Its failure is an answer
 * to whoever asks, and each question tries again. */
int images_open(struct images *s, const struct config *c, struct err *err);

/* Removes what a smaller max_bytes leaves no room for. */
void images_trim(struct images *s, const struct config *c);

enum images_answer images_ask(struct images *s, struct settings *settings,
	char *const *lowers, size_t n, struct image_grant *ret, struct err *err);

/* Removes the images that nobody has, and forgets what could not be made. */
void images_prune(struct images *s, uint64_t *ret_count, uint64_t *ret_bytes);

/* For the status: {"enabled", "path", "count", "bytes", "max_bytes", "users",
 * "shared_bytes", "hits", "misses": {<reason>: n…, "total"}, "made", "making_ms",
 * "failures", "removed", "queued"}; "making": {"key", "layers", "ms", "bytes"} if one is;
 * "error" if there is no store. */
struct json_object *images_status(struct images *s, const struct config *c);
/* {"path", "bytes", "max_bytes", "images": [{"key", "bytes", "users", "layers", "made",
 * "making_ms", "used"}…], last used first}, "making" as above; times are seconds since
 * the epoch. Of a store with more than fit into a message those used last, and
 * "truncated": true. */
struct json_object *images_list(struct images *s, const struct config *c);
