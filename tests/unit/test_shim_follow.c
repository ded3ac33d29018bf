/* SPDX-License-Identifier: Apache-2.0 */
/* shim/follow: the host's mounts appear in a tree, and hold nothing of the host's. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/follow.h"
#include "tests/lib/test.h"

static char *volume;

#define assert_done(call)                                                                \
	do {                                                                             \
		struct err err_ = ERR_INIT;                                              \
		struct err *caught = &err_;                                              \
		if ((call) < 0)                                                          \
			fail_msg("%s", err_.text);                                       \
	} while (0)

static bool is_there(int tree_fd, const char *path)
{
	return faccessat(tree_fd, path, F_OK, 0) == 0;
}

/* The thread gets its time from us. */
static void wait_until(int tree_fd, const char *path, bool there)
{
	for (int64_t deadline = soon(); is_there(tree_fd, path) != there;) {
		if (now_ms() > deadline)
			fail_msg("%s is %s", path, there ? "not there" : "still there");
		sched_yield();
	}
}

static void make_mount(const char *name, const char *file)
{
	_cleanup_free_ char *at = xasprintf("%s/%s", volume, name);
	_cleanup_free_ char *path = xasprintf("%s/%s", at, file);
	int fd;

	mkdir(at, 0755);
	assert_int_equal(mount("test", at, "tmpfs", 0, "size=64k"), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static void drop_mount(const char *name)
{
	_cleanup_free_ char *at = xasprintf("%s/%s", volume, name);

	assert_int_equal(umount(at), 0);
}

static struct rootfs_tree tree_of(const char *path)
{
	return (struct rootfs_tree){path, true, ROOTFS_WRITABLE};
}

static void test_comes_and_goes(void **state)
{
	const struct rootfs_tree tree = tree_of(volume);
	_cleanup_(follower) struct follower *f = NULL;
	_cleanup_close_ int fd = -1, inside = -1;

	(void)state;
	make_mount("before", "a");
	assert_done(follow_start(&tree, &fd, &f, caught));
	assert_non_null(f);
	assert_true(is_there(fd, "before/a"));
	make_mount("later", "b");
	wait_until(fd, "later/b", true);
	make_mount("later/deep \\er", "c");
	wait_until(fd, "later/deep \\er/c", true);
	make_mount("later", "d"); /* over the other */
	wait_until(fd, "later/d", true);
	assert_false(is_there(fd, "later/b"));
	/* Whoever looks into it, as the guest does, is not in the host's way. */
	inside = openat(fd, "later", O_PATH | O_CLOEXEC);
	assert_true(inside >= 0);
	drop_mount("later");
	wait_until(fd, "later/d", false);
	wait_until(fd, "later/deep \\er/c", true);
	drop_mount("later/deep \\er");
	drop_mount("later");
	wait_until(fd, "later/b", false);
	drop_mount("before");
	wait_until(fd, "before/a", false);
}

/* What is mounted in it is no part of the host's tree. */
static void test_is_private(void **state)
{
	const struct rootfs_tree tree = tree_of(volume);
	_cleanup_(follower) struct follower *f = NULL;
	_cleanup_free_ char *below = xasprintf("%s/made", volume);
	_cleanup_close_ int fd = -1;
	struct stat host, guest;

	(void)state;
	assert_done(follow_start(&tree, &fd, &f, caught));
	assert_int_equal(mkdirat(fd, "made", 0700), 0);
	assert_int_equal(stat(below, &host), 0);
	assert_int_equal(fstatat(fd, "made", &guest, 0), 0);
	assert_int_equal(host.st_ino, guest.st_ino);
	assert_int_equal(rmdir(below), 0);
}

static void test_readonly(void **state)
{
	struct rootfs_tree tree = tree_of(volume);
	_cleanup_(follower) struct follower *f = NULL;
	_cleanup_close_ int fd = -1;

	(void)state;
	tree.readonly = ROOTFS_READONLY_ALL;
	assert_done(follow_start(&tree, &fd, &f, caught));
	make_mount("later", "b");
	wait_until(fd, "later/b", true);
	assert_int_equal(mkdirat(fd, "no", 0700), -1);
	assert_int_equal(mkdirat(fd, "later/no", 0700), -1);
	drop_mount("later");
}

/* A single file; and a tree whose host shares nothing. */
static void test_nothing_comes(void **state)
{
	_cleanup_free_ char *file = test_file(volume, "file", "x"),
			    *alone = xasprintf("%s/alone", volume);
	struct rootfs_tree tree = tree_of(file);
	_cleanup_(follower) struct follower *f = NULL, *none = NULL;
	_cleanup_close_ int fd = -1, other = -1;
	struct err err = ERR_INIT;

	(void)state;
	assert_done(follow_start(&tree, &fd, &f, caught));
	make_mount("alone", "a");
	assert_int_equal(mount(NULL, alone, NULL, MS_PRIVATE, NULL), 0);
	tree = tree_of(alone);
	assert_done(follow_start(&tree, &other, &none, caught));
	assert_null(none);
	assert_true(is_there(other, "a"));
	drop_mount("alone");
	tree = tree_of("/no/such/folder");
	assert_error_names(
		follow_start(&tree, &other, &none, &err), -ENOENT, "/no/such/folder");
}

/* A mount namespace of the test's, in which mounts are shared. */
static int setup(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	volume = test_folder_new();
	return mount("test", volume, "tmpfs", 0, "mode=755") < 0 ||
			       mount(NULL, volume, NULL, MS_SHARED, NULL) < 0
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	(void)state;
	if (umount(volume) < 0)
		return -1;
	test_folder_free(volume);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_and_goes),
		cmocka_unit_test(test_is_private),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_nothing_comes),
	};

	return cmocka_run_group_tests_name("shim/follow", tests, setup, teardown);
}
