/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest: what is accepted, what is refused by which name, what matches. */
#include <errno.h>
#include <fcntl.h>

#include "tests/unit/mm_fixture.h"

#include "base/json.h"

static void make_whole(struct manifest *m)
{
	fixture_inputs(m, "8388608");
	manifest_set(m, MANIFEST_FORMAT, MANIFEST_FORMAT_VERSION);
	manifest_set(m, MANIFEST_ID, "00000042-9f3a2b1c");
	manifest_set(m, MANIFEST_PUBLISHED_BYTES, "4194304");
	manifest_set(m, MANIFEST_STATE_BYTES, "346112");
	manifest_set(m, MANIFEST_STATE_SHA256, DIGEST_A);
	manifest_set(m, MANIFEST_AGENT_VERSION, "0.1.0");
	manifest_set(m, MANIFEST_CREATED, "1780000000");
}

static int parse(const char *text, struct manifest *ret, struct err *err)
{
	return manifest_parse(text, strlen(text), ret, err);
}

/* The text of a manifest that lacks `without` (MANIFEST_FIELDS: nothing). */
static char *text_of(const struct manifest *m, int without, const char *more)
{
	_cleanup_json_ struct json_object *obj = manifest_to_json(m);
	const char *text;

	if (without < MANIFEST_FIELDS)
		json_object_object_del(
			obj, manifest_field_name((enum manifest_field)without));
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
	return xasprintf("%.*s%s}", (int)strlen(text) - 1, text, more);
}

static void refuse(
	const struct manifest *m, int without, const char *more, const char *why)
{
	_cleanup_free_ char *text = text_of(m, without, more);
	struct err err = ERR_INIT;
	struct manifest got;

	assert_true(parse(text, &got, &err) < 0);
	assert_error(err, why);
}

static void test_round_trip(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct manifest m, got;
	struct err err = ERR_INIT;

	(void)state;
	make_whole(&m);
	manifest_set(&m, MANIFEST_CMDLINE, "a=\"b\\c\" \xc3\xa4");
	text = text_of(&m, MANIFEST_FIELDS, "");
	assert_int_equal(parse(text, &got, &err), 0);
	assert_int_equal(manifest_same(&m, &got, &err), 0);
	manifest_done(&got);
	manifest_done(&m);
}

static void test_each_field_missing_or_twice(void **state)
{
	struct manifest m;

	(void)state;
	make_whole(&m);
	for (int i = 0; i < MANIFEST_FIELDS; i++) {
		const char *name = manifest_field_name((enum manifest_field)i);
		_cleanup_free_ char *missing =
			xasprintf("%s: the field is missing", name);
		_cleanup_free_ char *twice =
			xasprintf("%s: the field is there twice", name);
		_cleanup_free_ char *again =
			xasprintf(",\"%s\":\"%s\"", name, m.value[i]);
		_cleanup_free_ char *number = xasprintf(",\"%s\":7", name);

		refuse(&m, i, "", missing);
		refuse(&m, MANIFEST_FIELDS, again, twice);
		refuse(&m, i, number, name);
	}
	manifest_done(&m);
}

static void test_bad_values(void **state)
{
	static const struct {
		enum manifest_field field;
		const char *value, *why;
	} cases[] = {
		{MANIFEST_FORMAT, "1", "format: 1"},
		{MANIFEST_FORMAT, "", "format: \"\""},
		{MANIFEST_ID, "", "id: \"\""},
		{MANIFEST_MEMORY_BYTES, "-1", "memory_bytes: \"-1\""},
		{MANIFEST_MEMORY_BYTES, "01", "memory_bytes: \"01\""},
		{MANIFEST_MEMORY_BYTES, "18446744073709551616", "memory_bytes: "},
		{MANIFEST_PUBLISHED_BYTES, "0x7", "published_bytes: "},
		{MANIFEST_STATE_BYTES, "12 ", "state_bytes: "},
		{MANIFEST_STATE_SHA256, "abc", "state_sha256: "},
		{MANIFEST_KERNEL_SHA256, DIGEST_A "a", "kernel_sha256: "},
		{MANIFEST_QEMU_SHA256, "A" DIGEST_A, "qemu_sha256: "},
		{MANIFEST_QEMU_PATH, "qemu",
			"qemu_path: \"qemu\" is not an absolute path"},
		{MANIFEST_ACCEL, "hvf", "accel: \"hvf\" is not kvm or tcg"},
		{MANIFEST_CREATED, "now", "created: \"now\" is not a decimal number"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct manifest m;

		make_whole(&m);
		manifest_set(&m, cases[i].field, cases[i].value);
		refuse(&m, MANIFEST_FIELDS, "", cases[i].why);
		manifest_done(&m);
	}
}

static void test_bad_texts(void **state)
{
	_cleanup_free_ char *big = xmalloc(70000);
	struct manifest m, got;
	struct err err = ERR_INIT;

	(void)state;
	make_whole(&m);
	refuse(&m, MANIFEST_FIELDS, ",\"colour\":\"red\"", "colour: unknown field");
	refuse(&m, MANIFEST_ID, ",\"\\u0069d\":\"x\"", "written with escapes");
	refuse(&m, MANIFEST_ID, ",\"id\\u0000\":\"x\"", "written with escapes");
	refuse(&m, MANIFEST_ID, ",\"id\":\"x\\u0000y\"", "NUL");
	refuse(&m, MANIFEST_ID, ",\"id\":{\"id\":\"x\"}", "nesting too deep");
	refuse(&m, MANIFEST_FIELDS, "} {", "not valid JSON");
	manifest_done(&m);
	assert_int_equal(parse("[]", &got, &err), -EBADMSG);
	assert_error(err, "not a JSON object");
	assert_int_equal(parse("", &got, &err), -EBADMSG);
	assert_int_equal(parse("{}", &got, &err), -EBADMSG);
	assert_error(err, "format: the field is missing");
	memset(big, ' ', 70000);
	assert_int_equal(manifest_parse(big, 70000, &got, &err), -EFBIG);
}

static void test_match(void **state)
{
	struct manifest have, want;
	enum manifest_field field;
	struct err err = ERR_INIT;

	(void)state;
	make_whole(&have);
	fixture_inputs(&want, "8388608");
	assert_int_equal(manifest_match(&have, &want, &field, &err), 0);
	for (int i = 0; i < MANIFEST_FIELDS; i++) {
		_cleanup_free_ char *text = NULL;

		if (manifest_field_rule((enum manifest_field)i) != MANIFEST_MUST_EQUAL)
			continue;
		manifest_done(&want);
		fixture_inputs(&want, "8388608");
		text = xasprintf("%s: wanted other, the template has %.8s",
			manifest_field_name((enum manifest_field)i), have.value[i]);
		manifest_set(&want, (enum manifest_field)i, "other");
		assert_int_equal(manifest_match(&have, &want, &field, &err), -ESTALE);
		assert_int_equal(field, i);
		assert_error(err, text);
		free(want.value[i]);
		want.value[i] = NULL;
		assert_int_equal(manifest_match(&have, &want, &field, &err), -ESTALE);
		assert_error(err, "wanted nothing");
	}
	manifest_done(&want);
	manifest_done(&have);
}

/* Another kernel at the same path: the template is old, not wrong. */
static void test_aged(void **state)
{
	struct manifest have, want;
	enum manifest_field field;
	struct err err = ERR_INIT;
	int n = 0;

	(void)state;
	make_whole(&have);
	for (int i = 0; i < MANIFEST_FIELDS; i++) {
		if (manifest_field_rule((enum manifest_field)i) != MANIFEST_MAY_AGE)
			continue;
		fixture_inputs(&want, "8388608");
		assert_false(manifest_aged(&have, &want, &field, &err));
		assert_int_equal(manifest_match_all(&have, &want, &field, &err), 0);
		manifest_set(&want, (enum manifest_field)i, "other");
		assert_int_equal(manifest_match(&have, &want, &field, &err), 0);
		assert_true(manifest_aged(&have, &want, &field, &err));
		assert_int_equal(field, i);
		assert_error(err, "_sha256: wanted other, the template has ");
		assert_int_equal(manifest_match_all(&have, &want, &field, &err), -ESTALE);
		manifest_done(&want);
		n++;
	}
	assert_int_equal(n, 2);
	manifest_done(&have);
}

/* Two command lines of kilobytes: the message shows where they part. */
static void test_match_shows_difference(void **state)
{
	struct manifest have, want;
	enum manifest_field field;
	struct err err = ERR_INIT;
	char line[900];

	(void)state;
	make_whole(&have);
	fixture_inputs(&want, "8388608");
	memset(line, 'x', sizeof(line));
	memcpy(line + 880, " maxcpus=4", 11);
	manifest_set(&have, MANIFEST_ARGV, line);
	memcpy(line + 880, " maxcpus=8", 11);
	manifest_set(&want, MANIFEST_ARGV, line);
	assert_int_equal(manifest_match(&have, &want, &field, &err), -ESTALE);
	assert_error(err, "argv: wanted …");
	assert_error(err, "maxcpus=8, the template has …");
	assert_error(err, "maxcpus=4");
	manifest_done(&want);
	manifest_done(&have);
}

static void test_same(void **state)
{
	struct manifest a, b;
	struct err err = ERR_INIT;

	(void)state;
	make_whole(&a);
	for (int i = 0; i < MANIFEST_FIELDS; i++) {
		manifest_copy(&b, &a);
		manifest_set(&b, (enum manifest_field)i, "other");
		assert_int_equal(manifest_same(&a, &b, &err), -EUCLEAN);
		assert_int_equal(
			strncmp(err.text, manifest_field_name((enum manifest_field)i),
				strlen(manifest_field_name((enum manifest_field)i))),
			0);
		manifest_done(&b);
	}
	manifest_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_each_field_missing_or_twice),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_bad_texts),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_aged),
		cmocka_unit_test(test_match_shows_difference),
		cmocka_unit_test(test_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
