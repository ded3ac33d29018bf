/* SPDX-License-Identifier: Apache-2.0 */
/* Mount options taken apart, and long overlays made short. */
#include <sys/mount.h>

#include "shim/mount_options.h"
#include "tests/unit/test_shim.h"

#define PARSE(o, ...)                                                                    \
	do {                                                                             \
		char *words_[] = {__VA_ARGS__};                                          \
		assert_ok(mount_options_parse(words_, ARRAY_SIZE(words_), o, err));      \
	} while (0)

static void test_flags(void **state)
{
	struct mount_options o;

	(void)state;
	PARSE(&o, (char *)"rbind", (char *)"ro", (char *)"nosuid", (char *)"rslave");
	assert_int_equal(o.flags, MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID);
	assert_int_equal(o.propagation, MS_SLAVE | MS_REC);
	assert_string_equal(o.data, "");
	assert_false(o.loop);
	mount_options_done(&o);
	/* The last one of a pair wins. */
	PARSE(&o, (char *)"ro", (char *)"rw", (char *)"nodev", (char *)"dev",
		(char *)"defaults");
	assert_int_equal(o.flags, 0);
	mount_options_done(&o);
}

static void test_data(void **state)
{
	struct mount_options o;

	(void)state;
	PARSE(&o, (char *)"index=off", (char *)"ro", (char *)"userxattr", (char *)"loop",
		(char *)"X-containerd.loopback", (char *)"lowerdir=/a:/b");
	assert_int_equal(o.flags, MS_RDONLY);
	assert_true(o.loop);
	assert_string_equal(o.data, "index=off,userxattr,lowerdir=/a:/b");
	mount_options_done(&o);
}

static void test_too_long(void **state)
{
	_cleanup_free_ char *word = xmalloc(70000);
	char *words[1] = {word};
	struct mount_options o;

	(void)state;
	memset(word, 'x', 69999);
	word[69999] = '\0';
	assert_err(mount_options_parse(words, 1, &o, err), -E2BIG,
		"mount options have more than 65536 bytes");
}

static void shorten(const char *data, const char *dir, const char *wanted)
{
	struct mount_options o = {.data = xstrdup(data)};
	_cleanup_free_ char *got = NULL;

	mount_options_shorten(&o, &got);
	assert_string_equal(got, dir);
	assert_string_equal(o.data, wanted);
	mount_options_done(&o);
}

static void test_shorten(void **state)
{
	(void)state;
	shorten("index=off,workdir=/v/s/12/work,upperdir=/v/s/12/fs,lowerdir=/v/s/11/fs:/"
		"v/s/1/fs",
		"/v/s", "index=off,workdir=12/work,upperdir=12/fs,lowerdir=11/fs:1/fs");
	shorten("lowerdir=/v/snap/1:/v/snap/2,volatile", "/v/snap",
		"lowerdir=1:2,volatile");
	/* A common beginning of names is no common folder. */
	shorten("lowerdir=/v/s1/a:/v/s2/a", "/v", "lowerdir=s1/a:s2/a");
	/* Nothing in common, nothing to take off, or paths that must stay. */
	shorten("lowerdir=/a/b:/c/d", "", "lowerdir=/a/b:/c/d");
	shorten("lowerdir=/v/a::/v/b", "", "lowerdir=/v/a::/v/b");
	shorten("size=1m,mode=755", "", "size=1m,mode=755");
	shorten("", "", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_shorten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
