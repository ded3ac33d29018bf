/* SPDX-License-Identifier: Apache-2.0 */
/* Which mounts are layers and nothing else. */
#include "shim/layers.h"
#include "tests/unit/test_shim.h"

/* Options as a list of words, the last one NULL. */
static bool parse(struct layers *l, const char *type, const char *target, ...)
{
	Containerd__Types__Mount m = CONTAINERD__TYPES__MOUNT__INIT, *list[] = {&m, &m};
	char *options[16];
	va_list ap;
	bool good;

	va_start(ap, target);
	while ((options[m.n_options] = va_arg(ap, char *)))
		m.n_options++;
	va_end(ap);
	m.type = (char *)(uintptr_t)type;
	m.target = (char *)(uintptr_t)target;
	m.options = options;
	good = layers_parse(list, 1, l);
	/* Two mounts are never layers alone. */
	if (good) {
		struct layers two;

		assert_false(layers_parse(list, 2, &two));
		layers_done(&two);
	}
	return good;
}

static void test_container(void **state)
{
	struct layers l;

	(void)state;
	assert_true(parse(&l, "overlay", "", "index=off", "workdir=/s/9/work",
		"upperdir=/s/9/fs", "lowerdir=/s/8/fs:/s/1/fs", NULL));
	assert_int_equal(l.n_lowers, 2);
	assert_string_equal(l.lowers[0], "/s/8/fs");
	assert_string_equal(l.lowers[1], "/s/1/fs");
	assert_string_equal(l.parent, "/s/9");
	assert_string_equal(l.upper, "fs");
	assert_string_equal(l.work, "work");
	layers_done(&l);
	assert_true(parse(&l, "overlay", "", "rw", "X-containerd.note=x",
		"upperdir=/s/9/fs", "workdir=/s/9/work", "lowerdir=/s/8/fs", NULL));
	assert_int_equal(l.n_lowers, 1);
	layers_done(&l);
}

static void test_view(void **state)
{
	struct layers l;

	(void)state;
	assert_true(parse(
		&l, "overlay", "", "index=off", "ro", "lowerdir=/a/fs:/b/fs", NULL));
	assert_int_equal(l.n_lowers, 2);
	assert_null(l.parent);
	layers_done(&l);
}

#define UPPER "upperdir=/s/9/fs"
#define WORK  "workdir=/s/9/work"
#define LOWER "lowerdir=/s/8/fs"

static void refuse(bool good, struct layers *l)
{
	assert_false(good);
	layers_done(l);
	assert_null(l->lowers);
	assert_int_equal(l->n_lowers, 0);
}
#define REFUSED(...) refuse(parse(&l, __VA_ARGS__, NULL), &l)

static void test_others(void **state)
{
	struct layers l;

	(void)state;
	REFUSED("bind", "", "rbind", "ro");
	REFUSED("overlay", "/below", LOWER, UPPER, WORK);
	REFUSED("overlay", "");
	REFUSED("overlay", "", UPPER, WORK);
	REFUSED("overlay", "", LOWER, UPPER);
	REFUSED("overlay", "", LOWER, WORK);
	REFUSED("overlay", "", LOWER, UPPER, WORK, "ro");
	/* What only the host's overlay could do. */
	REFUSED("overlay", "", LOWER, UPPER, WORK, "userxattr");
	REFUSED("overlay", "", LOWER, UPPER, WORK, "volatile");
	REFUSED("overlay", "", LOWER, UPPER, WORK, "metacopy=on");
	REFUSED("overlay", "", LOWER, UPPER, WORK, "index=on");
	REFUSED("overlay", "", LOWER, UPPER, WORK, "nosuid");
	assert_false(layers_parse(NULL, 0, &l));
}

static void test_paths(void **state)
{
	struct layers l;

	(void)state;
	REFUSED("overlay", "", "lowerdir=8/fs", UPPER, WORK);
	REFUSED("overlay", "", "lowerdir=/s/8/fs::/s/7/fs", UPPER, WORK);
	REFUSED("overlay", "", "lowerdir=/s/8\\:/fs", UPPER, WORK);
	REFUSED("overlay", "", "lowerdir=/s/../fs", UPPER, WORK);
	REFUSED("overlay", "", "lowerdir=", UPPER, WORK);
	REFUSED("overlay", "", LOWER, LOWER, UPPER, WORK);
	REFUSED("overlay", "", LOWER, UPPER, UPPER, WORK);
	/* Not the one folder for both that is the snapshot's own. */
	REFUSED("overlay", "", LOWER, UPPER, "workdir=/t/9/work");
	REFUSED("overlay", "", LOWER, UPPER, "workdir=/s/9/fs");
	REFUSED("overlay", "", LOWER, "upperdir=fs", WORK);
	REFUSED("overlay", "", LOWER, "upperdir=/fs", "workdir=/work");
	REFUSED("overlay", "", LOWER, "upperdir=/s/9/..", WORK);
	REFUSED("overlay", "", LOWER, "upperdir=/s/9/.", WORK);
	REFUSED("overlay", "", LOWER, "upperdir=/s/9/", WORK);
	REFUSED("overlay", "", LOWER, "upperdir=/s/9/f:s", WORK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container),
		cmocka_unit_test(test_view),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests_name("shim/layers", tests, NULL, NULL);
}
