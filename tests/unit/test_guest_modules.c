/* SPDX-License-Identifier: Apache-2.0 */
/* guest/modules: the list, and what is loaded of it in which order. finit_module(2) is
 * this program's: a test must not load anything into the kernel that it runs on. */
#include "tests/unit/guest_world.h"

#include <linux/module.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "guest/modules.h"

/* ---- the kernel ---- */

static struct {
	char *log;           /* "path params flags;" of each load */
	const char *refused; /* this path with error */
	int error;
} kernel;

/* In the place of libc's: the agent's code calls this one. */
long syscall(long number, ...)
{
	char self[32], path[128];
	const char *params;
	int fd, flags;
	ssize_t n;
	va_list ap;
	char *more;

	va_start(ap, number);
	fd = va_arg(ap, int);
	params = va_arg(ap, const char *);
	flags = va_arg(ap, int);
	va_end(ap);
	if (number != SYS_finit_module)
		abort();
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = '\0';
	if (kernel.refused && strcmp(strrchr(path, '/'), kernel.refused) == 0) {
		errno = kernel.error;
		return -1;
	}
	more = xasprintf("%s%s %s %d;", kernel.log, strrchr(path, '/'), params, flags);
	free(kernel.log);
	kernel.log = more;
	return 0;
}

static int begin(void **state)
{
	(void)state;
	free(kernel.log);
	kernel = (typeof(kernel)){.log = xstrdup("")};
	remove_tree(AT_FDCWD, "/lib/modules", NULL);
	return mkdir_parents("/lib/modules", 0755, NULL);
}

/* The list, and each of its files. */
static void make_modules(const char *list)
{
	_cleanup_free_ char *copy = xstrdup(list);
	struct module_line line;
	char *at = copy;

	world_file(MODULE_LIST, list);
	while (module_line_next(&at, &line, NULL) > 0)
		world_file(line.path, "ELF");
}

/* ---- the list ---- */

static void assert_line(
	char **at, enum module_when when, const char *path, const char *params)
{
	struct module_line line;
	struct err err = ERR_INIT;

	assert_int_equal(module_line_next(at, &line, &err), 1);
	assert_int_equal(line.when, when);
	assert_string_equal(line.path, path);
	assert_string_equal(line.params, params);
}

static void test_lines(void **state)
{
	char text[] = "# one a line\n\n"
		      "/a.ko\n"
		      "boot /b.ko\n"
		      " \t later \t /c.ko.xz  x=1 y=\"2 3\" \n"
		      "ask\t/d.ko\tz\n"
		      "/e.ko";
	struct module_line line;
	struct err err = ERR_INIT;
	char *at = text;

	(void)state;
	assert_line(&at, MODULE_BOOT, "/a.ko", "");
	assert_line(&at, MODULE_BOOT, "/b.ko", "");
	assert_line(&at, MODULE_LATER, "/c.ko.xz", "x=1 y=\"2 3\" ");
	assert_line(&at, MODULE_ASK, "/d.ko", "z");
	assert_line(&at, MODULE_BOOT, "/e.ko", "");
	assert_int_equal(module_line_next(&at, &line, &err), 0);
	assert_int_equal(module_line_next(&at, &line, &err), 0);
}

static void test_bad_lines(void **state)
{
	static const char *const bad[] = {"a.ko", "boot", "boot ", "boot later /a.ko",
		"soon /a.ko", "boot# /a.ko", "\r/a.ko"};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *text = xstrdup(bad[i]);
		struct module_line line;
		char *at = text;

		assert_error_names(module_line_next(&at, &line, &err), -EINVAL,
			MODULE_LIST ": not a module's path: ");
	}
}

static void test_names(void **state)
{
	(void)state;
	assert_true(module_path_has_name("/x/virtio-net.ko", "virtio_net"));
	assert_true(module_path_has_name("/x/virtio_net.ko.zst", "virtio-net"));
	assert_true(module_path_has_name("virtio_net.ko", "virtio_net"));
	assert_false(module_path_has_name("/x/virtio_net.ko", "virtio"));
	assert_false(module_path_has_name("/x/virtio.ko", "virtio_net"));
	assert_false(module_path_has_name("/virtio_net.ko/x", "virtio_net"));
	assert_false(module_path_has_name("/x/a", "a"));
	assert_false(module_path_has_name("/x/", "a"));
}

/* ---- loading ---- */

/* In the list's order, which is that of dependencies; later ones after all that boot. */
static void test_order(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	make_modules("later /lib/modules/l1.ko\n/lib/modules/b1.ko\n"
		     "ask /lib/modules/a1.ko\nboot /lib/modules/b2.ko.xz p=1\n"
		     "later /lib/modules/l2.ko q\n");
	assert_int_equal(modules_load_listed(&err), 0);
	assert_string_equal(
		kernel.log, "/b1.ko  0;/b2.ko.xz p=1 4;/l1.ko  0;/l2.ko q 0;");
	assert_int_equal(MODULE_INIT_COMPRESSED_FILE, 4);
	/* Nobody needs these again; the one that may be asked for stays. */
	assert_int_equal(access("/lib/modules/b1.ko", F_OK), -1);
	assert_int_equal(access("/lib/modules/l2.ko", F_OK), -1);
	assert_int_equal(access("/lib/modules/a1.ko", F_OK), 0);
}

static void test_no_list(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(modules_load_listed(&err), 0);
	assert_int_equal(err.code, 0);
	assert_error_names(module_load("x", "", &err), -ENOENT, MODULE_LIST);
	assert_int_equal(mkdir(MODULE_LIST, 0755), 0);
	assert_error(modules_load_listed(&err), -EISDIR,
		"read " MODULE_LIST ": Is a directory");
}

/* The first that fails ends it; one that is there already does not fail. */
static void test_failures(void **state)
{
	static const char list[] = "/lib/modules/a.ko\n/lib/modules/b.ko\n"
				   "/lib/modules/c.ko\n";
	struct err err = ERR_INIT;

	(void)state;
	make_modules(list);
	kernel.refused = "/b.ko";
	kernel.error = ENOEXEC;
	assert_error(modules_load_listed(&err), -ENOEXEC,
		"load module /lib/modules/b.ko: Exec format error");
	assert_string_equal(kernel.log, "/a.ko  0;");
	make_modules(list);
	kernel.error = EEXIST;
	assert_int_equal(modules_load_listed(&err), 0);
	assert_string_equal(kernel.log, "/a.ko  0;/a.ko  0;/c.ko  0;");
	assert_error(modules_load_listed(&err), -ENOENT,
		"open module /lib/modules/a.ko: No such file or directory");
	world_file(MODULE_LIST, "nonsense\n");
	assert_error_names(modules_load_listed(&err), -EINVAL, "nonsense");
}

static void test_by_name(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	make_modules("/lib/modules/a.ko\nask /lib/modules/x-y.ko default=1\n");
	assert_int_equal(module_load("x_y", "", &err), 0);
	assert_int_equal(module_load("x-y", "given=2", &err), 0);
	assert_string_equal(kernel.log, "/x-y.ko default=1 0;/x-y.ko given=2 0;");
	assert_error(
		module_load("z", "", &err), -ENOENT, "the guest has no kernel module z");
	/* What the kernel has needs no file. */
	assert_int_equal(mkdir_parents("/sys/module/built_in", 0755, NULL), 0);
	assert_int_equal(module_load("built-in", "", &err), 0);
	assert_int_equal(module_load("built_in", "", &err), 0);
}

/* "..", of which /sys/module has one, is no module that is there already. */
static void test_bad_names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a.ko", "ä",
		"a0123456789012345678901234567890123456789012345678901234"};
	struct err err = ERR_INIT;

	(void)state;
	make_modules("/lib/modules/a.ko\n");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_error_names(module_load(bad[i], "", &err), -EINVAL,
			"is not a kernel module's name");
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lines),
		TEST(test_bad_lines),
		TEST(test_names),
		TEST(test_order),
		TEST(test_no_list),
		TEST(test_failures),
		TEST(test_by_name),
		TEST(test_bad_names),
	};

	world_enter(0);
	/* Nothing is loaded or executed from here on. */
	world_tmpfs("/lib");
	world_tmpfs("/sys");
	return cmocka_run_group_tests_name("guest/modules", tests, NULL, NULL);
}
