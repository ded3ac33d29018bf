/* SPDX-License-Identifier: Apache-2.0 */
/* shim/mount_source: whose the source of a bind mount is. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "shim/mount_source.h"
#include "tests/lib/test.h"

/* A wall's proof: docs/security.md. */
static void test_kernels(void **state)
{
	static const char *const paths[] = {
		"/proc",
		"/proc/self/status",
		"//proc",
		"/./sys",
		"/sys/module",
		"/dev",
		"/dev/null",
		"/dev/../dev/zero",
		"/sys/no-such-file",
		"/sys/no-such/folder/",
		"//sys/no-such-file",
		"/./sys/no-such-file",
		"/etc/../sys/no-such-file",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (!mount_source_is_kernels(paths[i]))
			fail_msg("%s is taken for files of the host", paths[i]);
}

/* By what is there, not by its name. */
/* A wall's proof: docs/security.md. */
static void test_links(void **state)
{
	char folder[] = "/tmp/stencil-test-XXXXXX";
	_cleanup_free_ char *link = NULL;

	(void)state;
	assert_non_null(mkdtemp(folder));
	link = xasprintf("%s/link", folder);
	assert_int_equal(symlink("/proc/sys", link), 0);
	assert_true(mount_source_is_kernels(link));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("/proc/sys/no-such-file", link), 0);
	assert_true(mount_source_is_kernels(link));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("../proc/no-such-file", link), 0);
	assert_false(mount_source_is_kernels(link));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("../../proc/no-such-file", link), 0);
	assert_true(mount_source_is_kernels(link));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("link", link), 0);
	assert_false(mount_source_is_kernels(link));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("/etc", link), 0);
	assert_false(mount_source_is_kernels(link));
	assert_false(mount_source_is_kernels(folder));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* What a source led to is looked at when it has been taken, too. */
/* A wall's proof: docs/security.md. */
static void test_taken(void **state)
{
	static const char *const kernels[] = {"/proc/sys", "/sys/module", "/dev"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		_cleanup_close_ int fd = open_tree(
			AT_FDCWD, kernels[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		struct err err = ERR_INIT;

		assert_true(fd >= 0);
		assert_int_equal(-EPERM, mount_source_check(fd, "/volume", &err));
		assert_string_equal(
			"/volume leads to a kernel's file system now, and did not "
			"before",
			err.text);
	}
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = open_tree(AT_FDCWD, i ? "/etc" : "/etc/passwd",
			OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		struct err err = ERR_INIT;

		assert_int_equal(0, mount_source_check(fd, "/volume", &err));
	}
}

static void test_tmpfs(void **state)
{
	char folder[] = "/tmp/stencil-test-XXXXXX";
	struct mount_tmpfs fs;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(mount("test", folder, "tmpfs", MS_NOSUID | MS_NOEXEC,
				 "size=100m,mode=2770,gid=7"),
		0);
	assert_true(mount_source_tmpfs(folder, &fs));
	assert_int_equal(fs.bytes, 100 << 20);
	assert_int_equal(fs.flags, MS_NOSUID | MS_NOEXEC);
	assert_int_equal(fs.mode, 02770);
	assert_int_equal(fs.gid, 7);
	assert_false(mount_source_is_kernels(folder));
	assert_int_equal(umount(folder), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_false(mount_source_tmpfs("/proc", &fs));
	assert_false(mount_source_tmpfs(folder, NULL));
}

static uint64_t memory_of(const char *path)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);

	return mount_source_memory_bytes(fd);
}

/* Files that are memory. */
static void test_memory(void **state)
{
	char folder[] = "/tmp/stencil-test-XXXXXX";
	const unsigned long readonly = MS_REMOUNT | MS_BIND | MS_RDONLY;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(mount("test", folder, "tmpfs", 0, "size=100m"), 0);
	assert_int_equal(memory_of(folder), 100 << 20);
	assert_int_equal(mount(NULL, folder, NULL, MS_REMOUNT, "size=0"), 0);
	assert_true(memory_of(folder) == UINT64_MAX);
	assert_int_equal(mount(NULL, folder, NULL, readonly, NULL), 0);
	assert_int_equal(memory_of(folder), 0);
	assert_int_equal(umount(folder), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(memory_of("/proc"), 0);
}

/* Files that somebody has put into a tmpfs below /dev. */
static void test_dev_shm(void **state)
{
	(void)state;
	assert_int_equal(mount("test", "/dev/shm", "tmpfs", 0, "size=1m"), 0);
	assert_int_equal(mkdir("/dev/shm/files", 0700), 0);
	assert_false(mount_source_is_kernels("/dev/shm/files"));
	assert_int_equal(umount("/dev/shm"), 0);
}

/* A mount namespace of the test's. */
static int setup(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNS) < 0 ||
			       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0
		       ? -1
		       : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernels),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_tmpfs),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_dev_shm),
	};

	return cmocka_run_group_tests_name("shim/mount_source", tests, setup, NULL);
}
