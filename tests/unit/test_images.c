/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store: what is asked for is made by the real mkfs.erofs of the layers' real
 * overlay, and given; what can't be made has a reason; room, prune, recovery.
 */
#include "tests/unit/images_fixture.h"

#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/* Mounts an image read-only at /tmp/m, for unmount(). */
static void mount_image(const char *key)
{
	_cleanup_free_ char *command =
		xasprintf("mount -t erofs -o loop,ro " STORE "/%s.erofs /tmp/m", key);
	pid_t pid;
	int status;

	make_folder("/tmp/m");
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s failed", command);
}

static void unmount_image(void)
{
	assert_int_equal(umount2("/tmp/m", 0), 0);
}

static bool host_mounts_erofs(void)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(AT_FDCWD, "/proc/filesystems", MiB, &text, &len, NULL) == 0 &&
	       strstr(text, "\terofs\n") && access("/dev/loop-control", F_OK) == 0;
}

static void test_made_and_given(void **state)
{
	_cleanup_free_ char *layer = make_layer("a");
	struct image_grant one, two;
	struct statfs fs;
	struct stat st;
	struct err err;
	char byte = 'x';

	(void)state;
	assert_int_equal(ask_for(&layer, 1, &one, &err), IMAGES_MAKING);
	assert_error(err, "there is no image of its layers yet");
	wait_made();
	one = obtain_one(layer);
	two = obtain_one(layer);
	assert_string_equal(one.key, two.key);
	assert_int_equal(fstat(one.fd, &st), 0);
	assert_int_equal(st.st_size, one.bytes);
	assert_int_equal(st.st_size % (2 << 20), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(fcntl(one.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fstatfs(one.fd, &fs), 0);
	/* Not even root writes to it by this descriptor. */
	assert_int_equal(fchmod(one.fd, 0600), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(pwrite(one.fd, &byte, 1, 0), -1);
	/* Two users, and none when both are gone. */
	assert_int_equal(flock(one.fd, LOCK_EX | LOCK_NB), -1);
	close(two.fd);
	assert_int_equal(flock(one.fd, LOCK_EX | LOCK_NB), 0);
	close(one.fd);
	assert_int_equal(stat(STORE, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(count_files(".erofs"), 1);
	assert_int_equal(count_files(".json"), 1);
	assert_int_equal(count_files(".new"), 0);
}

static void test_identity(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b");
	char *const ab[] = {a, b}, *const ba[] = {b, a};
	char one[LAYERS_KEY_SIZE], two[LAYERS_KEY_SIZE];
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(layers_identify(ab, 2, NULL, one, &err), 0);
	assert_int_equal(layers_identify(ab, 2, NULL, two, &err), 0);
	assert_string_equal(one, two);
	assert_int_equal(strlen(one), 64);
	assert_int_equal(layers_identify(ba, 2, NULL, two, &err), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(layers_identify(ab, 1, NULL, two, &err), 0);
	assert_string_not_equal(one, two);
	/* The same path, made anew: a file system may give the same number again. */
	assert_int_equal(remove_tree(AT_FDCWD, a, &err), 0);
	free(make_layer("a"));
	assert_int_equal(layers_identify(ab, 2, NULL, two, &err), 0);
	assert_string_not_equal(one, two);
}

/* A wall's proof: docs/security.md. */
static void test_refused(void **state)
{
	_cleanup_free_ char *open_to_all = make_layer("open"), *plain = make_layer("a"),
			    *other = make_layer("b");
	char *const cases[][2] = {
		{(char[]){"/tmp/l/none"}, (char[]){"No such file"}},
		{(char[]){"/tmp/l/a/of-a"}, (char[]){"is no folder"}},
		{(char[]){"/dev/null"}, (char[]){"is no folder"}},
		{open_to_all, (char[]){"everybody may write to the layer /tmp/l/open"}},
		{(char[]){"/tmp/l/overlay"}, (char[]){"is on an overlay itself"}},
	};
	struct image_grant grant;
	struct err err;

	(void)state;
	assert_int_equal(chmod(open_to_all, 0777), 0);
	make_folder("/tmp/l/overlay");
	assert_int_equal(
		mount("o", "/tmp/l/overlay", "overlay", 0, "lowerdir=/tmp/l/a:/tmp/l/b"),
		0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *const lowers[] = {plain, cases[i][0]};

		assert_int_equal(ask_for(lowers, 2, &grant, &err), IMAGES_REFUSED);
		assert_error(err, cases[i][1]);
	}
	assert_int_equal(umount2("/tmp/l/overlay", 0), 0);
	change("images", "enable", "false");
	assert_int_equal(ask_for(&other, 1, &grant, &err), IMAGES_DISABLED);
	assert_error(err, "enable = false");
	assert_int_equal(store->answers[IMAGES_REFUSED], ARRAY_SIZE(cases));
	assert_int_equal(store->n_queued, 0);
}

/* The layers of test_contents(), topmost first. */
static void make_contents(void)
{
	static const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
	/* One entry for the owner, the group, others, and uid 7, and the mask. */
	static const unsigned char acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2,
		0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 0x10, 0, 4, 0, 255,
		255, 255, 255, 0x20, 0, 4, 0, 255, 255, 255, 255};
	const struct timespec times[2] = {{981173106, 123456789}, {981173106, 123456789}};
	int fd;

	free(make_layer("a"));
	free(make_layer("b"));
	assert_int_equal(link("/tmp/l/a/of-a", "/tmp/l/a/link"), 0);
	assert_int_equal(setxattr("/tmp/l/a/of-a", "security.capability", capability,
				 sizeof(capability), 0),
		0);
	assert_int_equal(
		setxattr("/tmp/l/a/of-a", "system.posix_acl_access", acl, sizeof(acl), 0),
		0);
	assert_int_equal(chown("/tmp/l/a/of-a", 70000, 123), 0);
	assert_int_equal(setxattr("/tmp/l/a/of-a", "security.capability", capability,
				 sizeof(capability), 0),
		0);
	assert_int_equal(utimensat(AT_FDCWD, "/tmp/l/a/of-a", times, 0), 0);
	assert_int_equal(mknod("/tmp/l/a/null", S_IFCHR | 0666, makedev(1, 3)), 0);
	assert_int_equal(mknod("/tmp/l/a/fifo", S_IFIFO | 0600, 0), 0);
	assert_int_equal(symlink("../some,where:\\else", "/tmp/l/a/sym"), 0);
	/* Hidden by a whiteout and by an opaque folder. */
	make_folder("/tmp/l/a/d");
	make_folder("/tmp/l/b/d");
	make_folder("/tmp/l/a/o");
	make_folder("/tmp/l/b/o");
	fixture_write("/tmp/l/b/d/gone", "", 0644);
	fixture_write("/tmp/l/b/d/seen", "seen", 0600);
	fixture_write("/tmp/l/b/o/gone", "", 0644);
	assert_int_equal(mknod("/tmp/l/a/d/gone", S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(setxattr("/tmp/l/a/o", "trusted.overlay.opaque", "y", 1, 0), 0);
	/* A file that only root may read in a folder that only another may enter. */
	make_folder("/tmp/l/b/secret");
	fixture_write("/tmp/l/b/secret/file", "secret", 0);
	assert_int_equal(chown("/tmp/l/b/secret", 12, 34), 0);
	assert_int_equal(chmod("/tmp/l/b/secret", 04700), 0);
	fd = open("/tmp/l/b/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, (8 << 20) + 1), 0);
	assert_int_equal(pwrite(fd, "end", 3, 8 << 20), 3);
	close(fd);
}

static void assert_same(const char *name, const char *layer)
{
	_cleanup_free_ char *was = xasprintf("/tmp/l/%s/%s", layer, name),
			    *is = xasprintf("/tmp/m/%s", name);
	struct stat a, b;

	assert_int_equal(lstat(was, &a), 0);
	if (lstat(is, &b) < 0)
		fail_msg("%s is missing", name);
	assert_int_equal(a.st_mode, b.st_mode);
	assert_int_equal(a.st_uid, b.st_uid);
	assert_int_equal(a.st_gid, b.st_gid);
	assert_int_equal(a.st_rdev, b.st_rdev);
	assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
	assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
	if (!S_ISDIR(a.st_mode)) {
		assert_int_equal(a.st_size, b.st_size);
		assert_int_equal(a.st_nlink, b.st_nlink);
	}
}

static void assert_same_xattr(const char *name)
{
	char was[256], is[256];
	ssize_t n = getxattr("/tmp/l/a/of-a", name, was, sizeof(was));

	assert_true(n > 0);
	assert_int_equal(getxattr("/tmp/m/of-a", name, is, sizeof(is)), n);
	assert_memory_equal(was, is, n);
}

static void assert_gone(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), -1);
	assert_int_equal(errno, ENOENT);
}

static void test_contents(void **state)
{
	static const char *const names[][2] = {{"of-a", "a"}, {"link", "a"},
		{"null", "a"}, {"fifo", "a"}, {"sym", "a"}, {"d", "a"}, {"o", "a"},
		{"of-b", "b"}, {"d/seen", "b"}, {"secret", "b"}, {"secret/file", "b"},
		{"sparse", "b"}};
	char *const lowers[] = {(char[]){"/tmp/l/a"}, (char[]){"/tmp/l/b"}};
	struct image_grant grant;
	struct stat one, two;
	char text[64];
	ssize_t n;

	(void)state;
	if (!host_mounts_erofs())
		skip();
	make_contents();
	grant = obtain(lowers, 2);
	mount_image(grant.key);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_same(names[i][0], names[i][1]);
	assert_same_xattr("security.capability");
	assert_same_xattr("system.posix_acl_access");
	assert_int_equal(stat("/tmp/m/of-a", &one), 0);
	assert_int_equal(stat("/tmp/m/link", &two), 0);
	assert_int_equal(one.st_ino, two.st_ino);
	n = readlink("/tmp/m/sym", text, sizeof(text));
	assert_int_equal(n, strlen("../some,where:\\else"));
	assert_gone("/tmp/m/d/gone");
	assert_gone("/tmp/m/o/gone");
	assert_true(getxattr("/tmp/m/o", "trusted.overlay.opaque", text, 1) < 0);
	unmount_image();
	close(grant.fd);
}

static void test_hundred_layers_with_odd_names(void **state)
{
	char *lowers[101];
	struct image_grant grant;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lowers); i++) {
		_cleanup_free_ char *name = xasprintf(
			"%03zu,upperdir=x:\\, a \"layer\" with a name that is long: %s",
			i,
			"................................................................"
			"................................................................"
			"...........................................");
		_cleanup_free_ char *file = NULL;

		lowers[i] = xasprintf("/tmp/l/%s", name);
		make_folder(lowers[i]);
		file = xasprintf("%s/file%zu", lowers[i], i);
		fixture_write(file, name, 0644);
	}
	/* Of two file systems. */
	assert_int_equal(mount("t", lowers[50], "tmpfs", 0, "mode=0755"), 0);
	{
		_cleanup_free_ char *file = xasprintf("%s/file50", lowers[50]);

		fixture_write(file, "tmpfs", 0644);
		assert_int_equal(link(file, "/tmp/l/x"), -1);
		assert_int_equal(errno, EXDEV);
	}
	grant = obtain(lowers, ARRAY_SIZE(lowers));
	if (host_mounts_erofs()) {
		mount_image(grant.key);
		for (size_t i = 0; i < ARRAY_SIZE(lowers); i++) {
			_cleanup_free_ char *file = xasprintf("/tmp/m/file%zu", i);

			if (access(file, F_OK) < 0)
				fail_msg("%s is missing", file);
		}
		unmount_image();
	}
	close(grant.fd);
	assert_int_equal(umount2(lowers[50], 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lowers); i++)
		free(lowers[i]);
}

/* More than the descriptors' numbers would need, were they paths. */
static void test_as_many_layers_as_there_can_be(void **state)
{
	char *lowers[500];
	struct image_grant grant;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lowers); i++) {
		lowers[i] = xasprintf("/tmp/l/%zu", i);
		make_folder(lowers[i]);
	}
	grant = obtain(lowers, ARRAY_SIZE(lowers));
	assert_int_equal(store->all->facts.layers, 500);
	close(grant.fd);
	for (size_t i = 0; i < ARRAY_SIZE(lowers); i++)
		free(lowers[i]);
}

static void make_file(const char *path, off_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void fill_file(const char *path, size_t size)
{
	_cleanup_free_ char *data = xmalloc(size + 1);

	memset(data, 'd', size);
	data[size] = '\0';
	fixture_write(path, data, 0644);
}

static void test_too_large(void **state)
{
	_cleanup_free_ char *layer = make_layer("a"), *sparse = make_layer("b");
	struct image_grant grant;
	struct err err;

	(void)state;
	/* 4 GiB and a byte of nothing are not written. */
	make_file("/tmp/l/b/hole", ((off_t)4 << 30) + 1);
	fail_to_make(&sparse, 1, IMAGES_TOO_LARGE, "of zeros for holes of its files");
	fill_file("/tmp/l/a/large", 3 << 20);
	change("images", "max_bytes", "2M");
	fail_to_make(&layer, 1, IMAGES_TOO_LARGE, "max_bytes allows 2097152");
	/* It is not tried again … */
	assert_int_equal(store->failed, 2);
	assert_int_equal(ask_for(&layer, 1, &grant, &err), IMAGES_TOO_LARGE);
	assert_int_equal(store->n_queued, 0);
	/* … unless there is more room. */
	change("images", "max_bytes", "4M");
	grant = obtain_one(layer);
	assert_int_equal(grant.bytes, 4 << 20);
	close(grant.fd);
	assert_int_equal(count_files(".new"), 0);
}

static bool is_there(const struct image_grant *grant)
{
	_cleanup_free_ char *path = xasprintf(STORE "/%s.erofs", grant->key);

	return access(path, F_OK) == 0;
}

static void test_room(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b"),
			    *c = make_layer("c"), *d = make_layer("d");
	struct image_grant of_a, of_b, of_c;

	(void)state;
	change("images", "max_bytes", "4M");
	of_a = obtain_one(a);
	close(of_a.fd);
	of_b = obtain_one(b);
	close(of_b.fd);
	/* Later than b: b is the one to go. */
	of_a = obtain_one(a);
	of_c = obtain_one(c);
	assert_true(is_there(&of_a));
	assert_false(is_there(&of_b));
	assert_true(is_there(&of_c));
	assert_int_equal(store->bytes, 4 << 20);
	/* Both are in use: there is no room, and neither goes. */
	fail_to_make(&d, 1, IMAGES_FULL, "images that are in use have 4194304");
	assert_true(is_there(&of_a) && is_there(&of_c));
	/* The one in use stays, though it was used before the other. */
	close(of_c.fd);
	of_b = obtain_one(b);
	assert_true(is_there(&of_a));
	assert_false(is_there(&of_c));
	close(of_a.fd);
	/* Less room by a new configuration. */
	change("images", "max_bytes", "2M");
	images_trim(store, &settings->config);
	assert_true(is_there(&of_b));
	assert_int_equal(store->bytes, 2 << 20);
	close(of_b.fd);
}

static void test_prune(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b");
	struct image_grant of_a = obtain_one(a), of_b = obtain_one(b);
	_cleanup_json_ struct json_object *list = NULL;
	uint64_t count, bytes, users;

	(void)state;
	close(of_b.fd);
	list = images_list(store, &settings->config);
	assert_int_equal(
		json_get_u64(json_object_array_get_idx(json_at(list, "images"), 0),
			"users", &users, NULL),
		0);
	assert_int_equal(users, 0);
	assert_int_equal(
		json_get_u64(json_object_array_get_idx(json_at(list, "images"), 1),
			"users", &users, NULL),
		0);
	assert_int_equal(users, 1);
	images_prune(store, &count, &bytes);
	assert_int_equal(count, 1);
	assert_int_equal(bytes, 2 << 20);
	assert_true(is_there(&of_a));
	assert_false(is_there(&of_b));
	close(of_a.fd);
	images_prune(store, &count, &bytes);
	assert_int_equal(count, 1);
	assert_int_equal(store->bytes, 0);
	assert_int_equal(count_files(".json") + count_files(".erofs"), 0);
}

static void restart_store(void)
{
	struct err err = ERR_INIT;

	images_free(store);
	store = images_new(STORE);
	if (images_open(store, &settings->config, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_recovery(void **state)
{
	_cleanup_free_ char *a = make_layer("a"), *b = make_layer("b");
	struct image_grant of_a = obtain_one(a), of_b = obtain_one(b);
	_cleanup_free_ char *json = xasprintf(STORE "/%s.json", of_b.key);
	uint64_t used_ms = images_find(store, of_a.key)->used_ms;

	(void)state;
	/* As a kill in the middle leaves it. */
	fixture_write(STORE "/" DIGEST_A ".new", "half", 0600);
	fixture_write(STORE "/" DIGEST_A ".json.new", "{", 0600);
	fixture_write(STORE "/" DIGEST_B ".erofs", "no facts", 0444);
	fixture_write(STORE "/administrator's", "not ours", 0444);
	fixture_write(json, "{\"version\": 1}", 0600);
	restart_store();
	assert_int_equal(count_files(".new") + count_files(".json.new"), 0);
	assert_int_equal(count_files(".erofs"), 1);
	assert_int_equal(count_files(".json"), 1);
	assert_int_equal(access(STORE "/administrator's", F_OK), 0);
	assert_true(is_there(&of_a));
	assert_int_equal(images_find(store, of_a.key)->used_ms, used_ms);
	/* Its user is known from before, as long as the lock's taker lives. */
	assert_int_equal(flock(of_a.fd, LOCK_SH | LOCK_NB), 0);
	close(of_a.fd);
	close(of_b.fd);
}

/* Another store in the same folder would remove what this one makes. */
static void test_one_store_a_folder(void **state)
{
	_cleanup_free_ char *a = make_layer("a");
	int ready[2], status;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	restart_store();
	pid = fork();
	if (pid == 0) {
		struct images *other = images_new(STORE);
		struct err err = ERR_INIT;
		int r = images_open(other, &settings->config, &err);

		_exit(r == -EBUSY && strstr(err.text, "another templated") ? 0 : 1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Whatever was done to the file: it is made again. */
static void alter(const struct image_grant *grant, int how)
{
	_cleanup_free_ char *path = xasprintf(STORE "/%s.erofs", grant->key);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

	switch (how) {
	case 0:
		assert_int_equal(ftruncate(fd, 4096), 0);
		break;
	case 1:
		assert_int_equal(pwrite(fd, "x", 1, 1 << 20), 1);
		break;
	case 2:
		assert_int_equal(unlink(path), 0);
		break;
	default:
		assert_int_equal(unlink(path), 0);
		assert_int_equal(symlink("/etc/passwd", path), 0);
		break;
	}
}

/* A wall's proof: docs/security.md. */
static void test_altered(void **state)
{
	_cleanup_free_ char *a = make_layer("a");

	(void)state;
	for (int how = 0; how < 4; how++) {
		struct image_grant grant = obtain_one(a), again;
		struct err err;

		close(grant.fd);
		alter(&grant, how);
		assert_int_equal(ask_for(&a, 1, &again, &err), IMAGES_MAKING);
		again = obtain_one(a);
		close(again.fd);
	}
	assert_int_equal(store->removed, 4);
	assert_int_equal(store->made, 5);
}

/* The folder goes while templated runs. */
static void test_folder_is_removed(void **state)
{
	_cleanup_free_ char *a = make_layer("a");
	struct image_grant grant = obtain_one(a);
	struct err err = ERR_INIT;

	(void)state;
	close(grant.fd);
	assert_int_equal(remove_tree(AT_FDCWD, STORE, &err), 0);
	grant = obtain_one(a);
	assert_true(is_there(&grant));
	close(grant.fd);
}

static void test_store_in_the_way(void **state)
{
	_cleanup_free_ char *a = make_layer("a");
	struct image_grant grant;
	struct err err;

	(void)state;
	fixture_write(STORE, "a file", 0600);
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_UNAVAILABLE);
	assert_error(err, "the image store " STORE);
	assert_int_equal(unlink(STORE), 0);
	assert_int_equal(mkdir(STORE, 0755), 0);
	assert_int_equal(chown(STORE, 12, 12), 0);
	assert_int_equal(ask_for(&a, 1, &grant, &err), IMAGES_UNAVAILABLE);
	assert_error(err, "it belongs to uid 12");
	assert_int_equal(chown(STORE, 0, 0), 0);
	grant = obtain_one(a);
	close(grant.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_and_given, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_contents, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_hundred_layers_with_odd_names, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_as_many_layers_as_there_can_be, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recovery, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_store_a_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_altered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_in_the_way, setup, teardown),
	};

	images_enter();
	return cmocka_run_group_tests_name("images", tests, NULL, NULL);
}
