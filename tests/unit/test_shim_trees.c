/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim/trees with the real stencil-files: what a spec says is read-only is a read-only
 * mount on the host. Each try is made through a descriptor that was taken out of the
 * server, as it would make it if somebody had broken into it: nothing of ours is asked.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "files/client.h"
#include "files/control.h"
#include "shim/trees.h"
#include "tests/unit/files_guest.h"

#define SERVER_UID 1879100100u

/* Folders with a mount on "below" in each. */
enum place { ROOT, RW, RO, RRO, FOLLOWED, PLACES };
static const char *const place_names[PLACES] = {"root", "rw", "ro", "rro", "followed"};

struct fixture {
	struct config config;
	struct guest guest;
	struct files_client *client;
	char *folder, *paths[PLACES];
	struct spec_bind binds[PLACES - 1];
	struct trees_config trees_config;
	struct trees *trees;
};

static void make_place(struct fixture *f, enum place place)
{
	_cleanup_free_ char *below =
		xasprintf("%s/%s/below", f->folder, place_names[place]);

	f->paths[place] = xasprintf("%s/%s", f->folder, place_names[place]);
	assert_int_equal(mkdir(f->paths[place], 0755), 0);
	assert_int_equal(
		mount("test", f->paths[place], "tmpfs", 0, "size=64k,mode=0777"), 0);
	assert_int_equal(mkdir(below, 0777), 0);
	assert_int_equal(mount("test", below, "tmpfs", 0, "size=64k,mode=0777"), 0);
}

static void plan_trees(struct fixture *f, bool readonly)
{
	static const enum rootfs_readonly kinds[PLACES] = {
		[RO] = ROOTFS_READONLY_TOP,
		[RRO] = ROOTFS_READONLY_ALL,
		[FOLLOWED] = ROOTFS_READONLY_ALL,
	};

	for (int i = RW; i < PLACES; i++)
		f->binds[i - 1] = (struct spec_bind){
			.tree = {f->paths[i], true, kinds[i]}, .follows = i == FOLLOWED};
	f->trees_config = (struct trees_config){.config = &f->config,
		.cid = "test",
		.root = f->paths[ROOT],
		.readonly = readonly,
		.binds = f->binds,
		.n_binds = PLACES - 1};
}

static void start_server(struct fixture *f)
{
	_cleanup_free_ char *program =
		xasprintf("%s/stencil-files", getenv("STENCIL_BUILD"));
	struct files_start start = {.program = program,
		.uid = SERVER_UID,
		.channel_fd = f->guest.peer_fd,
		.window_fd = f->guest.window_fd,
		.log_fd = STDERR_FILENO};
	struct err err = ERR_INIT;

	if (files_client_new(&start, &f->client, &err) < 0)
		fail_msg("%s", err.text);
}

static struct fixture *fixture_new(bool readonly)
{
	struct fixture *f = xnew0(struct fixture);
	struct err err = ERR_INIT;

	config_init(&f->config);
	f->folder = test_folder_new();
	for (int i = 0; i < PLACES; i++)
		make_place(f, (enum place)i);
	guest_init(&f->guest);
	start_server(f);
	plan_trees(f, readonly);
	if (trees_start(&f->trees_config, &f->trees, &err) < 0 ||
		trees_give(f->trees, f->client, &err) < 0)
		fail_msg("%s", err.text);
	return f;
}

static void fixture_free(struct fixture *f)
{
	trees_withdraw(f->trees, f->client);
	trees_free(f->trees);
	files_client_free(f->client);
	guest_done(&f->guest);
	for (int i = 0; i < PLACES; i++) {
		assert_int_equal(umount2(f->paths[i], MNT_DETACH), 0);
		free(f->paths[i]);
	}
	test_folder_free(f->folder);
	config_done(&f->config);
	free(f);
}

/* The server's own descriptor of a tree's root. */
static int take_root(const struct fixture *f, enum place place)
{
	int pidfd = files_client_pidfd(f->client);
	struct stat wanted, st;

	assert_int_equal(stat(f->paths[place], &wanted), 0);
	for (int n = FILES_FD_FIRST; n < 128; n++) {
		int fd = (int)syscall(SYS_pidfd_getfd, pidfd, n, 0);

		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == wanted.st_dev &&
			st.st_ino == wanted.st_ino)
			return fd;
		close_fd(fd);
	}
	fail_msg("the server has no descriptor of %s", place_names[place]);
	return -1;
}

/* 0 or the errno: a file made there, or what is there changed. */
static int try_write(int root_fd, const char *folder)
{
	_cleanup_close_ int at = openat(root_fd, folder, O_PATH | O_CLOEXEC), fd = -1;
	_cleanup_free_ char *name = xasprintf("/proc/self/fd/%d", at);

	assert_true(at >= 0);
	fd = openat(at, "made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		return unlinkat(at, "made", 0) < 0 ? errno : 0;
	assert_int_equal(errno, EROFS);
	assert_int_equal(chmod(name, 0700), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(mkdirat(at, "made", 0700), -1);
	return errno;
}

static void check_place(const struct fixture *f, enum place place, int top, int below)
{
	_cleanup_close_ int fd = take_root(f, place);

	assert_int_equal(try_write(fd, "."), top);
	assert_int_equal(try_write(fd, "below"), below);
}

/* A wall's proof: docs/security.md. */
static void test_binds(void **state)
{
	struct fixture *f = fixture_new(false);

	(void)state;
	check_place(f, ROOT, 0, 0);
	check_place(f, RW, 0, 0);
	check_place(f, RO, EROFS, 0);
	check_place(f, RRO, EROFS, EROFS);
	check_place(f, FOLLOWED, EROFS, EROFS);
	fixture_free(f);
}

/* No device of the host's is opened by a node that the guest has made,
 * and no set-uid file of its runs. */
/* A wall's proof: docs/security.md. */
static void test_flags(void **state)
{
	struct fixture *f = fixture_new(false);
	const unsigned long wanted = ST_NOSUID | ST_NODEV;

	(void)state;
	for (int i = 0; i < PLACES; i++) {
		_cleanup_close_ int fd = take_root(f, (enum place)i);
		_cleanup_close_ int below = openat(fd, "below", O_PATH | O_CLOEXEC);
		struct statvfs at;

		assert_int_equal(fstatvfs(fd, &at), 0);
		assert_int_equal(at.f_flag & wanted, wanted);
		assert_int_equal(fstatvfs(below, &at), 0);
		assert_int_equal(at.f_flag & wanted, wanted);
	}
	fixture_free(f);
}

/* The host's own mounts are as they were. */
/* A wall's proof: docs/security.md. */
static void test_root(void **state)
{
	struct fixture *f = fixture_new(true);
	_cleanup_close_ int host = open(f->paths[ROOT], O_PATH | O_CLOEXEC);
	struct err err = ERR_INIT;

	(void)state;
	check_place(f, ROOT, 0, 0);
	if (trees_seal(f->trees, f->client, &err) < 0)
		fail_msg("%s", err.text);
	check_place(f, ROOT, EROFS, 0);
	check_place(f, RW, 0, 0);
	assert_int_equal(try_write(host, "."), 0);
	/* Twice, and of one that is not to be. */
	assert_int_equal(trees_seal(f->trees, f->client, &err), 0);
	fixture_free(f);
	f = fixture_new(false);
	assert_int_equal(trees_seal(f->trees, f->client, &err), 0);
	check_place(f, ROOT, 0, 0);
	fixture_free(f);
}

/* Somebody in the server keeps a file open that its table does not have. */
static void test_busy_root(void **state)
{
	struct fixture *f = fixture_new(true);
	_cleanup_close_ int root = take_root(f, ROOT), writer = -1;
	struct err err = ERR_INIT;

	(void)state;
	writer = openat(root, "open", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(writer >= 0);
	assert_int_equal(trees_seal(f->trees, f->client, &err), -EBUSY);
	assert_string_equal(err.text, "cannot make the root file system read-only: "
				      "mount_setattr: Device or resource busy");
	fixture_free(f);
}

static int setup(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNS) < 0 ||
			       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			       mount("test", "/tmp", "tmpfs", 0, NULL) < 0 ||
			       mount(NULL, "/tmp", NULL, MS_SHARED, NULL) < 0
		       ? -1
		       : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_binds),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_busy_root),
	};

	return cmocka_run_group_tests_name("shim/trees", tests, setup, NULL);
}
