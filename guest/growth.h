/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of all containers together, while the host may add to it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * A mark (memory.high of their group) some way before the end of the memory: at it the
 * kernel takes back what it can of their page cache, and slows them down where that is
 * not enough, until there is more memory and the mark is set anew.
 */
struct growth {
	uint64_t mark; /* bytes; 0: there is none */
	uint64_t hits; /* how often they had come to it (memory.events) */
};

/* Sets the mark by the memory that there is now, or takes it away, and watches for hits
 * by inotify_fd. Without a memory controller there is no mark. */
void growth_set_mark(struct growth *g, int inotify_fd, bool may_grow);

enum growth_need {
	GROWTH_NO_HIT, /* since the last look */
	GROWTH_CACHE,  /* page cache was taken back: no more is needed for that */
	GROWTH_MOVED,  /* memory came meanwhile, and so the mark was too low */
	GROWTH_MEMORY, /* what can't be taken back comes near the mark */
};
enum growth_need growth_look(struct growth *g);
