/* SPDX-License-Identifier: Apache-2.0 */
/* base/config: defaults, types and ranges, drop-ins,
 * errors with file and line, the dump. */
#include "tests/lib/test.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "base/config.h"
#include "base/log.h"
#include "base/util.h"

struct fixture {
	struct config config;
	char *folder, *file;
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *f = xnew0(struct fixture);

	config_init(&f->config);
	f->folder = test_folder_new();
	unsetenv(CONFIG_PATH_ENV);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	config_done(&f->config);
	test_folder_free(f->folder);
	free(f->file);
	free(f);
	return 0;
}

static int load(struct fixture *f, const char *text)
{
	free(f->file);
	f->file = test_file(f->folder, "s.conf", text);
	return config_load(&f->config, f->file, &f->err);
}

static void test_defaults(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(f->config.qemu_path, "/usr/bin/qemu-system-x86_64");
	assert_int_equal(f->config.default_memory, 256);
	assert_int_equal(f->config.tmpfs_size, 0);
	assert_true(f->config.enable_template);
	assert_false(f->config.strict);
	assert_int_equal(f->config.accel, CONFIG_ACCEL_AUTO);
	assert_int_equal(f->config.log_level, LOG_LEVEL_INFO);
	assert_string_equal(f->config.trace_file, "");
	assert_string_equal(f->config.loaded_from, "");
}

static void test_load(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		load(f, "# comment\n[hypervisor]\npath = /q\ndefault_memory=512\n"
			"accel = tcg\nkernel_params = a=b c\n\n; other\n[factory]\n"
			"strict = true\ntmpfs_size = 2G\n"),
		0);
	assert_string_equal(f->config.qemu_path, "/q");
	assert_int_equal(f->config.default_memory, 512);
	assert_int_equal(f->config.accel, CONFIG_ACCEL_TCG);
	assert_string_equal(f->config.kernel_params, "a=b c");
	assert_true(f->config.strict);
	assert_true(f->config.tmpfs_size == 2048 * MiB);
	assert_string_equal(f->config.loaded_from, f->file);
	assert_int_equal(load(f, "[factory]\ntmpfs_size = auto\n"), 0);
	assert_int_equal(f->config.tmpfs_size, 0);
}

/* Each bad line, and what the error says behind "<file>:<line>: ". */
static void test_bad_lines(void **state)
{
	static const struct {
		const char *text, *said;
		int code, line;
	} rows[] = {
		{"[hypervisor]\ncolour = red\n", "unknown key colour in [hypervisor]",
			-EINVAL, 2},
		{"[nowhere]\nx = 1\n", "unknown key x in [nowhere]", -EINVAL, 2},
		{"[factory]\n\npath = /x\n",
			"the key path belongs to [hypervisor], not to [factory]", -EINVAL,
			3},
		{"[hypervisor]\npath = relative\n",
			"path = relative: an absolute path is wanted", -EINVAL, 2},
		{"[hypervisor]\npath =\n", "path = : an absolute path is wanted", -EINVAL,
			2},
		{"[hypervisor]\ndefault_memory = much\n",
			"default_memory = much: a whole number is wanted", -EINVAL, 2},
		{"[hypervisor]\ndefault_memory = -1\n",
			"default_memory = -1: a whole number is wanted", -EINVAL, 2},
		{"[hypervisor]\ndefault_memory = 95\n",
			"default_memory = 95: out of range, 128 to 1048576 is allowed",
			-ERANGE, 2},
		{"[hypervisor]\ndefault_memory = 99999999999999999999999\n",
			"out of range", -ERANGE, 2},
		{"[factory]\nstrict = yes\n", "strict = yes: true or false is wanted",
			-EINVAL, 2},
		{"[factory]\ntmpfs_size = 1T\n",
			"tmpfs_size = 1T: auto or a number with K, M or G behind",
			-EINVAL, 2},
		{"[factory]\ntmpfs_size = 99999999999999999G\n", "out of range", -ERANGE,
			2},
		{"[hypervisor]\naccel = fast\n",
			"accel = fast: one of auto|kvm|tcg is wanted", -EINVAL, 2},
		{"[hypervisor]\njust words\n", "neither a [section] nor key = value",
			-EBADMSG, 2},
		{"[hypervisor]\nkernel_params = a\n  b = c\n",
			"begins with white space, but no value goes on in another line",
			-EBADMSG, 3},
		{"[hypervisor]\n\tpath = /q\n", "begins with white space", -EBADMSG, 2},
		{"[hypervisor]\n= /q\n", "neither a [section] nor key = value", -EBADMSG,
			2},
		{"[hypervisor\npath = /q\n", "a section's line ends with ]", -EBADMSG, 1},
		{"[hypervisor] # why\n", "a section's line ends with ]", -EBADMSG, 1},
		{"[hypervisor]\naccel = tcg ; why\n",
			"accel = tcg ; why: one of auto|kvm|tcg is wanted", -EINVAL, 2},
		{"[hypervisor]\npath: /q\n", "neither a [section] nor key = value",
			-EBADMSG, 2},
		{"path = /q\n", "the key path belongs to [hypervisor], not to []",
			-EINVAL, 1},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *where = NULL;
		struct err err;
		int r = load(f, rows[i].text);

		err = f->err;
		where = xasprintf("%s:%d: ", f->file, rows[i].line);
		if (strncmp(err.text, where, strlen(where)) != 0)
			fail_msg("\"%s\" does not begin with %s", err.text, where);
		assert_error_names(r, rows[i].code, rows[i].said);
	}
}

static void test_bad_files(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *line = xzalloc(100001);

	memset(line, 'x', 100000);
	assert_error_names(config_load(&f->config, "/nonexistent/s.conf", &err), -ENOENT,
		"/nonexistent/s.conf");
	assert_int_equal(load(f, line), -EFBIG);
	err = f->err;
	assert_error_names(err.code, -EFBIG, ":1: longer than ");
}

/* Comments are at the start of a line; in a value their signs are part of it. */
static void test_comments(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		load(f, "\xef\xbb\xbf# one\n  ; two\n\t# three = 3\n[hypervisor]\r\n"
			"kernel_params = a ; b # c  \r\n \t \n;path = relative\n"),
		0);
	assert_string_equal(f->config.kernel_params, "a ; b # c");
	/* The last line needs no newline. */
	assert_int_equal(load(f, "[hypervisor]\nkernel_params ="), 0);
	assert_string_equal(f->config.kernel_params, "");
}

static void test_long_lines(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *value = xzalloc(CONFIG_LINE_MAX), *text = NULL, *more = NULL;
	struct err err;

	memset(value, 'x', CONFIG_LINE_MAX - strlen("kernel_params = "));
	text = xasprintf("[hypervisor]\nkernel_params = %s\n", value);
	assert_int_equal(load(f, text), 0);
	assert_string_equal(f->config.kernel_params, value);
	more = xasprintf("[hypervisor]\n\nkernel_params = %sx\n", value);
	load(f, more);
	err = f->err;
	assert_error_names(err.code, -EFBIG, "s.conf:3: longer than 4096 bytes");
}

/* Drop-ins come in the order of their names; other files and hidden ones are not read. */
static void test_drop_ins(void **state)
{
	static const char *const files[][2] = {
		{"20-b.conf", "[hypervisor]\ndefault_vcpus = 3\n"},
		{"10-a.conf", "[hypervisor]\ndefault_vcpus = 2\ndefault_memory = 1024\n"},
		{"30-c.txt", "nonsense"},
		{".40-d.conf", "nonsense"},
	};
	struct fixture *f = *state;
	_cleanup_free_ char *folder = xasprintf("%s/s.conf.d", f->folder);

	assert_int_equal(mkdir(folder, 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		free(test_file(folder, files[i][0], files[i][1]));
	assert_int_equal(load(f, "[hypervisor]\ndefault_vcpus = 1\naccel = tcg\n"), 0);
	assert_int_equal(f->config.default_vcpus, 3);
	assert_int_equal(f->config.default_memory, 1024);
	assert_int_equal(f->config.accel, CONFIG_ACCEL_TCG);
	free(test_file(folder, "99.conf", "[factory]\nstrict = maybe\n"));
	assert_int_equal(load(f, ""), -EINVAL);
	assert_non_null(strstr(f->err.text, "s.conf.d/99.conf:2: strict = maybe"));
}

static void test_drop_ins_unreadable(void **state)
{
	struct fixture *f = *state;
	struct err err;

	free(test_file(f->folder, "s.conf.d", "not a folder"));
	load(f, "");
	err = f->err;
	assert_error_names(err.code, -ENOTDIR, "cannot read the folder ");
}

/* The default path's drop-ins count without the file, too. */
static void test_default_drop_ins(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", "/etc", "tmpfs", 0, "mode=0755") < 0)
		skip(); /* needs root */
	assert_int_equal(config_load_default(&f->config, NULL, &err), 0);
	assert_int_equal(mkdir("/etc/stencil", 0755), 0);
	assert_int_equal(mkdir("/etc/stencil/stencil.conf.d", 0755), 0);
	free(test_file("/etc/stencil/stencil.conf.d", "a.conf",
		"[hypervisor]\ndefault_vcpus = 3\n"));
	assert_int_equal(config_load_default(&f->config, NULL, &err), 0);
	assert_int_equal(f->config.default_vcpus, 3);
	assert_string_equal(f->config.loaded_from, "");
	free(test_file(
		"/etc/stencil", "stencil.conf", "[hypervisor]\ndefault_vcpus = 2\n"));
	assert_int_equal(config_load_default(&f->config, NULL, &err), 0);
	assert_int_equal(f->config.default_vcpus, 3);
	assert_string_equal(f->config.loaded_from, CONFIG_PATH_DEFAULT);
	assert_int_equal(umount("/etc"), 0);
}

static void test_default_path(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *file =
		test_file(f->folder, "e.conf", "[factory]\nstrict = true\n");

	setenv(CONFIG_PATH_ENV, file, 1);
	assert_int_equal(config_load_default(&f->config, NULL, &err), 0);
	assert_true(f->config.strict);
	assert_string_equal(f->config.loaded_from, file);
	setenv(CONFIG_PATH_ENV, "/nonexistent/e.conf", 1);
	assert_error_names(config_load_default(&f->config, NULL, &err), -ENOENT,
		"/nonexistent/e.conf");
	/* An option wins over the environment. */
	assert_int_equal(config_load_default(&f->config, file, &err), 0);
	assert_error_names(config_load_default(&f->config, "/nonexistent/o.conf", &err),
		-ENOENT, "/nonexistent/o.conf");
}

static void test_set(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_int_equal(
		config_set(&f->config, "hypervisor", "default_vcpus", "4", "here", &err),
		0);
	assert_int_equal(f->config.default_vcpus, 4);
	assert_error(
		config_set(&f->config, "hypervisor", "default_vcpus", "0", "here", &err),
		-ERANGE, "here: default_vcpus = 0: out of range, 1 to 240 is allowed");
	assert_int_equal(f->config.default_vcpus, 4);
}

/* What is dumped reads back to the same dump, and every key is in it. */
static void test_dump(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *first = NULL, *second = NULL;
	size_t size;
	FILE *out;

	assert_int_equal(
		load(f, "[hypervisor]\naccel = kvm\n[factory]\ntmpfs_size = 3M\n"), 0);
	out = open_memstream(&first, &size);
	config_dump(&f->config, out);
	fclose(out);
	assert_non_null(strstr(first, "accel = kvm\n"));
	assert_non_null(strstr(first, "[factory]\n"));
	config_done(&f->config);
	config_init(&f->config);
	assert_int_equal(load(f, first), 0);
	out = open_memstream(&second, &size);
	config_dump(&f->config, out);
	fclose(out);
	assert_string_equal(first, second);
}

/* A row for each key, and in it what the dump of the defaults says. */
static void test_list_keys(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *list = NULL, *dump = NULL;
	char *rest, *row;
	size_t size, n = 0;
	FILE *out = open_memstream(&list, &size);

	config_list_keys(out);
	fclose(out);
	out = open_memstream(&dump, &size);
	config_dump(&f->config, out);
	fclose(out);
	for (rest = list; (row = strsep(&rest, "\n")) && *row; n++) {
		_cleanup_free_ char *line = NULL;
		char *column[5];

		for (size_t i = 0; i < ARRAY_SIZE(column); i++)
			assert_non_null(column[i] = strsep(&row, "\t"));
		line = xasprintf("\n# %s\n%s = %s\n", column[4], column[1], column[2]);
		assert_non_null(strstr(dump, line));
		assert_true(*column[3]);
	}
	assert_true(n > 20);
}

static void test_one_socket_twice(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_int_equal(load(f, "[factory]\nmetrics_endpoint = /a\n"
				 "template_endpoint = /a\n"),
		-EINVAL);
	assert_non_null(strstr(
		f->err.text, "s.conf: metrics_endpoint and template_endpoint are both "));
	assert_int_equal(config_load_default(&f->config, f->file, &err), -EINVAL);
}

static void test_host_limits(void **state)
{
	struct fixture *f = *state;
	struct sysinfo info;
	uint64_t host;

	assert_true(config_max_vcpus(&f->config) >= 1);
	f->config.default_maxvcpus = 6;
	assert_int_equal(config_max_vcpus(&f->config), 6);
	f->config.default_vcpus = 8;
	assert_int_equal(config_max_vcpus(&f->config), 8);
	f->config.default_maxmemory = 300;
	assert_true(config_max_memory_bytes(&f->config) == 384 * MiB);
	/* Not more than the host has, in whole blocks. */
	assert_int_equal(sysinfo(&info), 0);
	host = (uint64_t)info.totalram * info.mem_unit;
	f->config.default_maxmemory = 0;
	assert_in_range(config_max_memory_bytes(&f->config), host - 128 * MiB + 1, host);
	assert_int_equal(config_max_memory_bytes(&f->config) % (128 * MiB), 0);
	f->config.default_maxmemory = 1 << 24;
	assert_in_range(config_max_memory_bytes(&f->config), host - 128 * MiB + 1, host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_load),
		TEST(test_bad_lines),
		TEST(test_bad_files),
		TEST(test_comments),
		TEST(test_long_lines),
		TEST(test_drop_ins),
		TEST(test_drop_ins_unreadable),
		TEST(test_default_drop_ins),
		TEST(test_default_path),
		TEST(test_set),
		TEST(test_dump),
		TEST(test_list_keys),
		TEST(test_one_socket_twice),
		TEST(test_host_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
