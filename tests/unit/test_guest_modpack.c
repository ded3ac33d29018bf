/* SPDX-License-Identifier: Apache-2.0 */
/* guest/modpack: what the kernel's modprobe loads of a pack, and in which order.
 * init_module(2) is this program's: a test must not load anything into its kernel. */
#include "tests/unit/guest_world.h"

#include <sys/syscall.h>
#include <zstd.h>

#include "guest/modpack.h"

static struct {
	char *log;           /* "image params;" of each load */
	const char *refused; /* this image with error */
	int error;
} kernel;

/* In the place of libc's: the agent's code calls this one. */
long syscall(long number, ...)
{
	const char *image, *params;
	unsigned long len;
	va_list ap;
	char *more;

	va_start(ap, number);
	image = va_arg(ap, const char *);
	len = va_arg(ap, unsigned long);
	params = va_arg(ap, const char *);
	va_end(ap);
	if (number != SYS_init_module)
		abort();
	if (kernel.refused && strncmp(image, kernel.refused, len) == 0) {
		errno = kernel.error;
		return -1;
	}
	more = xasprintf("%s%.*s %s;", kernel.log, (int)len, image, params);
	free(kernel.log);
	kernel.log = more;
	return 0;
}

static void write_pack(const char *first, const char *second, size_t ret[2])
{
	char buf[512];
	size_t n = ZSTD_compress(buf, sizeof(buf), first, strlen(first), 1);

	ret[0] = n;
	ret[1] = ZSTD_compress(buf + n, sizeof(buf) - n, second, strlen(second), 1);
	n += ret[1];
	assert_int_equal(
		file_write_atomic(AT_FDCWD, MODPACK_FILE, buf, n, 0644, NULL), 0);
}

/* Two frames: "BASE" and "MID" in one, "TOP" in the other; there_already is in
 * neither. */
static int begin(void **state)
{
	_cleanup_free_ char *index = NULL;
	size_t frames[2];

	(void)state;
	free(kernel.log);
	kernel = (typeof(kernel)){.log = xstrdup("")};
	remove_tree(AT_FDCWD, "/lib/modules", NULL);
	remove_tree(AT_FDCWD, "/sys/module", NULL);
	mkdir_parents("/lib/modules", 0755, NULL);
	write_pack("BASEMID", "TOP", frames);
	index = xasprintf("module base 0 %zu 0 4\n"
			  "module mid_dle 0 %zu 4 3 there_already base\n"
			  "module top %zu %zu 0 3 mid_dle\n"
			  "module beyond 0 %zu 5 3\n"
			  "module lost 4096 9 0 3\n"
			  "alias net_pf_16_proto_12 mid_dle\n"
			  "alias block_major_43_* base\n"
			  "alias crypto_x base\n"
			  "alias crypto_x mid_dle\n"
			  "node loop-control c 10 237\n"
			  "node net/tun c 10 200\n",
		frames[0], frames[0], frames[0], frames[1], frames[0]);
	world_file(MODPACK_INDEX, index);
	return 0;
}

static void assert_loads(const char *name, const char *log)
{
	struct err err = ERR_INIT;

	free(kernel.log);
	kernel.log = xstrdup("");
	assert_int_equal(modpack_load(name, "", &err), 0);
	assert_string_equal(kernel.log, log);
}

static void test_names_and_aliases(void **state)
{
	(void)state;
	assert_loads("base", "BASE ;");
	assert_loads("mid-dle", "BASE ;MID ;");
	assert_loads("net-pf-16-proto-12", "BASE ;MID ;");
	assert_loads("block-major-43-0", "BASE ;");
	assert_loads("top", "MID ;TOP ;");
	/* All that have an alias. */
	assert_loads("crypto-x", "BASE ;BASE ;MID ;");
	assert_int_equal(modpack_load("mid", "", NULL), -ENOENT);
	assert_int_equal(modpack_load("", "", NULL), -ENOENT);
	assert_int_equal(modpack_load("base 0", "", NULL), -ENOENT);
	assert_true(modpack_has_alias("block-major-43-7"));
	assert_false(modpack_has_alias("block-major-8-0"));
}

/* What is live is not unpacked again; what is on its way is, for the kernel to wait. */
static void test_in_kernel(void **state)
{
	(void)state;
	world_file("/sys/module/base/initstate", "live\n");
	assert_loads("mid_dle", "MID ;");
	world_file("/sys/module/base/initstate", "coming\n");
	assert_loads("mid_dle", "BASE ;MID ;");
	kernel.refused = "BASE";
	kernel.error = EEXIST;
	assert_loads("mid_dle", "MID ;");
}

static void test_failures(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	kernel.refused = "BASE";
	kernel.error = ENOEXEC;
	assert_error(modpack_load("mid_dle", "", &err), -ENOEXEC,
		"load module base: Exec format error");
	assert_error(modpack_load("beyond", "", &err), -EINVAL,
		MODPACK_INDEX ": module beyond is not in its frame");
	assert_error(modpack_load("lost", "", &err), -EIO,
		MODPACK_FILE " is shorter than its index says");
	assert_int_equal(unlink(MODPACK_FILE), 0);
	assert_error_names(modpack_load("base", "", &err), -ENOENT, MODPACK_FILE);
}

static void note_node(void *user, const struct modpack_node *node)
{
	char **log = user, *more = xasprintf("%s%s %c %u:%u;", *log, node->path,
				   node->type, node->major, node->minor);

	free(*log);
	*log = more;
}

static void test_nodes(void **state)
{
	_cleanup_free_ char *log = xstrdup("");

	(void)state;
	modpack_nodes(note_node, &log);
	assert_string_equal(log, "loop-control c 10:237;net/tun c 10:200;");
}

static void test_modprobe(void **state)
{
	char path[] = MODPROBE_PATH, q[] = "-q", dashes[] = "--", name[] = "crypto-x",
	     none[] = "net-pf-99";
	char *argv[] = {path, q, dashes, name}, *other[] = {path, q, dashes, none};

	(void)state;
	assert_true(modprobe_is_asked(MODPROBE_PATH));
	assert_false(modprobe_is_asked("/init"));
	assert_int_equal(modprobe_main(4, argv), 0);
	assert_string_equal(kernel.log, "BASE ;BASE ;MID ;");
	assert_int_equal(modprobe_main(4, other), 1);
	assert_int_equal(modprobe_main(1, argv), 1);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names_and_aliases),
		TEST(test_in_kernel),
		TEST(test_failures),
		TEST(test_nodes),
		TEST(test_modprobe),
	};

	world_enter(0);
	world_tmpfs("/lib");
	world_tmpfs("/sys");
	return cmocka_run_group_tests_name("guest/modpack", tests, NULL, NULL);
}
