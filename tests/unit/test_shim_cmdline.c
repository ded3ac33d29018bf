/* SPDX-License-Identifier: Apache-2.0 */
/* The shim's command line and the names in it. */
#include "shim/cmdline.h"
#include "tests/unit/test_shim.h"

static int parse(struct cmdline *c, char **argv, struct err *err)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return cmdline_parse(c, argc, argv, err);
}

#define PARSE(c, ...) parse(c, (char *[]){(char *)"shim", __VA_ARGS__, NULL}, err)
#define ID            (char *)"-namespace", (char *)"ns", (char *)"-id", (char *)"c1"

static void test_verbs(void **state)
{
	struct cmdline c;

	(void)state;
	assert_ok(PARSE(&c, ID));
	assert_int_equal(c.verb, CMDLINE_SERVE);
	assert_string_equal(c.namespace, "ns");
	assert_string_equal(c.id, "c1");
	assert_string_equal(c.bundle, "");
	assert_false(c.debug);
	assert_ok(PARSE(&c, ID, (char *)"start"));
	assert_int_equal(c.verb, CMDLINE_START);
	assert_ok(PARSE(&c, ID, (char *)"-bundle", (char *)"/b", (char *)"delete"));
	assert_int_equal(c.verb, CMDLINE_DELETE);
	assert_string_equal(c.bundle, "/b");
	assert_ok(PARSE(&c, (char *)"-info"));
	assert_int_equal(c.verb, CMDLINE_INFO);
	assert_ok(PARSE(&c, (char *)"-v"));
	assert_int_equal(c.verb, CMDLINE_VERSION);
	assert_ok(PARSE(&c, (char *)"--help"));
	assert_int_equal(c.verb, CMDLINE_HELP);
}

static void test_values(void **state)
{
	struct cmdline c;

	(void)state;
	assert_ok(PARSE(&c, (char *)"--namespace=k8s.io", (char *)"-id=a-b_c.d",
		(char *)"-address", (char *)"/run/c.sock", (char *)"-publish-binary",
		(char *)"/usr/bin/containerd", (char *)"-debug=true"));
	assert_string_equal(c.namespace, "k8s.io");
	assert_string_equal(c.id, "a-b_c.d");
	assert_string_equal(c.address, "/run/c.sock");
	assert_string_equal(c.publish_binary, "/usr/bin/containerd");
	assert_true(c.debug);
	assert_ok(PARSE(&c, ID, (char *)"-debug=false", (char *)"--", (char *)"start"));
	assert_false(c.debug);
	assert_int_equal(c.verb, CMDLINE_START);
}

static void test_refused(void **state)
{
	struct cmdline c;

	(void)state;
	assert_err(PARSE(&c, ID, (char *)"-socket", (char *)"x"), -EINVAL,
		"unknown flag -socket");
	assert_err(PARSE(&c, ID, (char *)"-addres=x"), -EINVAL, "unknown flag -addres=x");
	assert_err(PARSE(&c, ID, (char *)"-debug=maybe"), -EINVAL,
		"-debug=maybe: neither true nor false");
	assert_err(PARSE(&c, ID, (char *)"-address"), -EINVAL,
		"flag -address needs a value");
	assert_err(PARSE(&c, ID, (char *)"stop"), -EINVAL, "unknown verb stop");
	assert_err(PARSE(&c, ID, (char *)"start", (char *)"-debug"), -EINVAL,
		"unexpected word -debug");
	assert_err(PARSE(&c, (char *)"-id", (char *)"x"), -EINVAL, "-namespace is empty");
	assert_err(PARSE(&c, (char *)"-namespace", (char *)"x"), -EINVAL, "-id is empty");
}

static void test_names(void **state)
{
	char long_name[NAME_LENGTH_MAX + 2];

	(void)state;
	memset(long_name, 'a', sizeof(long_name));
	long_name[NAME_LENGTH_MAX] = '\0';
	assert_ok(name_check("id", long_name, err));
	long_name[NAME_LENGTH_MAX] = 'a';
	long_name[NAME_LENGTH_MAX + 1] = '\0';
	assert_err(name_check("id", long_name, err), -EINVAL,
		"id aaaaaaaaaaaaaaaa\u2026 is longer than 76 bytes");
	assert_err(name_check("id", "..", err), -EINVAL,
		"id .. has a character that names don't have");
	assert_err(name_check("id", "a/b", err), -EINVAL,
		"id a/b has a character that names don't have");
	assert_err(name_check("id", "a-", err), -EINVAL,
		"id a- has a character that names don't have");
	assert_err(name_check("id", "\xc3\xa4", err), -EINVAL,
		"id \\xc3\\xa4 has a character that names don't have");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
