/* SPDX-License-Identifier: Apache-2.0 */
/* base/config_kept: a wrong line does not end what is in force. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config_kept.h"
#include "base/util.h"

struct files {
	char *folder, *file, *drop_ins;
};

static void make_files(struct files *f)
{
	_cleanup_free_ char *text = NULL;

	f->folder = test_folder_new();
	text = xasprintf("[hypervisor]\ndefault_memory = 512\n[factory]\n"
			 "template_endpoint = %s/sock\n",
		f->folder);
	f->file = test_file(f->folder, "stencil.conf", text);
	f->drop_ins = xasprintf("%s.d", f->file);
	assert_int_equal(mkdir(f->drop_ins, 0700), 0);
}

static void drop_files(struct files *f)
{
	test_folder_free(f->folder);
	free(f->file);
	free(f->drop_ins);
}

static int load(struct config *c, const char *file, struct err *refused, struct err *err)
{
	config_init(c);
	return config_load_or_kept(c, file, refused, err);
}

static void test_kept(void **state)
{
	struct err err = ERR_INIT, refused;
	_cleanup_free_ char *wrong = NULL;
	struct files f;
	struct config c;

	(void)state;
	make_files(&f);
	assert_int_equal(load(&c, f.file, &refused, &err), 0);
	assert_string_equal(refused.text, "");
	assert_int_equal(config_keep(&c, &err), 0);
	config_done(&c);

	/* In a drop-in, and in the file itself before the endpoint's line. */
	wrong = test_file(f.drop_ins, "wrong.conf", "[hypervisor]\ncolour = red\n");
	assert_int_equal(load(&c, f.file, &refused, &err), 0);
	assert_non_null(strstr(refused.text, "wrong.conf:2: unknown key colour"));
	assert_int_equal(c.default_memory, 512);
	assert_string_equal(c.loaded_from, f.file);

	config_forget(&c);
	config_done(&c);
	assert_error_names(
		load(&c, f.file, &refused, &err), -EINVAL, "unknown key colour");
	assert_string_equal(refused.text, "");
	config_done(&c);
	drop_files(&f);
}

static void test_of_another(void **state)
{
	struct err err = ERR_INIT, refused;
	_cleanup_free_ char *text = NULL, *other = NULL;
	struct files f;
	struct config c;

	(void)state;
	make_files(&f);
	text = xasprintf("nonsense\n[factory]\ntemplate_endpoint = %s/sock\n", f.folder);
	other = test_file(f.folder, "other.conf", text);
	assert_int_equal(load(&c, f.file, &refused, &err), 0);
	assert_int_equal(config_keep(&c, &err), 0);
	config_done(&c);
	assert_error_names(
		load(&c, other, &refused, &err), -EBADMSG, "other.conf:1: neither");
	config_forget(&c);
	config_done(&c);
	drop_files(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_of_another),
	};

	return cmocka_run_group_tests_name("base/config_kept", tests, NULL, NULL);
}
