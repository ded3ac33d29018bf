/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the generations share; nobody else's. */
#pragma once

#include "mm/generation.h"

/* Prefixes of a folder's name: see generation.h. */
#define GENERATION_NEW        ".new-"
#define GENERATION_OLD        ".old-"
#define GENERATION_PREFIX_LEN 5

/* A symbolic link to the id that was given last, whether it still leads anywhere. */
#define GENERATION_LAST     ".last"
#define GENERATION_LAST_NEW ".last.new" /* the next one, until it is renamed */

/* An id that no generation has had on this tmpfs, greater than all that it has seen, and
 * written down there before it is returned. */
int generation_id_next(int root_fd, char ret[GENERATION_ID_SIZE], struct err *err);
