/* SPDX-License-Identifier: Apache-2.0 */
/* A generation's resident pages, mapped read-only for as long as it is kept. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/*
 * Why: smaps counts a page of a tmpfs file that exactly one process maps as that
 * process's Private memory. With a single clone, all that it reads of its template would
 * look like its own, and that of two like nobody's. templated maps the pages as well, so
 * they are Shared in every clone, whoever else there is.
 *
 * The mapping keeps the memory alive like a clone's: undo it before or with the removal
 * of the generation.
 */
struct resident {
	void *map; /* NULL: nothing is mapped */
	size_t bytes;
};

/* root_fd: tmpfs_open()'s, the read-only one. *ret_bytes: what was populated. */
int resident_map(int root_fd, const char *id, struct resident *ret, size_t *ret_bytes,
	struct err *err);
void resident_unmap(struct resident *r);
