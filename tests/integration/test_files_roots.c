/* SPDX-License-Identifier: Apache-2.0 */
/* Trees whose root is no folder: what a bind mount of one file, of a socket or of a
 * device is in the guest. */
#include "tests/integration/files_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static const struct files_tree own = {.cache = TREE_CACHE_OWN},
			       shared = {.cache = TREE_CACHE_SHARED};

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	assert_int_equal(write(fd, "before", 6), 6);
	close(fd);
}

static void make_socket(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(strlen(path) < sizeof(at.sun_path));
	memcpy(at.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
}

static void make_fifo(const char *path)
{
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void make_device(const char *path)
{
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
}

/* Its length is the host's from the beginning, and after each write. */
static void test_one_file(void **state)
{
	static const struct files_tree *const trees[] = {&own, &shared};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
		struct files_server *f = files_server_new_at(trees[i], make_file);
		char text[32];
		struct stat st;
		int fd = open(f->mounted, O_RDWR | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 6);
		assert_int_equal(read(fd, text, sizeof(text)), 6);
		assert_memory_equal(text, "before", 6);
		assert_int_equal(write(fd, " after", 6), 6);
		assert_int_equal(stat(f->root, &st), 0);
		assert_int_equal(st.st_size, 12);
		assert_int_equal(pread(fd, text, sizeof(text), 0), 12);
		assert_memory_equal(text, "before after", 12);
		assert_int_equal(ftruncate(fd, 3), 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 3);
		close(fd);
		files_server_free(f);
	}
}

static void test_others(void **state)
{
	static const struct {
		void (*make)(const char *path);
		mode_t type;
	} rows[] = {
		{make_socket, S_IFSOCK},
		{make_fifo, S_IFIFO},
		{make_device, S_IFCHR},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct files_server *f = files_server_new_at(&shared, rows[i].make);
		struct stat host, seen;

		assert_int_equal(stat(f->root, &host), 0);
		assert_int_equal(stat(f->mounted, &seen), 0);
		assert_int_equal(seen.st_mode & S_IFMT, rows[i].type);
		assert_int_equal(seen.st_mode, host.st_mode);
		/* FUSE's root of a mount has none: a device like that leads nowhere. */
		assert_int_equal(seen.st_rdev, 0);
		assert_int_equal(chmod(f->mounted, 0604), 0);
		assert_int_equal(stat(f->root, &host), 0);
		assert_int_equal(host.st_mode & 0777, 0604);
		files_server_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_file),
		cmocka_unit_test(test_others),
	};

	if (files_server_missing()) {
		printf("1..0 # SKIP %s\n", files_server_missing());
		return 0;
	}
	files_server_unshare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
