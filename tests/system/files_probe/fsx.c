/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random changes of one file by every call that can make them, against a buffer in
 * memory.
 *
 * Each read, by a call or through a mapping, is compared at once; the whole file after
 * each close and at the end. A difference stops it: where, what, and the last things that
 * were done.
 */
#include "tests/system/files_probe/probe.h"

#include <stdarg.h>
#include <sys/mman.h>

#define LARGEST (256 * 1024)
#define LOGGED  20

struct fsx {
	const char *path;
	int fd;
	uint64_t random;
	size_t size;
	unsigned char right[LARGEST], seen[LARGEST];
	char log[LOGGED][96];
	unsigned long step;
};

/* What is about to be done. */
static void fsx_log(struct fsx *fsx, const char *what, size_t at, size_t size)
{
	snprintf(fsx->log[fsx->step % LOGGED], sizeof(fsx->log[0]),
		"%lu: %s at %zu, %zu bytes, of %zu", fsx->step, what, at, size,
		fsx->size);
}

__attribute__((format(printf, 2, 3))) static int fsx_failed(
	const struct fsx *fsx, const char *format, ...)
{
	unsigned long first = fsx->step >= LOGGED ? fsx->step - LOGGED + 1 : 0;
	va_list list;

	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	for (unsigned long i = first; i <= fsx->step; i++)
		printf("  %s\n", fsx->log[i % LOGGED]);
	return -1;
}

static int fsx_errno(const struct fsx *fsx, const char *call)
{
	return fsx_failed(fsx, "%s: %s", call, strerrorname_np(errno));
}

static int fsx_compare(
	const struct fsx *fsx, const unsigned char *seen, size_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (seen[i] != fsx->right[at + i])
			return fsx_failed(fsx, "different at %zu: %02x, right is %02x",
				at + i, seen[i], fsx->right[at + i]);
	return 0;
}

/* A place and a size within a limit; often on the edges of pages, where mistakes live. */
static void fsx_range(struct fsx *fsx, size_t limit, size_t *at, size_t *size)
{
	*at = draw(&fsx->random) % limit;
	*size = 1 + draw(&fsx->random) % (draw(&fsx->random) % 4 ? 5000 : 60000);
	if (draw(&fsx->random) % 4 == 0)
		*at -= *at % PAGE;
	if (draw(&fsx->random) % 4 == 0)
		*size += PAGE - (*at + *size) % PAGE;
	if (*at + *size > limit)
		*size = limit - *at;
}

/* New bytes for a range of the buffer; what lies between the end and it becomes zeros. */
static void fsx_change(struct fsx *fsx, size_t at, size_t size)
{
	if (at > fsx->size)
		memset(fsx->right + fsx->size, 0, at - fsx->size);
	for (size_t i = 0; i < size; i++)
		fsx->right[at + i] = draw(&fsx->random);
	if (at + size > fsx->size)
		fsx->size = at + size;
}

static int fsx_read(struct fsx *fsx)
{
	size_t at, size, there;
	ssize_t n;

	fsx_range(fsx, LARGEST, &at, &size);
	fsx_log(fsx, "read", at, size);
	there = at >= fsx->size ? 0 : at + size > fsx->size ? fsx->size - at : size;
	n = pread(fsx->fd, fsx->seen, size, at);
	if (n < 0)
		return fsx_errno(fsx, "pread");
	if ((size_t)n != there)
		return fsx_failed(fsx, "read %zd bytes, right is %zu", n, there);
	return fsx_compare(fsx, fsx->seen, at, n);
}

static int fsx_write(struct fsx *fsx)
{
	size_t at, size;
	ssize_t n;

	fsx_range(fsx, LARGEST, &at, &size);
	fsx_log(fsx, "write", at, size);
	fsx_change(fsx, at, size);
	n = pwrite(fsx->fd, fsx->right + at, size, at);
	if (n < 0)
		return fsx_errno(fsx, "pwrite");
	if ((size_t)n != size)
		return fsx_failed(fsx, "wrote %zd bytes of %zu", n, size);
	return 0;
}

static int fsx_truncate(struct fsx *fsx)
{
	size_t size = draw(&fsx->random) % LARGEST;

	fsx_log(fsx, "truncate", size, 0);
	if (size > fsx->size)
		memset(fsx->right + fsx->size, 0, size - fsx->size);
	fsx->size = size;
	return ftruncate(fsx->fd, size) < 0 ? fsx_errno(fsx, "ftruncate") : 0;
}

/* The mapping of what a range touches; NULL if it failed, which was told. */
static unsigned char *fsx_map(struct fsx *fsx, size_t at, size_t size, int prot)
{
	unsigned char *map =
		mmap(NULL, size + at % PAGE, prot, MAP_SHARED, fsx->fd, at - at % PAGE);

	if (map != MAP_FAILED)
		return map;
	fsx_errno(fsx, "mmap");
	return NULL;
}

static int fsx_map_read(struct fsx *fsx)
{
	unsigned char *map;
	size_t at, size;
	int result;

	if (fsx->size == 0)
		return 0;
	fsx_range(fsx, fsx->size, &at, &size);
	fsx_log(fsx, "map and read", at, size);
	map = fsx_map(fsx, at, size, PROT_READ);
	if (!map)
		return -1;
	result = fsx_compare(fsx, map + at % PAGE, at, size);
	munmap(map, size + at % PAGE);
	return result;
}

static int fsx_map_write(struct fsx *fsx)
{
	unsigned char *map;
	size_t at, size;
	int result = 0;

	if (fsx->size == 0)
		return 0;
	fsx_range(fsx, fsx->size, &at, &size);
	fsx_log(fsx, "map and store", at, size);
	map = fsx_map(fsx, at, size, PROT_READ | PROT_WRITE);
	if (!map)
		return -1;
	fsx_change(fsx, at, size);
	memcpy(map + at % PAGE, fsx->right + at, size);
	if (draw(&fsx->random) % 4 == 0 && msync(map, size + at % PAGE, MS_SYNC) < 0)
		result = fsx_errno(fsx, "msync");
	munmap(map, size + at % PAGE);
	return result;
}

static int fsx_punch(struct fsx *fsx)
{
	size_t at, size;

	fsx_range(fsx, LARGEST, &at, &size);
	fsx_log(fsx, "punch", at, size);
	if (at < fsx->size)
		memset(fsx->right + at, 0, at + size > fsx->size ? fsx->size - at : size);
	return fallocate(fsx->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size) <
			       0
		       ? fsx_errno(fsx, "fallocate")
		       : 0;
}

static int fsx_allocate(struct fsx *fsx)
{
	size_t at, size;

	fsx_range(fsx, LARGEST, &at, &size);
	fsx_log(fsx, "allocate", at, size);
	if (at + size > fsx->size) {
		memset(fsx->right + fsx->size, 0, at + size - fsx->size);
		fsx->size = at + size;
	}
	return fallocate(fsx->fd, 0, at, size) < 0 ? fsx_errno(fsx, "fallocate") : 0;
}

/* From one half of the largest file to the other:
 * the ranges of one file may not overlap. */
static int fsx_copy(struct fsx *fsx)
{
	size_t at, size, half = LARGEST / 2;
	loff_t from, to;

	fsx_range(fsx, half, &at, &size);
	if (fsx->size < at + size)
		return 0;
	from = at;
	to = half + draw(&fsx->random) % (half - size + 1);
	fsx_log(fsx, "copy", at, size);
	if ((size_t)to > fsx->size)
		memset(fsx->right + fsx->size, 0, to - fsx->size);
	memmove(fsx->right + to, fsx->right + at, size);
	if (to + size > fsx->size)
		fsx->size = to + size;
	while (size > 0) {
		ssize_t n = copy_file_range(fsx->fd, &from, fsx->fd, &to, size, 0);

		if (n <= 0)
			return n < 0 ? fsx_errno(fsx, "copy_file_range")
				     : fsx_failed(fsx, "copied nothing");
		size -= n;
	}
	return 0;
}

static int fsx_whole(struct fsx *fsx)
{
	ssize_t n = pread(fsx->fd, fsx->seen, LARGEST, 0);

	if (n < 0)
		return fsx_errno(fsx, "pread");
	if ((size_t)n != fsx->size)
		return fsx_failed(fsx, "%zd bytes in all, right is %zu", n, fsx->size);
	return fsx_compare(fsx, fsx->seen, 0, n);
}

static int fsx_reopen(struct fsx *fsx)
{
	struct stat st;

	fsx_log(fsx, "close and open", 0, 0);
	close(fsx->fd);
	if (stat(fsx->path, &st) < 0)
		return fsx_errno(fsx, "stat");
	if ((size_t)st.st_size != fsx->size)
		return fsx_failed(fsx, "size is %lld, right is %zu",
			(long long)st.st_size, fsx->size);
	fsx->fd = open(fsx->path, O_RDWR | O_CLOEXEC);
	return fsx->fd < 0 ? fsx_errno(fsx, "open") : fsx_whole(fsx);
}

static int fsx_sync(struct fsx *fsx)
{
	fsx_log(fsx, "fsync and drop", 0, 0);
	if (fsync(fsx->fd) < 0)
		return fsx_errno(fsx, "fsync");
	posix_fadvise(fsx->fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

static int fsx_step(struct fsx *fsx)
{
	static int (*const often[])(struct fsx * fsx) = {
		fsx_read, fsx_write, fsx_map_read, fsx_map_write};
	static int (*const sometimes[])(struct fsx * fsx) = {
		fsx_truncate, fsx_punch, fsx_allocate, fsx_copy};

	switch (draw(&fsx->random) % 64) {
	case 0:
		return fsx_reopen(fsx);
	case 1:
		return fsx_sync(fsx);
	case 2 ... 15:
		return sometimes[draw(&fsx->random) % ARRAY_SIZE(sometimes)](fsx);
	}
	return often[draw(&fsx->random) % ARRAY_SIZE(often)](fsx);
}

/* DIR SEED OPS */
int mode_fsx(char **args)
{
	static struct fsx fsx;
	unsigned long ops = strtoul(args[2], NULL, 10);

	must("chdir", chdir(args[0]));
	fsx.path = "fsx";
	fsx.random = strtoull(args[1], NULL, 10) * 2 + 1;
	fsx.fd = must(
		"open", open(fsx.path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
	for (; fsx.step < ops; fsx.step++) {
		snprintf(fsx.log[fsx.step % LOGGED], sizeof(fsx.log[0]), "%lu: nothing",
			fsx.step);
		if (fsx_step(&fsx) < 0)
			return 1;
	}
	fsx_log(&fsx, "the end", 0, 0);
	if (fsx_reopen(&fsx) < 0)
		return 1;
	unlink(fsx.path);
	printf("ok %lu\n", ops);
	return 0;
}
