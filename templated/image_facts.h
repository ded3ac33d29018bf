/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an image: the file beside it that says what it is,
 * and whether it is. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "templated/layers.h"

/* What the .json says. */
struct image_facts {
	uint64_t bytes, layers;
	uint64_t made_ms;   /* since the epoch */
	uint64_t making_ms; /* how long it took */
	/* The file's, as it was published. Whatever changes the file changes ctime_ns,
	 * which nobody can set back. */
	uint64_t inode, mtime_ns, ctime_ns;
	char head_sha256[65]; /* of the first 4096 bytes, with the superblock in them */
};

/* "<key>.<ending>" */
#define IMAGE_NAME_SIZE (LAYERS_KEY_SIZE + 16)
void image_file_name(char ret[IMAGE_NAME_SIZE], const char *key, const char *ending);

int image_facts_write(
	int dir_fd, const char *key, const struct image_facts *facts, struct err *err);
int image_facts_read(
	int dir_fd, const char *key, struct image_facts *ret, struct err *err);
/* Whether a file is still what was published; err begins with "it". */
int image_facts_check(int fd, const struct image_facts *facts, struct err *err);
/* Fails if there is no EROFS superblock. */
int image_facts_digest(int fd, char ret[65], struct err *err);

static inline uint64_t image_time_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}
