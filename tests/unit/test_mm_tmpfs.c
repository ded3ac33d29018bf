/* SPDX-License-Identifier: Apache-2.0 */
/* The template tmpfs: mounting, growing, and everything that must not be taken for it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "tests/unit/mm_fixture.h"

#include "mm/size.h"
#include "mm/tmpfs.h"

#define PATH "/tmp/a/template"

static void unmount(void)
{
	struct err err = ERR_INIT;

	assert_int_equal(tmpfs_unmount(PATH, &err), 0);
	rmdir(PATH);
}

static void mount_at(const char *path, unsigned long flags, const char *options)
{
	struct err err = ERR_INIT;

	assert_int_equal(mkdir_parents(path, 0755, &err), 0);
	assert_int_equal(mount("other", path, "tmpfs", flags, options), 0);
}

/* Both ways of looking refuse, and say why. */
static void refused(const char *why)
{
	struct tmpfs_usage usage;
	struct err err = ERR_INIT;

	assert_true(tmpfs_look(PATH, &usage, &err) < 0);
	assert_error(err, why);
	assert_true(tmpfs_ensure(PATH, MiB, &err) < 0);
	assert_error(err, why);
}

static void test_mount_grow_unmount(void **state)
{
	struct tmpfs_usage usage;
	struct err err = ERR_INIT;
	struct stat st;
	char text[8];
	int fd;

	(void)state;
	assert_int_equal(tmpfs_look(PATH, &usage, &err), 0);
	assert_false(usage.mounted);
	assert_int_equal(tmpfs_open(PATH, false, &fd, &err), -ENOENT);
	assert_int_equal(tmpfs_ensure(PATH, 2 * MiB, &err), 0);
	assert_int_equal(stat(PATH, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	fixture_write(PATH "/file", "text", 0400);
	assert_int_equal(tmpfs_ensure(PATH, MiB, &err), 0);
	assert_int_equal(tmpfs_look(PATH, &usage, &err), 0);
	assert_int_equal(usage.size_bytes, 2 * MiB);
	assert_int_equal(usage.used_bytes, 4096);
	assert_int_equal(tmpfs_ensure(PATH, 3 * MiB, &err), 0);
	assert_int_equal(tmpfs_look(PATH, &usage, &err), 0);
	assert_int_equal(usage.size_bytes, 3 * MiB);
	assert_int_equal(access(PATH "/file", F_OK), 0);
	fd = open(PATH "/file", O_RDONLY | O_CLOEXEC);
	unmount();
	assert_int_equal(tmpfs_look(PATH, &usage, &err), 0);
	assert_false(usage.mounted);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	close(fd);
	assert_int_equal(tmpfs_unmount(PATH, &err), 0);
}

/* What a grant's descriptor can do, even for root with all capabilities. */
static void test_readonly_mount(void **state)
{
	struct err err = ERR_INIT;
	char self[64];
	int ro, fd;

	(void)state;
	assert_int_equal(tmpfs_ensure(PATH, MiB, &err), 0);
	fixture_write(PATH "/file", "text", 0600);
	assert_int_equal(tmpfs_open(PATH, true, &ro, &err), 0);
	fd = openat(ro, "file", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	assert_int_equal(open(self, O_RDWR | O_CLOEXEC), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(truncate(self, 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(fchmod(fd, 0666), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(unlinkat(ro, "file", 0), -1);
	assert_int_equal(errno, EROFS);
	assert_ptr_equal(
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	/* Neither keeps the mount at the path busy. */
	unmount();
	close(fd);
	close(ro);
}

static void test_not_a_tmpfs(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(mkdir_parents(PATH, 0755, &err), 0);
	fixture_write(PATH "/file", "text", 0600);
	assert_int_equal(tmpfs_ensure(PATH, MiB, &err), -ENOTEMPTY);
	assert_error(err, "files in it (file)");
	unlink(PATH "/file");
	assert_int_equal(mount("proc", PATH, "proc", 0, NULL), 0);
	refused("that is not tmpfs");
	umount(PATH);
	/* A part of another tmpfs, by a bind mount. */
	assert_int_equal(mkdir("/tmp/part", 0750), 0);
	assert_int_equal(mount("/tmp/part", PATH, NULL, MS_BIND, NULL), 0);
	refused("bind mount of a part");
	umount(PATH);
	rmdir("/tmp/part");
	rmdir(PATH);
	fixture_write(PATH, "text", 0600);
	refused("is not a folder");
	unlink(PATH);
}

static void test_wrong_mount(void **state)
{
	static const struct {
		unsigned long flags;
		const char *options, *why;
	} cases[] = {
		{MS_NODEV | MS_NOEXEC, "mode=0750", "without nosuid"},
		{MS_NOSUID | MS_NOEXEC, "mode=0750", "without nodev"},
		{MS_NOSUID | MS_NODEV, "mode=0750", "without noexec"},
		{MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755", "mode 0755"},
		{MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0750,uid=7", "belongs to uid 7"},
		{MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "mode=0750", "read-only"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		mount_at(PATH, cases[i].flags, cases[i].options);
		refused(cases[i].why);
		assert_int_equal(umount(PATH), 0);
	}
	rmdir(PATH);
}

static void test_the_way_there(void **state)
{
	struct err err = ERR_INIT;
	struct tmpfs_usage usage;

	(void)state;
	assert_int_equal(mkdir("/tmp/real", 0755), 0);
	rmdir("/tmp/a");
	assert_int_equal(symlink("real", "/tmp/a"), 0);
	refused("/tmp/a is a symbolic link");
	unlink("/tmp/a");
	assert_int_equal(mkdir("/tmp/a", 0755), 0);
	assert_int_equal(symlink("/tmp/real", PATH), 0);
	refused(PATH " is a symbolic link");
	unlink(PATH);
	assert_int_equal(chown("/tmp/a", 7, 0), 0);
	refused("/tmp/a belongs to uid 7");
	assert_int_equal(chown("/tmp/a", 0, 0), 0);
	assert_int_equal(chmod("/tmp/a", 0777), 0);
	refused("/tmp/a may be written to by others");
	assert_int_equal(chmod("/tmp/a", 0755), 0);
	assert_true(tmpfs_look("/tmp/a/../a", &usage, &err) < 0);
	assert_error(err, "..");
}

static void test_size(void **state)
{
	struct size_plan plan;
	struct err err = ERR_INIT;
	struct config c;

	(void)state;
	config_init(&c);
	c.default_memory = 256;
	size_plan(&c, SIZE_UNKNOWN, &plan);
	assert_int_equal(plan.memory_bytes, 256 * MiB);
	assert_int_equal(plan.retained_bytes, 264 * MiB + (64 << 10));
	assert_int_equal(plan.total_bytes,
		plan.memory_bytes + plan.state_bytes + plan.manifest_bytes +
			plan.retained_bytes + plan.slack_bytes);
	assert_int_equal(plan.total_bytes, 562 * MiB);
	assert_int_equal(plan.tmpfs_bytes, plan.total_bytes);
	assert_int_equal(size_check(&plan, &err), 0);
	size_plan(&c, 70 * MiB, &plan);
	assert_int_equal(plan.total_bytes, 355 * MiB);
	c.tmpfs_size = 300 * MiB;
	size_plan(&c, 70 * MiB, &plan);
	assert_int_equal(size_check(&plan, &err), -ENOSPC);
	assert_error(err, "372244480 bytes (355 MiB) are needed");
	assert_error(err, "314572800 (300 MiB)");
	assert_error(err, "tmpfs_size = auto or 355M");
	config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mount_grow_unmount),
		cmocka_unit_test(test_readonly_mount),
		cmocka_unit_test(test_not_a_tmpfs),
		cmocka_unit_test(test_wrong_mount),
		cmocka_unit_test(test_the_way_there),
		cmocka_unit_test(test_size),
	};

	fixture_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
