/* SPDX-License-Identifier: Apache-2.0 */
/* guest/storage: mount options, and what is mounted and taken back,
 * on the kernel's tmpfs. */
#include "tests/unit/guest_world.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "agent-client/agent.h"
#include "guest/image.h"
#include "guest/init.h"
#include "guest/storage.h"

#define A GUEST_SHARED_ROOT "/shared/a"
#define B GUEST_SHARED_ROOT "/shared/b"

/* ---- options ---- */

static void assert_options(const char *words, unsigned long flags, const char *data)
{
	_cleanup_free_ char *copy = xstrdup(words), *found = NULL;
	char *list[16], *at = copy;
	unsigned long found_flags;
	struct err err = ERR_INIT;
	size_t n = 0;

	while (*words && (list[n] = strsep(&at, " ")))
		n++;
	assert_int_equal(storage_parse_options(list, n, &found_flags, &found, &err), 0);
	assert_int_equal(found_flags, flags);
	assert_string_equal(found, data);
}

static void test_options(void **state)
{
	(void)state;
	assert_options("", 0, "");
	assert_options("defaults", 0, "");
	assert_options("ro nosuid nodev noexec",
		MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
	assert_options("ro rw", 0, "");
	assert_options("rw ro", MS_RDONLY, "");
	assert_options("noatime nodiratime relatime sync dirsync",
		MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_SYNCHRONOUS | MS_DIRSYNC,
		"");
	assert_options("mode=0700 ro size=512000 huge=never", MS_RDONLY,
		"mode=0700,size=512000,huge=never");
	/* Not a word that we know: the file system's to refuse. */
	assert_options("RO roo ,", 0, "RO,roo,,");
}

/* mount(2) takes a page with its NUL, commas included. */
static void test_options_limit(void **state)
{
	_cleanup_free_ char *longest = xzalloc(4097), *data = NULL;
	char *list[] = {longest, "x", "ro"};
	unsigned long flags = 77;
	struct err err = ERR_INIT;

	(void)state;
	memset(longest, 'a', 4093);
	assert_int_equal(storage_parse_options(list, 3, &flags, &data, &err), 0);
	assert_int_equal(strlen(data), 4095);
	assert_int_equal(flags, MS_RDONLY);
	free(steal_ptr(data));
	longest[4093] = 'a';
	flags = 77;
	assert_error(storage_parse_options(list, 3, &flags, &data, &err), -E2BIG,
		"mount options of more than 4095 bytes");
	longest[4094] = longest[4095] = 'a';
	assert_error(storage_parse_options(list, 1, &flags, &data, &err), -E2BIG,
		"mount options of more than 4095 bytes");
	assert_int_equal(flags, 77);
	assert_null(data);
	longest[4095] = '\0';
	assert_int_equal(storage_parse_options(list, 1, &flags, &data, &err), 0);
	assert_int_equal(strlen(data), 4095);
}

/* ---- mounting ---- */

static bool is_mounted(const char *path)
{
	struct stat here, above;
	_cleanup_free_ char *parent = xasprintf("%s/..", path);

	return stat(path, &here) == 0 && stat(parent, &above) == 0 &&
	       here.st_dev != above.st_dev;
}

static Grpc__Storage storage(char *driver, char *mount_point)
{
	Grpc__Storage s = GRPC__STORAGE__INIT;

	s.driver = driver;
	s.mount_point = mount_point;
	return s;
}

static void test_mount(void **state)
{
	Grpc__Storage a = storage("ephemeral", A), b = storage("local", B),
		      c = storage("ephemeral", A "/below//c/"), *list[] = {&a, &b, &c};
	char *options[] = {"size=65536", "nosuid", "ro"};
	struct statvfs fs;
	struct err err = ERR_INIT;
	char **mounts = NULL;
	size_t n = 0;

	(void)state;
	c.options = options;
	c.n_options = 3;
	assert_int_equal(storage_mount(list, 3, &mounts, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(mounts[0], A);
	assert_true(is_mounted(A));
	assert_false(is_mounted(B));
	assert_int_equal(access(B, F_OK), 0);
	assert_int_equal(statvfs(A "/below/c", &fs), 0);
	assert_int_equal(fs.f_blocks * fs.f_frsize, 65536);
	assert_true(fs.f_flag & ST_RDONLY);
	assert_true(fs.f_flag & ST_NOSUID);
	/* Backwards: c is inside a. */
	storage_unmount(&mounts, &n);
	assert_int_equal(n, 0);
	assert_null(mounts);
	assert_false(is_mounted(A));
	assert_int_equal(access(A "/below", F_OK), -1);
	storage_unmount(&mounts, &n);
}

/* What is in it is there for the next one. */
static void test_shm(void **state)
{
	Grpc__Storage a = storage(AGENT_SHM_DRIVER, A), *list[] = {&a};
	char *options[] = {"size=65536", "mode=1777"};
	struct err err = ERR_INIT;
	struct stat st;
	char **mounts = NULL;
	size_t n = 0;

	(void)state;
	a.options = options;
	a.n_options = 2;
	assert_int_equal(storage_mount(list, 1, &mounts, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(stat(A, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
	world_file(A "/kept", "x");
	storage_unmount(&mounts, &n);
	assert_int_equal(storage_mount(list, 1, &mounts, &n, &err), 0);
	assert_file(A "/kept", "x");
	assert_int_equal(umount(A), 0);
}

/* One that is in use goes at once, too. */
static void test_unmount_busy(void **state)
{
	Grpc__Storage a = storage("ephemeral", A), *list[] = {&a};
	_cleanup_close_ int fd = -1;
	struct err err = ERR_INIT;
	char **mounts = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(storage_mount(list, 1, &mounts, &n, &err), 0);
	fd = open(A, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	storage_unmount(&mounts, &n);
	assert_false(is_mounted(A));
}

/* The first is taken back when the second fails, and nothing is handed out. */
static void refuse(Grpc__Storage *bad, int code, const char *text)
{
	Grpc__Storage a = storage("ephemeral", A), *list[] = {&a, bad};
	char **mounts = (char **)77;
	struct err err = ERR_INIT;
	size_t n = 77;

	assert_error(storage_mount(list, 2, &mounts, &n, &err), code, text);
	assert_int_equal(n, 77);
	assert_ptr_equal(mounts, 77);
	assert_false(is_mounted(A));
}

static void test_refused(void **state)
{
	Grpc__Storage b = storage("scsi", B);
	char *options[] = {"size=lots"}, *modes[] = {"rootmode=40000", "x"},
	     *link[] = {"rootmode=120000"};

	(void)state;
	refuse(&b, -EOPNOTSUPP, "storage driver scsi is not known, stencil-files is");
	b = storage("", B);
	refuse(&b, -EOPNOTSUPP, "storage driver  is not known, stencil-files is");
	b = storage("local", "/etc");
	refuse(&b, -EINVAL, "mount point /etc is not below " GUEST_SHARED_ROOT);
	b = storage("ephemeral", GUEST_SHARED_ROOT "/../etc");
	refuse(&b, -EINVAL,
		"mount point " GUEST_SHARED_ROOT
		"/../etc is not below " GUEST_SHARED_ROOT);
	b = storage("ephemeral", "");
	refuse(&b, -EINVAL, "mount point  is not below " GUEST_SHARED_ROOT);
	b = storage("ephemeral", B);
	b.options = options;
	b.n_options = 1;
	refuse(&b, -EINVAL,
		"mount tmpfs (tmpfs) on " B " with size=lots: Invalid argument");
	b = storage("stencil-files", B);
	b.source = "7";
	refuse(&b, -EINVAL,
		": rootmode= and a type (40000 for a folder) is what is wanted");
	b.options = modes;
	b.n_options = 2;
	refuse(&b, -EINVAL,
		"rootmode=40000,x: rootmode= and a type (40000 for a folder) is what "
		"is wanted");
	b.n_options = 1;
	b.options = link;
	refuse(&b, -EINVAL,
		"rootmode=120000: rootmode= and a type (40000 for a folder) is what is "
		"wanted");
	b.options = modes;
	b.source = "7x";
	refuse(&b, -EINVAL, "7x is no mount's number");
	b.source = "";
	refuse(&b, -EINVAL, " is no mount's number");
	world_file(GUEST_SHARED_ROOT "/shared/file", "");
	b = storage("local", GUEST_SHARED_ROOT "/shared/file/x");
	refuse(&b, -ENOTDIR,
		"cannot create the folder " GUEST_SHARED_ROOT
		"/shared/file/x: Not a directory");
}

/* ---- images and overlays ---- */

#define LOWER "lowerdir=" GUEST_SHARED_ROOT "/images/k"
#define UPPER "upperdir=" A "/upper/fs"
#define WORK  "workdir=" A "/upper/work"

static void test_overlay_options(void **state)
{
	char *options[] = {(char[]){UPPER}, (char[]){WORK}, (char[]){LOWER}};
	_cleanup_free_ char *data = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(overlay_parse_options(options, 3, &data, &err), 0);
	assert_string_equal(data, LOWER
		"," UPPER "," WORK ",index=off,metacopy=off,redirect_dir=off,xino=on");
}

static void refuse_overlay(char *first, char *second, char *third, const char *quoted)
{
	char *options[] = {first, second, third};
	Grpc__Storage b = storage("overlay", B);
	_cleanup_free_ char *text = xasprintf(
		"overlay option %s: lowerdir=, upperdir= and workdir= are what is wanted, "
		"each a folder below " GUEST_SHARED_ROOT,
		quoted);

	b.options = options;
	b.n_options = 3;
	refuse(&b, -EINVAL,
		quoted ? text : "an overlay has lowerdir=, upperdir= and workdir=");
	assert_false(is_mounted(B));
}

static void test_overlay_refused(void **state)
{
	static char lower[] = LOWER, upper[] = UPPER, work[] = WORK,
		    outside[] = "upperdir=/etc",
		    up[] = "upperdir=" GUEST_SHARED_ROOT "/../../etc",
		    two[] = "lowerdir=" A ":" B, comma[] = "workdir=" A ",userxattr",
		    escaped[] = "workdir=" A "\\x", other[] = "userxattr",
		    empty[] = "upperdir=";
	Grpc__Storage b = storage("overlay", B);
	char *options[] = {lower, upper};

	(void)state;
	refuse_overlay(lower, outside, work, outside);
	refuse_overlay(lower, up, work, up);
	refuse_overlay(two, upper, work, two);
	refuse_overlay(lower, upper, comma, comma);
	refuse_overlay(lower, upper, escaped, "workdir=" A "\\x5cx");
	refuse_overlay(lower, upper, other, other);
	refuse_overlay(lower, empty, work, empty);
	refuse_overlay(lower, lower, work, lower);
	b.options = options;
	b.n_options = 2;
	refuse(&b, -EINVAL, "an overlay has lowerdir=, upperdir= and workdir=");
	b.n_options = 0;
	refuse(&b, -EINVAL, "an overlay has lowerdir=, upperdir= and workdir=");
}

/* All layers of the host's kernel, which any overlay's may be. */
static void test_overlay(void **state)
{
	char *options[] = {(char[]){"lowerdir=" A "/l"}, (char[]){"upperdir=" A "/u/fs"},
		(char[]){"workdir=" A "/u/work"}};
	Grpc__Storage a = storage("ephemeral", A), b = storage("overlay", B "/root"),
		      *first[] = {&a}, *second[] = {&b};
	struct err err = ERR_INIT;
	char **mounts = NULL, **more = NULL;
	size_t n = 0, n_more = 0;

	(void)state;
	b.options = options;
	b.n_options = 3;
	assert_int_equal(storage_mount(first, 1, &mounts, &n, &err), 0);
	assert_int_equal(mkdir_parents(A "/l/sub", 0755, &err), 0);
	assert_int_equal(mkdir_parents(A "/u/fs", 0755, &err), 0);
	assert_int_equal(mkdir_parents(A "/u/work", 0755, &err), 0);
	if (storage_mount(second, 1, &more, &n_more, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(mkdir(B "/root/sub/new", 0700), 0);
	assert_int_equal(access(A "/u/fs/sub/new", F_OK), 0);
	/* A mount point of its own: nobody else's. */
	assert_error(storage_mount(second, 1, &more, &n_more, &err), -EBUSY,
		"something is mounted on " B "/root already");
	storage_unmount(&more, &n_more);
	assert_int_equal(access(B "/root/sub", F_OK), -1);
	storage_unmount(&mounts, &n);
}

/* An image's and a block device's. */
static void test_address_refused(void **state)
{
	static const char *const wrong[] = {"", "01:1f.0", "0000:01:1f.1",
		"0000:01:1f.0x", "0000:01:1f.", "0000:01-1f.0", "0000:0g:1f.0",
		"../0:01:1f.0", "vda"};
	Grpc__Storage image = storage("stencil-image", B), block = storage("blk", B);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		_cleanup_free_ char *text =
			xasprintf("%s is no PCI address, 0000:01:1f.0 is", wrong[i]);

		image.source = block.source = (char *)(uintptr_t)wrong[i];
		refuse(&image, -EINVAL, text);
		refuse(&block, -EINVAL, text);
	}
}

static void test_too_many(void **state)
{
	Grpc__Storage a = storage("local", A), *list[65];
	char **mounts = NULL;
	struct err err = ERR_INIT;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		list[i] = &a;
	assert_error(storage_mount(list, 65, &mounts, &n, &err), -E2BIG,
		"65 storages, at most 64 fit");
	assert_int_equal(storage_mount(list, 64, &mounts, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(storage_mount(NULL, 0, &mounts, &n, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_options_limit),
		cmocka_unit_test(test_mount),
		cmocka_unit_test(test_shm),
		cmocka_unit_test(test_unmount_busy),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_overlay_options),
		cmocka_unit_test(test_overlay_refused),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_address_refused),
		cmocka_unit_test(test_too_many),
	};

	world_enter(0);
	world_tmpfs("/run");
	if (mkdir_parents(GUEST_SHARED_ROOT "/shared", 0755, NULL) < 0)
		world_skip(GUEST_SHARED_ROOT);
	return cmocka_run_group_tests_name("guest/storage", tests, NULL, NULL);
}
