/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's half of a template's compaction: see compact.h.
 *
 * The kernel clears a page before it maps it, so it is enough to map nearly all that is
 * free at one time and to let it go. A little is left alone: the kernel must not have to
 * look for victims.
 */
#include "guest/compact.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "base/io.h"
#include "base/util.h"

#define LEFT_ALONE_BYTES (6 * MiB)
#define CHUNK_BYTES      (2 * MiB)
#define CHUNKS_MAX       65536 /* 128 GiB */

static int is_asked_for(bool *ret, struct err *err)
{
	_cleanup_free_ char *line = NULL;
	char *save = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, "/proc/cmdline", 65536, &line, &len, err);

	*ret = false;
	if (r < 0)
		return r;
	for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
		*ret = *ret || strcmp(w, COMPACT_WORD) == 0;
	return 0;
}

static uint64_t free_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.freeram * info.mem_unit;
}

/* Maps chunks, linked through their first bytes, until little is free; then unmaps. */
static void clear_free_memory(void)
{
	struct chunk {
		struct chunk *next;
	} *chunks = NULL;

	for (int n = 0; n < CHUNKS_MAX && free_bytes() > LEFT_ALONE_BYTES + CHUNK_BYTES;
		n++) {
		struct chunk *c = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (c == MAP_FAILED)
			break;
		c->next = chunks;
		chunks = c;
	}
	while (chunks) {
		struct chunk *next = chunks->next;

		chunks->next = NULL; /* a page of zeros again */
		munmap(chunks, CHUNK_BYTES);
		chunks = next;
	}
}

int compact_guest(struct err *err)
{
	bool asked;
	int r = is_asked_for(&asked, err);

	if (r < 0 || !asked)
		return r;
	r = file_write_text(AT_FDCWD, "/proc/sys/vm/drop_caches", "3", err);
	if (r == 0)
		clear_free_memory();
	return r;
}
