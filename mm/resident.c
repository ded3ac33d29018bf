/* SPDX-License-Identifier: Apache-2.0 */
/* A generation's resident pages: see resident.h. */
#include "mm/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "mm/generation.h"

/*
 * Data ranges only: reading a hole of a tmpfs file through a mapping allocates a page for
 * it. MADV_POPULATE_READ (Linux 5.14) answers -EFAULT where a file was cut meanwhile; a
 * read of ours would be a SIGBUS.
 */
static int populate(int fd, const struct resident *r, size_t *ret_bytes)
{
	off_t end = 0;

	*ret_bytes = 0;
	while ((size_t)end < r->bytes) {
		off_t data = lseek(fd, end, SEEK_DATA);
		size_t len;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		end = lseek(fd, data, SEEK_HOLE);
		if (end < 0)
			return -errno;
		len = MIN((size_t)end, r->bytes) - (size_t)data;
		if (madvise((char *)r->map + data, len, MADV_POPULATE_READ) < 0)
			return -errno;
		*ret_bytes += len;
	}
	return 0;
}

static int map(int fd, struct resident *ret, size_t *ret_bytes)
{
	struct resident r;
	struct stat st;
	int code;

	if (fstat(fd, &st) < 0)
		return -errno;
	r.bytes = (size_t)st.st_size;
	/* By a descriptor that is not open for writing: mprotect(2) can't make it
	 * writable, either. */
	r.map = mmap(NULL, r.bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (r.map == MAP_FAILED)
		return -errno;
	/* QEMU is forked off templated, and has no use for it. */
	madvise(r.map, r.bytes, MADV_DONTFORK);
	madvise(r.map, r.bytes, MADV_DONTDUMP);
	code = populate(fd, &r, ret_bytes);
	if (code < 0)
		munmap(r.map, r.bytes);
	else
		*ret = r;
	return code;
}

int resident_map(int root_fd, const char *id, struct resident *ret, size_t *ret_bytes,
	struct err *err)
{
	char path[GENERATION_ID_SIZE + sizeof(GENERATION_MEMORY) + 1];
	_cleanup_close_ int fd = -1;
	int r;

	snprintf(path, sizeof(path), "%s/" GENERATION_MEMORY, id);
	fd = openat(root_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -errno : map(fd, ret, ret_bytes);
	return r < 0 ? err_sys(err, r, "cannot map the memory of generation %s", id) : 0;
}

void resident_unmap(struct resident *r)
{
	if (r->map)
		munmap(r->map, r->bytes);
	*r = (struct resident){0};
}
