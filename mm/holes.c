/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holes of a memory file: see holes.h.
 *
 * Punching under the eyes of clones is safe for what the kernel does: shmem_fallocate()
 * takes the range out of their page tables by unmap_mapping_range(…, even_cows = 0),
 * which leaves the copies that private mappings have made ("hole-punching leaves COWed
 * pages", mm/shmem.c), then drops the file's own pages. A fault in the range waits for
 * the end of that and gets a new page of zeros; KVM's and other secondary page tables are
 * told by their notifiers.
 */
#include "mm/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define PAGE_BYTES 4096
#define SCAN_BYTES MiB

/* ---- finding ---- */

static bool is_zero(const unsigned char *page)
{
	/* A page equals itself shifted by one byte, and its first byte is 0. */
	return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

static void holes_add(struct holes *h, uint64_t from, uint64_t to)
{
	if (from == to)
		return;
	if (h->n > 0 && h->all[h->n - 1].to == from) {
		h->all[h->n - 1].to = to;
		return;
	}
	/* Grown in powers of two. */
	if ((h->n & (h->n - 1)) == 0)
		h->all = xreallocarray(h->all, MAX(2 * h->n, 1), sizeof(*h->all));
	h->all[h->n++] = (struct hole){from, to};
}

/* The zeros of a part that takes memory. read(2), not mmap(2): nothing that happens to
 * the file can become a SIGBUS here. */
static int find_in_data(
	int fd, uint64_t from, uint64_t to, unsigned char *block, struct holes *h)
{
	while (from < to) {
		size_t len = MIN(to - from, SCAN_BYTES);
		ssize_t n = pread(fd, block, len, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || n % PAGE_BYTES)
			return n < 0 ? -errno : -EIO;
		for (size_t i = 0; i < (size_t)n; i += PAGE_BYTES)
			if (is_zero(block + i))
				holes_add(h, from + i, from + i + PAGE_BYTES);
		from += (uint64_t)n;
	}
	return 0;
}

/* tmpfs reports pages that were allocated but never written as holes. */
static int find_all(int fd, uint64_t size, unsigned char *block, struct holes *h)
{
	uint64_t done = 0;

	while (done < size) {
		off_t data = lseek(fd, (off_t)done, SEEK_DATA), hole;
		int r;

		if (data < 0 && errno != ENXIO)
			return -errno;
		if (data < 0) {
			holes_add(h, done, size);
			return 0;
		}
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		holes_add(h, done, (uint64_t)data);
		r = find_in_data(fd, (uint64_t)data, (uint64_t)hole, block, h);
		if (r < 0)
			return r;
		done = (uint64_t)hole;
	}
	return 0;
}

int holes_find(int fd, uint64_t size, struct holes *ret)
{
	_cleanup_free_ unsigned char *block = xmalloc(SCAN_BYTES);
	struct holes h = HOLES_INIT;
	int r = find_all(fd, size, block, &h);

	if (r < 0)
		holes_done(&h);
	else
		*ret = h;
	return r;
}

void holes_done(struct holes *h)
{
	free(h->all);
	*h = HOLES_INIT;
}

/* ---- punching ---- */

static int holes_punch_range(int fd, uint64_t from, uint64_t to)
{
	int r;

	do
		r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
			(off_t)(to - from));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int holes_punch(int fd, const struct holes *h)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < h->n; i++)
		r = holes_punch_range(fd, h->all[i].from, h->all[i].to);
	return r;
}

/* One call for each hole with anything in it: a call looks at every mapping of the file,
 * whether there is anything to take out of it or not. */
int holes_punch_filled(int fd, const struct holes *h)
{
	uint64_t data = 0; /* there is none between the last hole and it */

	for (size_t i = 0; i < h->n; i++) {
		const struct hole *hole = &h->all[i];
		int r;

		if (data < hole->from) {
			off_t found = lseek(fd, (off_t)hole->from, SEEK_DATA);

			if (found < 0)
				return errno == ENXIO ? 0 : -errno;
			data = (uint64_t)found;
		}
		if (data >= hole->to)
			continue;
		r = holes_punch_range(fd, data, hole->to);
		if (r < 0)
			return r;
	}
	return 0;
}
