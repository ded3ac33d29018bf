/* SPDX-License-Identifier: Apache-2.0 */
/* The holes of a memory file: its pages of zeros, which need not take any memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hole {
	uint64_t from, to; /* bytes, at page boundaries */
};

/* In the file's order, apart from each other. */
struct holes {
	struct hole *all;
	size_t n;
};

#define HOLES_INIT ((struct holes){0})

/*
 * Finds all pages of zeros, whether they take memory or not; reads those that do. While
 * others map and read the file the answer is the same: what their faults allocate is
 * zeros. 0 or a negative errno; *ret is for holes_done().
 */
int holes_find(int fd, uint64_t size, struct holes *ret);
void holes_done(struct holes *h);

/* Punches all of them, for a file that was allocated as a whole; fd is open for writing.
 * 0 or a negative errno, as the next. */
int holes_punch(int fd, const struct holes *h);

/*
 * Punches what of them takes memory again. Whoever has the file mapped privately reads
 * zeros there as before, and keeps the pages that he has written to.
 */
int holes_punch_filled(int fd, const struct holes *h);
