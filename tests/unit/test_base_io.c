/* SPDX-License-Identifier: Apache-2.0 */
/* base/io: bounded reads, atomic writes, removing trees, paths of others, waiting. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

struct fixture {
	char *folder;
	int dirfd;
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *f = xnew0(struct fixture);

	f->folder = test_folder_new();
	f->dirfd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dirfd >= 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->dirfd);
	test_folder_free(f->folder);
	free(f);
	return 0;
}

static void test_full(void **state)
{
	char buf[4];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write_full(fds[1], "abcdef", 6), 0);
	close(fds[1]);
	assert_int_equal(read_full(fds[0], buf, 4), 0);
	assert_memory_equal(buf, "abcd", 4);
	assert_int_equal(read_full(fds[0], buf, 4), -ENODATA);
	close(fds[0]);
	assert_int_equal(read_full(fds[0], buf, 1), -EBADF);
	assert_int_equal(write_full(fds[1], buf, 1), -EBADF);
}

static void test_file_read(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char *data = NULL;
	size_t len = 99;

	free(test_file(f->folder, "ten", "0123456789"));
	assert_int_equal(file_read(f->dirfd, "ten", 10, &data, &len, &err), 0);
	assert_int_equal(len, 10);
	assert_string_equal(data, "0123456789");
	free(data);
	data = NULL;
	assert_error(file_read(f->dirfd, "ten", 9, &data, &len, &err), -EFBIG,
		"ten is larger than the 9 bytes allowed");
	assert_error(file_read(f->dirfd, "none", 9, &data, &len, &err), -ENOENT,
		"cannot open none: No such file or directory");
	assert_error(file_read(f->dirfd, ".", 9, &data, &len, &err), -EISDIR,
		"cannot read .: Is a directory");
	assert_null(data);
	assert_int_equal(len, 10);
	/* A file without a size of its own, as in /proc. */
	assert_int_equal(
		file_read(AT_FDCWD, "/proc/self/stat", 4096, &data, &len, &err), 0);
	assert_true(len > 0 && data[len] == '\0');
	free(data);
}

static void test_write_atomic(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(file_write_atomic(f->dirfd, "x", "one", 3, 0640, &err), 0);
	assert_int_equal(file_write_atomic(f->dirfd, "x", "two!", 4, 0600, &err), 0);
	assert_int_equal(file_read(f->dirfd, "x", 99, &data, &len, &err), 0);
	assert_string_equal(data, "two!");
	assert_int_equal(fstatat(f->dirfd, "x", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(faccessat(f->dirfd, "x.new", F_OK, 0), -1);
	assert_error_names(file_write_atomic(f->dirfd, "none/x", "", 0, 0600, &err),
		-ENOENT, "cannot create none/x.new");
	/* Where the rename fails the temporary file goes again. */
	assert_int_equal(mkdirat(f->dirfd, "folder", 0700), 0);
	assert_error_names(file_write_atomic(f->dirfd, "folder", "", 0, 0600, &err),
		-EISDIR, "cannot write folder");
	assert_int_equal(faccessat(f->dirfd, "folder.new", F_OK, 0), -1);
	/* A link in the temporary file's place is not followed. */
	assert_int_equal(symlinkat("x", f->dirfd, "y.new"), 0);
	assert_error_names(file_write_atomic(f->dirfd, "y", "bad", 3, 0600, &err), -ELOOP,
		"cannot create y.new");
}

#define WRITERS 4
#define WRITES  200

struct writer {
	pthread_t thread;
	int dirfd, failed;
	char text[512];
};

static void *write_often(void *arg)
{
	struct writer *w = arg;
	struct err err = ERR_INIT;

	for (int i = 0; i < WRITES && w->failed == 0; i++)
		w->failed = file_write_atomic(
			w->dirfd, "x", w->text, sizeof(w->text), 0600, &err);
	return NULL;
}

/* Of writers at the same time none fails, and a reader sees the whole of one of them. */
static void test_write_atomic_together(void **state)
{
	struct fixture *f = *state;
	static struct writer writers[WRITERS]; /* a failed check leaves them running */
	struct err err = ERR_INIT;

	free(test_file(f->folder, "x", ""));
	assert_int_equal(file_write_atomic(f->dirfd, "x", writers[0].text,
				 sizeof(writers[0].text), 0600, &err),
		0);
	for (size_t i = 0; i < WRITERS; i++) {
		writers[i].dirfd = f->dirfd;
		memset(writers[i].text, 'a' + (int)i, sizeof(writers[i].text));
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_often,
					 &writers[i]),
			0);
	}
	for (int i = 0; i < WRITES; i++) {
		_cleanup_free_ char *data = NULL;
		size_t len;

		assert_int_equal(file_read(f->dirfd, "x", 4096, &data, &len, &err), 0);
		assert_int_equal(len, sizeof(writers[0].text));
		for (size_t at = 1; at < len; at++)
			assert_int_equal(data[at], data[0]);
	}
	for (size_t i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
		assert_int_equal(writers[i].failed, 0);
	}
	assert_int_equal(faccessat(f->dirfd, "x.new", F_OK, 0), -1);
}

/* What one that was killed left beside it goes into the next one's place. */
static void test_write_atomic_after_a_kill(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *data = NULL;
	size_t len;

	free(test_file(f->folder, "x.new", "longer than what comes"));
	assert_int_equal(file_write_atomic(f->dirfd, "x", "short", 5, 0600, &err), 0);
	assert_int_equal(file_read(f->dirfd, "x", 99, &data, &len, &err), 0);
	assert_string_equal(data, "short");
	assert_int_equal(faccessat(f->dirfd, "x.new", F_OK, 0), -1);
}

static void test_write_text(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	free(test_file(f->folder, "x", ""));
	assert_int_equal(file_write_text(f->dirfd, "x", "1", &err), 0);
	assert_error(file_write_text(f->dirfd, "none", "1", &err), -ENOENT,
		"cannot write 1 to none: No such file or directory");
}

static void test_mkdir_parents(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = xasprintf("%s/a/b/c", f->folder);
	_cleanup_free_ char *file = test_file(f->folder, "file", "");
	_cleanup_free_ char *below = xasprintf("%s/x", file);
	struct stat st;

	assert_int_equal(mkdir_parents(path, 0750, &err), 0);
	assert_int_equal(mkdir_parents(path, 0700, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_error_names(mkdir_parents(below, 0750, &err), -ENOTDIR, below);
}

static void test_remove_tree(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *deep = xasprintf("%s/t/a/b", f->folder);
	_cleanup_free_ char *tree = xasprintf("%s/t", f->folder);

	free(test_file(f->folder, "keep", ""));
	assert_int_equal(mkdir_parents(deep, 0700, &err), 0);
	free(test_file(deep, "file", "x"));
	assert_int_equal(symlinkat("../keep", f->dirfd, "t/link"), 0);
	assert_int_equal(symlinkat("..", f->dirfd, "t/up"), 0);
	assert_int_equal(remove_tree(AT_FDCWD, tree, &err), 0);
	assert_int_equal(faccessat(f->dirfd, "t", F_OK, 0), -1);
	/* What a link points to stays; what is not there is fine. */
	assert_int_equal(faccessat(f->dirfd, "keep", F_OK, 0), 0);
	assert_int_equal(remove_tree(f->dirfd, "t", &err), 0);
	assert_int_equal(remove_tree(f->dirfd, "keep", &err), 0);
	assert_int_equal(faccessat(f->dirfd, "keep", F_OK, 0), -1);
}

/* The name stands for itself, and each reader of "." has the whole folder. */
static void test_dir_open(void **state)
{
	struct fixture *f = *state;

	free(test_file(f->folder, "file", ""));
	assert_int_equal(symlinkat(".", f->dirfd, "link"), 0);
	for (int times = 0; times < 2; times++) {
		_cleanup_closedir_ DIR *dir = NULL;
		unsigned int n = 0;

		assert_int_equal(dir_open(f->dirfd, ".", &dir), 0);
		while (readdir(dir))
			n++;
		assert_int_equal(n, 4); /* with "." and ".." */
	}
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {"file", "link", "none"};
		static const int codes[] = {-ENOTDIR, -ENOTDIR, -ENOENT};
		DIR *dir = NULL;

		assert_int_equal(dir_open(f->dirfd, names[i], &dir), codes[i]);
		assert_null(dir);
	}
}

/* Names that a pod chose lead nowhere else. */
/* A wall's proof: docs/security.md. */
static void test_open_resolved(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *etc = xasprintf("%s/etc", f->folder);
	struct stat inside, opened;
	int fd;

	assert_int_equal(mkdir_parents(etc, 0700, &err), 0);
	free(test_file(etc, "passwd", "inside"));
	assert_int_equal(symlinkat("/etc/passwd", f->dirfd, "absolute"), 0);
	assert_int_equal(symlinkat("../../../../../etc/passwd", f->dirfd, "climbs"), 0);
	assert_int_equal(fstatat(f->dirfd, "etc/passwd", &inside, 0), 0);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"/etc/passwd", "absolute", "climbs"};

		fd = open_in_root(f->dirfd, names[i], O_RDONLY);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &opened), 0);
		assert_int_equal(opened.st_ino, inside.st_ino);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
		assert_int_equal(open_beneath(f->dirfd, names[i], O_RDONLY), -EXDEV);
	}
	fd = open_beneath(f->dirfd, "etc/passwd", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(open_beneath(f->dirfd, "none", O_RDONLY), -ENOENT);
	fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(open_in_root(fd, "/proc/self/exe", O_RDONLY), -ELOOP);
	close(fd);
}

/* Root could write the file, and still can't by this descriptor. */
static void test_readonly_mount(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = test_file(f->folder, "file", "text"), *self = NULL;
	_cleanup_close_ int fd = -1;
	char buf[4];

	if (geteuid() != 0) {
		print_message("# not tried: it needs root\n");
		return;
	}
	fd = open_readonly_mount(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(4, read(fd, buf, sizeof(buf)));
	assert_int_equal(FD_CLOEXEC, fcntl(fd, F_GETFD));
	assert_int_equal(-1, fchmod(fd, 0666));
	assert_int_equal(EROFS, errno);
	assert_int_equal(-1, fchown(fd, 1, 1));
	assert_int_equal(EROFS, errno);
	self = xasprintf("/proc/self/fd/%d", fd);
	assert_int_equal(-1, open(self, O_RDWR | O_CLOEXEC));
	assert_int_equal(EROFS, errno);
	assert_int_equal(-EROFS, open_readonly_mount(path, O_RDWR));
	assert_int_equal(-ENOENT, open_readonly_mount("/nowhere", O_RDONLY));
}

/* A device is open, and by that descriptor cannot be opened another time. */
static void test_readonly_mount_device(void **state)
{
	_cleanup_free_ char *self = NULL;
	_cleanup_close_ int fd = -1;

	(void)state;
	if (geteuid() != 0) {
		print_message("# not tried: it needs root\n");
		return;
	}
	fd = open_readonly_mount("/dev/null", O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(1, write(fd, "x", 1));
	self = xasprintf("/proc/self/fd/%d", fd);
	assert_int_equal(-1, open(self, O_RDWR | O_CLOEXEC));
	assert_int_equal(EACCES, errno);
	assert_int_equal(-1, open(self, O_RDONLY | O_CLOEXEC));
	assert_int_equal(EACCES, errno);
}

static void test_wait_fd(void **state)
{
	int fds[2];
	int64_t deadline;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	deadline = deadline_after_ms(20);
	assert_int_equal(wait_fd(fds[0], POLLIN, deadline), -ETIMEDOUT);
	assert_true(now_ms() >= deadline);
	assert_int_equal(wait_fd(fds[0], POLLIN, 0), -ETIMEDOUT);
	assert_int_equal(write_full(fds[1], "x", 1), 0);
	assert_int_equal(wait_fd(fds[0], POLLIN, 0), 0);
	assert_int_equal(read_full(fds[0], &(char){0}, 1), 0);
	close(fds[1]);
	assert_int_equal(wait_fd(fds[0], POLLIN, DEADLINE_NONE), 0);
	close(fds[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		TEST(test_file_read),
		TEST(test_write_atomic),
		TEST(test_write_atomic_together),
		TEST(test_write_atomic_after_a_kill),
		TEST(test_write_text),
		TEST(test_mkdir_parents),
		TEST(test_remove_tree),
		TEST(test_dir_open),
		TEST(test_open_resolved),
		TEST(test_readonly_mount),
		TEST(test_readonly_mount_device),
		cmocka_unit_test(test_wait_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
