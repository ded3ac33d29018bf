/* SPDX-License-Identifier: Apache-2.0 */
/* vm/confine without a QEMU: what of the host's is seen in its root. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/util.h"
#include "vm/confine.h"

static bool is_bound(const struct confine *c, const char *path)
{
	for (unsigned int i = 0; i < c->n_binds; i++)
		if (strcmp(c->binds[i].source, path) == 0)
			return true;
	return false;
}

/* A program in dir/bin, and the folder itself has a file of somebody else's. */
static void plan_own_qemu(const char *dir, struct confine *ret)
{
	_cleanup_free_ char *program = xasprintf("%s/bin/qemu", dir);
	struct spawn spawn = {.qemu_path = program};
	struct err err = ERR_INIT;

	assert_int_equal(file_write_atomic(AT_FDCWD, program, "", 0, 0755, &err), 0);
	assert_int_equal(confine_init(ret, &spawn, &err), 0);
	assert_true(is_bound(ret, program));
	assert_false(is_bound(ret, dir));
}

/* A wall's proof: docs/security.md. */
static void test_own_qemu(void **state)
{
	static const char *const folders[] = {"bin", "lib", "secret", "share"};
	char *dir = test_folder_new();
	_cleanup_free_ char *lib = xasprintf("%s/lib", dir);
	_cleanup_free_ char *secret = xasprintf("%s/secret", dir);
	_cleanup_free_ char *firmware = xasprintf("%s/share/qemu", dir);
	struct confine c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, folders[i]);

		assert_int_equal(mkdir(path, 0700), 0);
	}
	plan_own_qemu(dir, &c);
	assert_false(is_bound(&c, lib));
	confine_done(&c);
	/* Firmware tells that a QEMU was installed there. */
	assert_int_equal(mkdir(firmware, 0700), 0);
	plan_own_qemu(dir, &c);
	assert_true(is_bound(&c, firmware));
	assert_true(is_bound(&c, lib));
	assert_false(is_bound(&c, secret));
	confine_done(&c);
	test_folder_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_qemu),
	};

	return cmocka_run_group_tests_name("vm/confine", tests, NULL, NULL);
}
