/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of contents: truncate, append, direct, sparse, fallocate, copies, sync. */
#include "tests/system/files_probe/probe.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define GiB ((off_t)1 << 30)

static int open_new(const char *path)
{
	return must(path, open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644));
}

/* A hash of all that the file has. */
static void check_content(const char *name, int fd)
{
	static char bytes[65536];
	uint64_t hash = HASH_INIT;
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, bytes, sizeof(bytes), at)) > 0) {
		hash = hash_bytes(hash, bytes, n);
		at += n;
	}
	if (n < 0)
		check(name, -1);
	else
		check_hash(name, at, hash);
}

static void fill(int fd, size_t size, uint64_t seed)
{
	unsigned char bytes[PAGE];

	for (size_t at = 0; at < size; at += sizeof(bytes)) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = draw(&seed);
		must("write", pwrite(fd, bytes, size - at < PAGE ? size - at : PAGE, at));
	}
}

void section_truncate(void)
{
	int fd = open_new("file");

	fill(fd, 10000, 1);
	check("shorter", truncate("file", 5000));
	check_content("content", fd);
	check("longer", ftruncate(fd, 9000));
	check_content("zeros follow", fd);
	check("to nothing", ftruncate(fd, 0));
	check_number("size", file_size("file"));
	check_number("write beyond the end", pwrite(fd, "x", 1, 5000));
	check_content("zeros before", fd);
	check("negative", ftruncate(fd, -1));
	check("negative by path", truncate("file", -1));
	check("beyond the largest", ftruncate(fd, LLONG_MAX));
	check("what is not there", truncate("gone", 0));
	check("a folder", truncate(".", 0));
	check("below a file", truncate("file/x", 0));
	check("a FIFO", mkfifo("fifo", 0600) || truncate("fifo", 0) ? -1 : 0);
	check("an empty path", truncate("", 0));
	close(fd);
	if (user_begin(USER)) {
		check("user: another's", truncate("file", 0));
		user_end();
	}
}

void section_append(void)
{
	int one = open_new("file"), two = open("file", O_WRONLY | O_APPEND | O_CLOEXEC);

	check_number("write", write(one, "0123456789", 10));
	check_number("append", write(two, "abc", 3));
	check_number("offset", lseek(two, 0, SEEK_CUR));
	check_number("pwrite appends, too", pwrite(two, "XYZ", 3, 0));
	check_text("text", file_text("file"));
	check("F_SETFL", fcntl(one, F_SETFL, O_APPEND));
	check_number("append", write(one, "!", 1));
	check_text("text", file_text("file"));
	check("shorter", ftruncate(one, 2));
	check_number("append", write(two, "?", 1));
	check_text("text", file_text("file"));
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			for (int k = 0; k < 200; k++)
				must("append", write(two, "a line of text\n", 15));
			_exit(0);
		}
	for (int i = 0; i < 4; i++)
		wait(NULL);
	check_number("four that append at once", file_size("file"));
	close(one);
	close(two);
}

/* What is written beside the page cache is seen through it, and the other way round. */
void section_direct(void)
{
	char *buffer = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int cached = open_new("file"), direct;

	fill(cached, 4 * PAGE, 2);
	direct = open("file", O_RDWR | O_DIRECT | O_CLOEXEC);
	check("open", direct);
	check_number("read what was written", pread(direct, buffer, 4 * PAGE, 0));
	check_hash("is the same", 4 * PAGE, hash_bytes(HASH_INIT, buffer, 4 * PAGE));
	check_content("as cached", cached);
	memset(buffer, 'D', 4 * PAGE);
	check_number("write", pwrite(direct, buffer, 2 * PAGE, PAGE));
	check_content("is seen", cached);
	check_number("write longer", pwrite(direct, buffer, 4 * PAGE, 8 * PAGE));
	check_content("is seen", cached);
	check_number("read beyond the end", pread(direct, buffer, PAGE, 100 * PAGE));
	check_number("cached write", pwrite(cached, "cached", 6, PAGE));
	check_number("direct read", pread(direct, buffer, PAGE, PAGE));
	check_true("is seen", memcmp(buffer, "cachedDDD", 9) == 0);
	close(direct);
	close(cached);
}

void section_sparse(void)
{
	struct stat st = {0};
	int fd = open_new("file");

	check_number("write at 3 GiB", pwrite(fd, "end", 3, 3 * GiB));
	check_number("size", file_size("file"));
	check("fsync", fsync(fd));
	check("fstat", fstat(fd, &st));
	check_true("takes few blocks", st.st_blocks > 0 && st.st_blocks < 1000);
	check_number("read the hole", pread(fd, (char[8]){0}, 8, 2 * GiB + 12345));
	check_number("read the end", pread(fd, (char[8]){0}, 8, 3 * GiB));
	check_true(
		"SEEK_DATA finds it", lseek(fd, 0, SEEK_DATA) / PAGE == 3 * GiB / PAGE);
	check_number("SEEK_HOLE at once", lseek(fd, 0, SEEK_HOLE));
	check_number("SEEK_HOLE at the end", lseek(fd, 3 * GiB, SEEK_HOLE));
	check_number("SEEK_END", lseek(fd, 0, SEEK_END));
	check_number("SEEK_DATA beyond the end", lseek(fd, 4 * GiB, SEEK_DATA));
	check_number("SEEK_HOLE beyond the end", lseek(fd, 4 * GiB, SEEK_HOLE));
	check_number("before the start", lseek(fd, -1, SEEK_SET));
	check_number("write at the start", pwrite(fd, "start", 5, 0));
	check_number("SEEK_DATA", lseek(fd, 0, SEEK_DATA));
	check_number("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE));
	check("cut to 2 GiB", ftruncate(fd, 2 * GiB));
	check_number("SEEK_DATA after the start", lseek(fd, PAGE, SEEK_DATA));
	close(fd);
	fd = open_new("blocks");
	fill(fd, 64 * 1024, 3);
	check("fsync", fsync(fd));
	check("fstat", fstat(fd, &st));
	check_number("blocks of 64 KiB", st.st_blocks);
	close(fd);
}

void section_fallocate(void)
{
	struct stat st = {0};
	int fd = open_new("file"), reader, ends[2];

	check("longer", fallocate(fd, 0, 0, 100000));
	check_content("zeros", fd);
	check("KEEP_SIZE", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
	check_number("size", file_size("file"));
	check("fstat", fstat(fd, &st));
	check_true("takes blocks", st.st_blocks >= 200000 / 512);
	fill(fd, 100000, 4);
	check("PUNCH_HOLE",
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 30000));
	check_content("has a hole", fd);
	check_number("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE));
	check_number("SEEK_DATA", lseek(fd, 2 * PAGE, SEEK_DATA));
	check("PUNCH_HOLE at the end",
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 90000, 90000));
	check_content("keeps its size", fd);
	check("PUNCH_HOLE without KEEP_SIZE",
		fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	check("no length", fallocate(fd, 0, 0, 0));
	check("negative", fallocate(fd, 0, -1, 10));
	check("posix_fallocate", (errno = posix_fallocate(fd, 0, 300000)) ? -1 : 0);
	check_content("is longer", fd);
	reader = open("file", O_RDONLY | O_CLOEXEC);
	check("of what is open for reading", fallocate(reader, 0, 0, 10));
	close(reader);
	must("pipe", pipe(ends));
	check("of a pipe", fallocate(ends[1], 0, 0, 10));
	close(fd);
	fd = open(".", O_RDONLY);
	check("of a folder", fallocate(fd, 0, 0, 10));
	close(fd);
}

static void copy_range(int from, int to)
{
	off_t in = 1000, out = 3000;

	check_number("copy_file_range", copy_file_range(from, &in, to, &out, 20000, 0));
	check_number("offset", in);
	check_number("offset", out);
	check_content("copy", to);
	in = 90000;
	check_number("to the end", copy_file_range(from, &in, to, &out, 20000, 0));
	check_number("beyond the end", copy_file_range(from, &in, to, &out, 20000, 0));
	check_content("copy", to);
	in = 0, out = 50000;
	check_number("within one file", copy_file_range(from, &in, from, &out, 30000, 0));
	check_content("content", from);
	in = 0, out = 100;
	check_number("onto itself", copy_file_range(from, &in, from, &out, 30000, 0));
	check_number("flags", copy_file_range(from, &in, to, &out, 10, 1));
}

void section_copy(void)
{
	int from = open_new("from"), to = open_new("to"), ends[2];
	char bytes[PAGE];
	struct iovec vector[3] = {{bytes, 10}, {bytes + 10, 1}, {bytes + 11, 1000}};
	off_t at = 500;

	fill(from, 100000, 5);
	copy_range(from, to);
	must("ftruncate", ftruncate(to, 0));
	must("lseek", lseek(to, 0, SEEK_SET));
	check_number("sendfile", sendfile(to, from, &at, 70000));
	check_number("offset", at);
	check_content("copy", to);
	must("pipe", pipe(ends));
	at = 3;
	check_number("splice from it", splice(from, &at, ends[1], NULL, 5000, 0));
	at = 1;
	check_number("splice to it", splice(ends[0], NULL, to, &at, 5000, 0));
	check_content("copy", to);
	check_number("readv", preadv(from, vector, 3, 77));
	check_number("writev", pwritev(to, vector, 3, 99990));
	check_content("copy", to);
	close(from);
	close(to);
}

void section_sync(void)
{
	int fd = open_new("file"), folder = open(".", O_RDONLY | O_DIRECTORY);

	check_number("write", write(fd, "x", 1));
	check("fsync", fsync(fd));
	check("fdatasync", fdatasync(fd));
	check("sync_file_range", sync_file_range(fd, 0, 1, SYNC_FILE_RANGE_WRITE));
	check("syncfs", syncfs(fd));
	check("fsync of a folder", fsync(folder));
	check("POSIX_FADV_DONTNEED",
		(errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) ? -1 : 0);
	check_text("is read again", file_text("file"));
	check("readahead", readahead(fd, 0, 1));
	close(fd);
	fd = open("file", O_WRONLY | O_SYNC);
	check_number("O_SYNC write", write(fd, "yz", 2));
	check("RWF_DSYNC", pwritev2(fd, &(struct iovec){"abc", 3}, 1, 2, RWF_DSYNC));
	check_text("text", file_text("file"));
	close(fd);
	close(folder);
}
