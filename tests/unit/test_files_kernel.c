/* SPDX-License-Identifier: Apache-2.0 */
/* Files' data and attributes by the host's FUSE over a tree,
 * and in a plain folder the same. */
#include "tests/unit/files_cases.h"

#include <linux/fs.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

/* ---- files without a name ---- */

static void test_unlinked(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "hello world", 0644);
	struct stat st;
	char *map;

	assert_int_equal(unlink(file), 0);
	assert_fails(access(file, F_OK), ENOENT);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_reads(fd, 0, "hello");
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(fchown(fd, 5, 6), 0);
	assert_int_equal(futimens(fd, (struct timespec[]){{7, 8}, {9, 10}}), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_mtim.tv_sec, 9);
	assert_int_equal(st.st_mtim.tv_nsec, 10);
	assert_int_equal(ftruncate(fd, 4096), 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	memcpy(map, "J", 1);
	assert_int_equal(msync(map, 4096, MS_SYNC), 0);
	munmap(map, 4096);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_reads(fd, 0, "Jello");
	assert_int_equal(fsetxattr(fd, "trusted.x", "1", 1, 0), 0);
	close(fd);
}

static void test_tmpfile(void **state)
{
	struct files_mount *m = *state;
	PATH_OF(m, named);
	int fd = open(m->at, O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	char self[64];
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	assert_int_equal(linkat(AT_FDCWD, self, AT_FDCWD, named, AT_SYMLINK_FOLLOW), 0);
	close(fd);
	fd = open(named, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "text");
	close(fd);
	fd = open(m->at, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	close(fd);
}

/* ---- data ---- */

static void test_mapped_and_written(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);
	char *map;

	assert_int_equal(ftruncate(fd, 8192), 0);
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	/* A store and a write to the same page: neither loses the other,
	 * nor after a sync. */
	map[0] = 'a';
	assert_int_equal(pwrite(fd, "b", 1, 1), 1);
	assert_memory_equal(map, "ab", 2);
	map[2] = 'c';
	assert_int_equal(msync(map, 8192, MS_SYNC), 0);
	assert_int_equal(pwrite(fd, "d", 1, 3), 1);
	map[4] = 'e';
	assert_int_equal(fsync(fd), 0);
	munmap(map, 8192);
	close(fd);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(stat_of(file).st_size, 8192);
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_memory_equal(map, "abcde", 5);
	munmap(map, 4096);
	close(fd);
}

static void test_append(void **state)
{
	PATH_OF(*state, file);
	int one = make_file(file, "0", 0644);
	int two = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
	int three = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(two, "1", 1), 1);
	assert_int_equal(write(three, "2", 1), 1);
	assert_int_equal(write(two, "34", 2), 2);
	assert_int_equal(fcntl(one, F_SETFL, O_APPEND), 0);
	assert_int_equal(write(one, "5", 1), 1);
	assert_reads(one, 0, "012345");
	close(one);
	close(two);
	close(three);
}

static void fill(uint8_t *bytes, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		bytes[i] = seed >> 16;
	}
}

static void test_large(void **state)
{
	size_t size = 3 * MiB + 123;
	_cleanup_free_ uint8_t *bytes = xmalloc(size), *back = xmalloc(size);
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);

	fill(bytes, size, 1);
	assert_int_equal(write_full(fd, bytes, size), 0);
	close(fd);
	assert_int_equal(stat_of(file).st_size, size);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_int_equal(read_full(fd, back, size), 0);
	assert_memory_equal(bytes, back, size);
	assert_int_equal(pread(fd, back, 10, size), 0);
	fill(bytes + MiB + 7, 100, 2);
	assert_int_equal(pwrite(fd, bytes + MiB + 7, 100, MiB + 7), 100);
	assert_int_equal(fdatasync(fd), 0);
	assert_int_equal(pread(fd, back, MiB, MiB), MiB);
	assert_memory_equal(bytes + MiB, back, MiB);
	close(fd);
}

static void test_direct(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);
	uint8_t *page;

	close(fd);
	page = aligned_alloc(4096, 8192);
	fill(page, 8192, 3);
	fd = open(file, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		/* A tmpfs of before 6.6, as plain folder. */
		assert_int_equal(errno, EINVAL);
		free(page);
		return;
	}
	assert_int_equal(pwrite(fd, page, 8192, 4096), 8192);
	memset(page, 0, 8192);
	assert_int_equal(pread(fd, page, 4096, 8192), 4096);
	close(fd);
	free(page);
	assert_int_equal(stat_of(file).st_size, 12288);
}

static void test_holes(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "", 0644);

	assert_int_equal(pwrite(fd, "x", 1, 1 << 20), 1);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(lseek(fd, 0, SEEK_DATA), 1 << 20);
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), 0);
	assert_int_equal(lseek(fd, 1 << 20, SEEK_HOLE), (1 << 20) + 1);
	assert_fails(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
	assert_int_equal(lseek(fd, 0, SEEK_END), (1 << 20) + 1);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 << 20), 0);
	assert_int_equal(stat_of(file).st_size, (1 << 20) + 1);
	assert_true(stat_of(file).st_blocks >= 4096);
	assert_int_equal(fallocate(fd, 0, 0, 2 << 20), 0);
	assert_int_equal(stat_of(file).st_size, 2 << 20);
	assert_int_equal(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 4096),
		0);
	assert_reads(fd, 2 << 20, "");
	close(fd);
}

static void test_copy_range(void **state)
{
	PATH_OF(*state, from);
	PATH_OF(*state, to);
	int in = make_file(from, "0123456789", 0644), out = make_file(to, "abc", 0644);
	off_t at = 2, to_at = 3;

	assert_int_equal(copy_file_range(in, &at, out, &to_at, 5, 0), 5);
	assert_reads(out, 0, "abc23456");
	close(in);
	close(out);
}

/* ---- attributes ---- */

static void test_times(void **state)
{
	PATH_OF(*state, file);
	struct timespec set[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
	struct statx stx;
	struct stat st;

	close(make_file(file, "x", 0644));
	assert_int_equal(utimensat(AT_FDCWD, file, set, 0), 0);
	st = stat_of(file);
	assert_memory_equal(&st.st_atim, &set[0], sizeof(set[0]));
	assert_memory_equal(&st.st_mtim, &set[1], sizeof(set[1]));
	set[0].tv_nsec = UTIME_OMIT;
	set[1].tv_nsec = UTIME_NOW;
	assert_int_equal(utimensat(AT_FDCWD, file, set, 0), 0);
	st = stat_of(file);
	assert_int_equal(st.st_atim.tv_nsec, 123456789);
	assert_true(st.st_mtim.tv_sec > 1000000002);
	assert_int_equal(statx(AT_FDCWD, file, 0, STATX_ALL, &stx), 0);
	assert_int_equal(stx.stx_size, 1);
	assert_int_equal(symlink("nowhere", file), -1);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(symlink("nowhere", file), 0);
	set[0].tv_nsec = set[1].tv_nsec = 5;
	assert_int_equal(utimensat(AT_FDCWD, file, set, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(stat_of(file).st_mtim.tv_nsec, 5);
	assert_int_equal(lchown(file, 3, 4), 0);
	assert_int_equal(stat_of(file).st_gid, 4);
}

static void write_as_user(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) < 0)
		_exit(1);
}

static void truncate_as_user(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
}

/* Of what somebody without CAP_FSETID writes to the set-id bits go; root keeps them. */
static void test_kill_set_id(void **state)
{
	PATH_OF(*state, file);
	int fd = make_file(file, "text", 0666);

	fchmod(fd, 06777);
	assert_int_equal(pwrite(fd, "y", 1, 0), 1);
	assert_int_equal(mode_of(file), 06777);
	as_user(file, write_as_user);
	assert_int_equal(mode_of(file), 0777);
	fchmod(fd,
		06767); /* not executable for the group: a set-gid bit of another kind */
	as_user(file, write_as_user);
	assert_int_equal(mode_of(file) & S_ISUID, 0);
	fchmod(fd, 06777);
	as_user(file, truncate_as_user);
	assert_int_equal(mode_of(file), 0777);
	fchmod(fd, 06777);
	assert_int_equal(chown(file, 7, 7), 0);
	assert_int_equal(mode_of(file), 0777);
	close(fd);
}

/* ---- the whole ---- */

static void test_mount_is_its_own(void **state)
{
	struct files_mount *m = *state;
	struct statfs served, plain;

	assert_int_equal(statfs(m->at, &served), 0);
	assert_int_equal(statfs(m->folder, &plain), 0);
	assert_int_equal(served.f_blocks, plain.f_blocks);
	assert_int_equal(served.f_namelen, 255);
	if (m->server)
		assert_int_not_equal(stat_of(m->at).st_dev, stat_of(m->folder).st_dev);
}

/* What one end writes the other end has, after a close. */
static void test_both_ends(void **state)
{
	struct files_mount *m = *state;
	_cleanup_free_ char *there = xasprintf("%s/file", m->folder);
	PATH_OF(m, file);
	int fd = make_file(file, "by the guest", 0644);

	close(fd);
	fd = open(there, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "by the guest");
	close(fd);
	assert_int_equal(stat_of(there).st_ino, stat_of(file).st_ino);
}

/* The host changes a file of a tree that others write to: seen at once. */
static void test_host_changes(void **state)
{
	struct files_mount *m = mount_new(&shared);
	_cleanup_free_ char *there = xasprintf("%s/file", m->folder);
	PATH_OF(m, file);
	int host = make_file(there, "one", 0644), fd;

	(void)state;
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_reads(fd, 0, "one");
	assert_int_equal(pwrite(host, "three", 5, 0), 5);
	assert_int_equal(stat_of(file).st_size, 5);
	assert_reads(fd, 0, "three");
	close(fd);
	close(host);
	assert_int_equal(unlink(there), 0);
	assert_fails(access(file, F_OK), ENOENT);
	close(make_file(there, "again", 0644));
	assert_int_equal(stat_of(file).st_size, 5);
	mount_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_unlinked),
		CASE(test_tmpfile),
		CASE(test_mapped_and_written),
		CASE(test_append),
		CASE(test_large),
		CASE(test_direct),
		CASE(test_holes),
		CASE(test_copy_range),
		CASE(test_times),
		CASE(test_kill_set_id),
		CASE(test_mount_is_its_own),
		CASE(test_both_ends),
		cmocka_unit_test(test_host_changes),
		JAILED(test_tmpfile),
		JAILED(test_large),
		JAILED(test_times),
		JAILED(test_kill_set_id),
	};
	const char *missing = mount_missing();

	if (missing) {
		printf("1..0 # SKIP %s\n", missing);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
