/* SPDX-License-Identifier: Apache-2.0 */
/* An overlay with its upper layer on a served tree, as the guest mounts it: what
 * overlayfs marks there is on the host what the host's overlayfs would have left. */
#include "tests/integration/files_server.h"

#include <fcntl.h>
#include <sys/xattr.h>

/* Below the served folder: upper and work, seen through the server. */
struct overlay {
	struct files_server *server;
	char *lower, *merged;
};

static struct files_server *server_new(bool overlay_upper)
{
	return files_server_new(&(struct files_tree){
		.cache = TREE_CACHE_OWN, .overlay_upper = overlay_upper});
}

static char *in(const char *folder, const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

#define IN(folder, name, var) _cleanup_free_ char *var = in(folder, name)

static void make_folder(const char *folder, const char *name)
{
	IN(folder, name, path);

	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_lower(const char *lower)
{
	IN(lower, "link", link);
	IN(lower, "name1", name1);
	IN(lower, "name2", name2);

	make_folder(lower, "opaque");
	make_folder(lower, "moved");
	make_folder(lower, "impure");
	free(test_file(lower, "opaque/old", "old\n"));
	free(test_file(lower, "moved/inside", "inside\n"));
	free(test_file(lower, "impure/grows", "one\n"));
	free(test_file(lower, "gone", "gone\n"));
	free(test_file(lower, "name1", "names\n"));
	assert_int_equal(symlink("gone", link), 0);
	assert_int_equal(linkat(AT_FDCWD, name1, AT_FDCWD, name2, 0), 0);
}

static int setup(void **state)
{
	struct overlay *o = xnew0(struct overlay);
	_cleanup_free_ char *options = NULL;

	files_server_unshare();
	o->server = server_new(true);
	o->lower = test_folder_new();
	o->merged = test_folder_new();
	make_lower(o->lower);
	make_folder(o->server->mounted, "upper");
	make_folder(o->server->mounted, "work");
	options = xasprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,index=on,"
			    "redirect_dir=on,xino=off",
		o->lower, o->server->mounted, o->server->mounted);
	if (mount("overlay", o->merged, "overlay", 0, options) < 0)
		fail_msg("mount: %s", strerror(errno));
	*state = o;
	return 0;
}

static int teardown(void **state)
{
	struct overlay *o = *state;

	assert_int_equal(umount2(o->merged, 0), 0);
	files_server_free(o->server);
	test_folder_free(o->merged);
	test_folder_free(o->lower);
	free(o);
	return 0;
}

/* What the host sees on a file of the upper layer; its length, or a negative errno. */
static ssize_t mark_of(
	const struct overlay *o, const char *name, const char *mark, char *value)
{
	_cleanup_free_ char *path = xasprintf("%s/upper/%s", o->server->folder, name);
	_cleanup_free_ char *attribute = xasprintf("trusted.overlay.%s", mark);
	ssize_t n;

	memset(value, 0, 256);
	n = lgetxattr(path, attribute, value, 255);
	return n < 0 ? -errno : n;
}

static void test_opaque(void **state)
{
	struct overlay *o = *state;
	IN(o->merged, "opaque", path);
	IN(o->merged, "opaque/old", old);
	char value[256];

	assert_int_equal(unlink(old), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(access(old, F_OK), -1);
	assert_int_equal(mark_of(o, "opaque", "opaque", value), 1);
	assert_string_equal(value, "y");
}

static void test_whiteout(void **state)
{
	struct overlay *o = *state;
	_cleanup_free_ char *upper = xasprintf("%s/upper/gone", o->server->folder);
	IN(o->merged, "gone", path);
	struct stat st;

	assert_int_equal(unlink(path), 0);
	assert_int_equal(stat(upper, &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, 0);
}

static void test_redirect(void **state)
{
	struct overlay *o = *state;
	IN(o->merged, "moved", from);
	IN(o->merged, "impure/there", to);
	IN(o->merged, "impure/there/inside", inside);
	char value[256];

	assert_int_equal(rename(from, to), 0);
	assert_int_equal(access(inside, F_OK), 0);
	assert_int_equal(mark_of(o, "impure/there", "redirect", value), 6);
	assert_string_equal(value, "/moved");
	assert_int_equal(mark_of(o, "impure", "impure", value), 1);
	assert_string_equal(value, "y");
}

static void test_symlink(void **state)
{
	struct overlay *o = *state;
	_cleanup_free_ char *upper = xasprintf("%s/upper/link", o->server->folder);
	IN(o->merged, "link", path);
	char text[16] = "", value[256];

	assert_int_equal(lchown(path, 5, 6), 0);
	assert_int_equal(readlink(upper, text, sizeof(text) - 1), 4);
	assert_string_equal(text, "gone");
	/* A symbolic link has one, too. */
	assert_true(mark_of(o, "link", "origin", value) > 0);
}

static void test_hard_links(void **state)
{
	struct overlay *o = *state;
	IN(o->merged, "name1", name1);
	IN(o->merged, "name2", name2);
	struct stat a, b;
	char value[256];

	assert_int_equal(chmod(name1, 0600), 0);
	assert_int_equal(stat(name1, &a), 0);
	assert_int_equal(stat(name2, &b), 0);
	assert_int_equal(b.st_mode & 0777, 0600);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_nlink, 2);
	/* Of one upper name so far: what the other layers hold is counted from it. */
	assert_true(mark_of(o, "name1", "nlink", value) > 0);
	assert_int_equal(value[0], 'U');
}

/* The marks are seen through the server as they are on the host, and by name only. */
static void test_list(void **state)
{
	struct overlay *o = *state;
	_cleanup_free_ char *host = xasprintf("%s/upper/list", o->server->folder);
	_cleanup_free_ char *seen = xasprintf("%s/upper/list", o->server->mounted);
	char text[16];

	make_folder(o->server->mounted, "upper/list");
	assert_int_equal(setxattr(host, "trusted.overlay.x", "abc", 3, 0), 0);
	assert_int_equal(getxattr(seen, "trusted.overlay.x", NULL, 0), 3);
	assert_int_equal(getxattr(seen, "trusted.overlay.x", text, 2), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(getxattr(seen, "trusted.overlay.x", text, sizeof(text)), 3);
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(listxattr(seen, NULL, 0), 0);
	assert_int_equal(setxattr(seen, "trusted.overlay.x", "d", 1, XATTR_CREATE), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(removexattr(seen, "trusted.overlay.x"), 0);
	assert_int_equal(getxattr(host, "trusted.overlay.x", NULL, 0), -1);
	assert_int_equal(errno, ENODATA);
	/* Others' the server cannot set. */
	assert_int_equal(setxattr(seen, "trusted.x", "y", 1, 0), -1);
	assert_int_equal(errno, EPERM);
}

static void test_long_value(void **state)
{
	struct overlay *o = *state;
	_cleanup_free_ char *seen = xasprintf("%s/upper", o->server->mounted);
	_cleanup_free_ char *value = xzalloc(5000);

	assert_int_equal(setxattr(seen, "trusted.overlay.long", value, 5000, 0), -1);
	assert_int_equal(errno, E2BIG);
}

/* A volume has none of them. */
static void test_other_tree(void **state)
{
	struct files_server *server = server_new(false);

	(void)state;
	assert_int_equal(
		setxattr(server->folder, "trusted.overlay.opaque", "y", 1, 0), 0);
	assert_int_equal(
		getxattr(server->mounted, "trusted.overlay.opaque", NULL, 0), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(
		setxattr(server->mounted, "trusted.overlay.opaque", "n", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(removexattr(server->mounted, "trusted.overlay.opaque"), -1);
	assert_int_equal(errno, EPERM);
	files_server_free(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opaque),
		cmocka_unit_test(test_whiteout),
		cmocka_unit_test(test_redirect),
		cmocka_unit_test(test_symlink),
		cmocka_unit_test(test_hard_links),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_long_value),
		cmocka_unit_test(test_other_tree),
	};

	if (files_server_missing()) {
		printf("1..0 # SKIP %s\n", files_server_missing());
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
