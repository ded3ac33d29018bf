/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the generations share; nobody else's. */
#pragma once

#include <sys/stat.h>

#include "mm/generation.h"

/* Prefixes of a folder's name: see generation.h. */
#define GENERATION_NEW        ".new-"
#define GENERATION_OLD        ".old-"
#define GENERATION_PREFIX_LEN 5

/* A symbolic link to the id that was given last, whether it still leads anywhere. */
#define GENERATION_LAST     ".last"
#define GENERATION_LAST_NEW ".last.new" /* the next one, until it is renamed */

/* The note of a compaction: see generation.h. */
#define GENERATION_COMPACT            ".compact-"
#define GENERATION_COMPACT_PREFIX_LEN 9

struct generation_stamp generation_stamp_of(const struct stat *st);
bool generation_stamp_is(const struct generation_stamp *stamp, const struct stat *st);

/* Undoes what a compaction that was killed has changed; the note may have any name. */
int generation_compact_recover(int root_fd, const char *note, struct err *err);

/* An id that no generation has had on this tmpfs, greater than all that it has seen, and
 * written down there before it is returned. */
int generation_id_next(int root_fd, char ret[GENERATION_ID_SIZE], struct err *err);
