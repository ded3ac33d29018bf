/* SPDX-License-Identifier: Apache-2.0 */
/* What the real stencil-files serves, seen by the host's own FUSE: what is right,
 * and how long it takes. */
#include "tests/integration/files_server.h"

#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#define FILES       500u
#define BULK_BYTES  (32u << 20)
#define BLOCK_BYTES (1u << 20)

static int setup(void **state)
{
	files_server_unshare();
	*state = files_server_new(&(struct files_tree){.cache = TREE_CACHE_OWN});
	return 0;
}

static int teardown(void **state)
{
	files_server_free(*state);
	return 0;
}

static void test_semantics(void **state)
{
	struct files_server *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/file", f->mounted);
	_cleanup_free_ char *host = xasprintf("%s/file", f->folder);
	struct stat st;
	char text[8] = "";
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before", 6), 6);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(fchown(fd, 1000, 1001), 0);
	assert_int_equal(stat(host, &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(setxattr(path, "user.x", "y", 1, 0), 0);
	assert_int_equal(getxattr(host, "user.x", text, sizeof(text)), 1);
	/* A file without a name is still one. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(access(host, F_OK), -1);
	assert_int_equal(ftruncate(fd, 3), 0);
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 3);
	assert_memory_equal(text, "bef", 3);
	close(fd);
}

/* One of each: what serves it passes the server's filter,
 * also where it is asked with another's ids. */
static void test_all_calls(void **state)
{
	struct files_server *f = *state;
	int dir = open(f->mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, other;
	const struct timespec times[] = {{1, 123456789}, {2, 987654321}};
	char text[256];
	struct statfs fs;
	struct stat st;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	assert_int_equal(setegid(1001), 0);
	assert_int_equal(mkdirat(dir, "d", 0777), 0);
	assert_int_equal(fchownat(dir, "d", 1000, 1001, 0), 0);
	assert_int_equal(symlinkat("d/none", dir, "link"), 0);
	assert_int_equal(readlinkat(dir, "link", text, sizeof(text)), 6);
	assert_int_equal(mknodat(dir, "fifo", S_IFIFO | 0600, 0), 0);
	assert_int_equal(fchmodat(dir, "fifo", 0640, 0), 0);
	fd = openat(dir, "d/a", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(linkat(dir, "d/a", dir, "d/b", 0), 0);
	assert_int_equal(renameat2(dir, "d/b", dir, "b2", 0), 0);
	assert_int_equal(renameat2(dir, "b2", dir, "c", RENAME_NOREPLACE), 0);
	assert_int_equal(renameat2(dir, "c", dir, "fifo", RENAME_EXCHANGE), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 65536), 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_true(lseek(fd, 0, SEEK_DATA) >= 0);
	assert_true(lseek(fd, 0, SEEK_HOLE) > 0);
	assert_int_equal(futimens(fd, times), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	assert_int_equal(fsetxattr(fd, "user.a", "b", 1, 0), 0);
	assert_int_equal(flistxattr(fd, text, sizeof(text)), sizeof("user.a"));
	assert_int_equal(fremovexattr(fd, "user.a"), 0);
	other = openat(dir, "copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(other >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(copy_file_range(fd, NULL, other, NULL, 4, 0), 4);
	assert_int_equal(fdatasync(other), 0);
	assert_int_equal(syncfs(other), 0);
	assert_int_equal(fcntl(other, F_SETLKW, &lock), 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	close(fd);
	close(other);
	assert_int_equal(fstatfs(dir, &fs), 0);
	assert_int_equal(unlinkat(dir, "d/a", 0), 0);
	assert_int_equal(unlinkat(dir, "d", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(dir, "copy", 0), 0);
	close(dir);
	assert_int_equal(test_entries(f->mounted), 3); /* c, fifo, link */
	assert_int_equal(test_entries(f->folder), 3);
	assert_int_equal(setegid(0), 0);
}

/* Who closes a file has no lock on it any more, though its kernel waits for no answer. */
static void test_closed_is_unlocked(void **state)
{
	struct files_server *f = *state;
	_cleanup_free_ char *path = test_file(f->mounted, "locked", "");
	int fd = open(path, O_RDWR | O_CLOEXEC);

	for (unsigned int i = 0; i < 3000; i++) {
		int other = open(path, O_RDWR | O_CLOEXEC);

		assert_true(other >= 0);
		assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
		close(other);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			fail_msg("round %u: %s", i, strerror(errno));
		assert_int_equal(flock(fd, LOCK_UN), 0);
	}
	close(fd);
	assert_int_equal(unlink(path), 0);
}

static uint64_t us_of(void (*act)(const char *folder, uint8_t *block), const char *folder,
	uint8_t *block)
{
	uint64_t from = now_us();

	act(folder, block);
	return now_us() - from;
}

static char *file_of(const char *folder, unsigned int i)
{
	return xasprintf("%s/many-%u", folder, i);
}

static void make_files(const char *folder, uint8_t *block)
{
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, block, 1000), 1000);
		close(fd);
	}
}

static void stat_files(const char *folder, uint8_t *block)
{
	struct stat st;

	(void)block;
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);

		assert_int_equal(stat(path, &st), 0);
	}
}

static void read_files(const char *folder, uint8_t *block)
{
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(read(fd, block, BLOCK_BYTES), 1000);
		close(fd);
	}
}

static void remove_files(const char *folder, uint8_t *block)
{
	(void)block;
	for (unsigned int i = 0; i < FILES; i++) {
		_cleanup_free_ char *path = file_of(folder, i);

		assert_int_equal(unlink(path), 0);
	}
}

static void write_bulk(const char *folder, uint8_t *block)
{
	_cleanup_free_ char *path = xasprintf("%s/bulk", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	for (unsigned int i = 0; i < BULK_BYTES / BLOCK_BYTES; i++) {
		memset(block, (int)i, BLOCK_BYTES);
		assert_int_equal(write(fd, block, BLOCK_BYTES), BLOCK_BYTES);
	}
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

static void read_bulk(const char *folder, uint8_t *block)
{
	_cleanup_free_ char *path = xasprintf("%s/bulk", folder);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (unsigned int i = 0; i < BULK_BYTES / BLOCK_BYTES; i++) {
		assert_int_equal(read(fd, block, BLOCK_BYTES), BLOCK_BYTES);
		assert_int_equal(block[0], i);
		assert_int_equal(block[BLOCK_BYTES - 1], i);
	}
	close(fd);
}

/* The kernel knows nothing of it any more, nor does the server. */
static void mount_anew(struct files_server *f)
{
	assert_int_equal(umount2(f->mounted, 0), 0);
	pthread_join(f->to_server, NULL);
	guest_send_note(&f->guest, f->mount, FILES_UNMOUNTED, FILES_NO_SLOT);
	mount_it(f);
}

static void test_speed(void **state)
{
	struct files_server *f = *state;
	_cleanup_free_ uint8_t *block = xmalloc(BLOCK_BYTES);
	static const struct {
		const char *what;
		void (*act)(const char *folder, uint8_t *block);
		bool cold;
	} rows[] = {
		{"make 500 files", make_files, false},
		{"stat 500 files", stat_files, true},
		{"stat them again", stat_files, false},
		{"open, read, close 500 files", read_files, true},
		{"write 32 MiB, fsync", write_bulk, false},
		{"read 32 MiB", read_bulk, true},
		{"read them again", read_bulk, false},
		{"remove 500 files", remove_files, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t us;

		if (rows[i].cold)
			mount_anew(f);
		us = us_of(rows[i].act, f->mounted, block);
		print_message("# %s: %.1f ms\n", rows[i].what, (double)us / 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_semantics),
		cmocka_unit_test(test_all_calls),
		cmocka_unit_test(test_closed_is_unlocked),
		cmocka_unit_test(test_speed),
	};

	if (files_server_missing()) {
		printf("1..0 # SKIP %s\n", files_server_missing());
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
