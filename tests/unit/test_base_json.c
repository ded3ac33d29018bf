/* SPDX-License-Identifier: Apache-2.0 */
/* base/json: what is accepted, what is refused and how, getters at their limits. */
#include "tests/lib/test.h"

#include <errno.h>
#include <malloc.h>

#include "base/json.h"

static int parse(const char *text, struct json_object **ret, struct err *err)
{
	return json_parse("file", text, strlen(text), 4, ret, err);
}

static void test_accepted(void **state)
{
	static const char *const texts[] = {
		"{}", " {\"a\": 1}\n", "[]", "1", "true", "\"x\"", "-0.5e3", "[[[1]]]"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = ERR_INIT;
		_cleanup_json_ struct json_object *obj = NULL;

		if (parse(texts[i], &obj, &err) < 0)
			fail_msg("%s: %s", texts[i], err.text);
		assert_non_null(obj);
	}
}

static void assert_refused(const char *const *texts, size_t n)
{
	struct err err = ERR_INIT;
	struct json_object *obj = NULL;

	for (size_t i = 0; i < n; i++) {
		if (parse(texts[i], &obj, &err) != -EBADMSG)
			fail_msg("accepted: %s", texts[i]);
		assert_error_names(err.code, -EBADMSG, "file is not valid JSON: ");
		assert_null(obj);
	}
}

static void test_refused(void **state)
{
	static const char *const texts[] = {"", " ", "{", "{\"a\":}", "[1,]", "1 2",
		"{} x", "null", "nul", "\"\\ud800", "\"\xff\"", "[[[[[1]]]]]", "// x\n1",
		"{\"a\":1,}", "\"a"};
	struct err err = ERR_INIT;
	struct json_object *obj = NULL;

	(void)state;
	assert_refused(texts, ARRAY_SIZE(texts));
	assert_error_names(parse("{} x", &obj, &err), -EBADMSG, " at byte 3");
	/* A NUL inside does not hide what is behind it. */
	assert_int_equal(json_parse("file", "1\0002", 3, 4, &obj, &err), -EBADMSG);
}

/* What takes most for its bytes: measured. */
/* A wall's proof: docs/security.md. */
static void test_many_values(void **state)
{
	_cleanup_free_ char *text = xzalloc(3 * JSON_NODES_MAX + 3);
	const size_t n = JSON_NODES_MAX - 2; /* one is the array, one is counted twice */
	struct err err = ERR_INIT;
	struct json_object *obj = NULL;
	size_t before, used;

	(void)state;
	assert_int_equal(json_count_nodes("", 0), 1);
	assert_int_equal(json_count_nodes("\"a,[{\\\",\"", 9), 1);
	assert_int_equal(json_count_nodes("{\"a\": [1, 2], \"b\": 3}", 21), 5);
	*text = '[';
	for (size_t i = 0; i < n / 2; i++)
		memcpy(text + 1 + 3 * i, "{},", 3);
	memcpy(text + 1 + 3 * (n / 2), "1]", 3);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	assert_int_equal(parse(text, &obj, &err), 0);
	used = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	json_put(obj);
	print_message("%zu values take %zu KiB\n", json_count_nodes(text, strlen(text)),
		used >> 10);
	assert_in_range(used, 1, 64 << 20);
	memcpy(text + 1 + 3 * (n / 2), "1, [], []]", 11);
	assert_error_names(
		parse(text, &obj, &err), -E2BIG, "file has more than 65536 values");
}

/* Up to the edges of what is broken; in a key, and in a value among escapes. */
static void test_utf8(void **state)
{
	static const char *const texts[] = {"J\xc3\xbcrgen", "\xc2\x80", "\xdf\xbf",
		"\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
		"\xf0\x90\x80\x80", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\x7f",
		"\xc3\xbc\xe2\x82\xac"};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *json =
			xasprintf("{\"%s\": [\"a\\\\%s\\u00fc\"]}", texts[i], texts[i]);
		_cleanup_free_ char *value = xasprintf("a\\%s\xc3\xbc", texts[i]);
		_cleanup_json_ struct json_object *obj = NULL;
		struct json_object *array;

		if (parse(json, &obj, &err) < 0)
			fail_msg("%s: %s", json, err.text);
		assert_int_equal(json_get_array(obj, texts[i], &array, &err), 0);
		assert_string_equal(
			json_object_get_string(json_object_array_get_idx(array, 0)),
			value);
	}
}

static void test_broken_utf8(void **state)
{
	static const char *const texts[] = {"\x80", "\xbf", "\xc3", "\xc3(", "\xe2\x82",
		"\xe2\x82(", "\xf0\x9f\x98", "\xf0\x9f\x98(", "\xe2(\xac",
		"\xc3\xbc\xbc", /* cut off, or too long */
		"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", /* overlong */
		"\xed\xa0\x80", "\xed\xbf\xbf",
		"\xed\xa0\xbd\xed\xb8\x80", /* surrogates */
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe",
		"\xff"};
	struct err err = ERR_INIT;
	struct json_object *obj = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *value = xasprintf("{\"a\": \"%s\"}", texts[i]);
		_cleanup_free_ char *key = xasprintf("{\"%s\": 1}", texts[i]);

		if (parse(value, &obj, &err) != -EBADMSG)
			fail_msg("accepted as a value: %zu", i);
		assert_error_names(err.code, -EBADMSG, "no UTF-8 at byte ");
		if (parse(key, &obj, &err) != -EBADMSG)
			fail_msg("accepted as a key: %zu", i);
		assert_error_names(err.code, -EBADMSG, "no UTF-8 at byte ");
		assert_null(obj);
	}
	assert_error(parse("{\"a\": \"\xc3\xbc\xed\xa0\x80\"}", &obj, &err), -EBADMSG,
		"file is not valid JSON: no UTF-8 at byte 9");
}

/* More than ASCII makes nothing else valid, and what is wrong is told by its place. */
static void test_utf8_is_strict(void **state)
{
	static const char *const texts[] = {"\xc3\xbc", "{\xc3\xbc:1}", "1\xc3\xbc",
		"[1\xc3\xbc]", "{}\xc3\xbc", "tru\xc3\xbc", "\"\\\xc3\xbc\"",
		"\"\\u00\xc3\xbc\"", "[\"\xc3\xbc\",]", "['\xc3\xbc']", "// \xc3\xbc\n1",
		"[\"\xc3\xbc\", nAN]", "[\"\xc3\xbc\", TRUE]", "[[[[\"\xc3\xbc\"]]]]",
		"\"\xc3\xbc", "\xef\xbb\xbf{}"};
	struct err err = ERR_INIT;
	struct json_object *obj = NULL;

	(void)state;
	assert_refused(texts, ARRAY_SIZE(texts));
	assert_error_names(parse("\"\xc3\xbc\" x", &obj, &err), -EBADMSG, " at byte 5");
}

static struct json_object *object(void)
{
	struct json_object *obj = NULL;
	struct err err = ERR_INIT;

	if (parse("{\"s\":\"text\",\"n\":1,\"neg\":-1,\"big\":18446744073709551615,"
		  "\"max\":9223372036854775807,\"b\":true,\"o\":{},\"a\":[1],"
		  "\"null\":null,\"nul\":\"a\\u0000b\",\"f\":1.5}",
		    &obj, &err) < 0)
		fail_msg("%s", err.text);
	return obj;
}

static void test_getters(void **state)
{
	_cleanup_json_ struct json_object *obj = object();
	struct json_object *inner;
	struct err err = ERR_INIT;
	const char *text;
	uint64_t u;
	int64_t i;
	bool b;

	(void)state;
	assert_int_equal(json_get_string(obj, "s", &text, &err), 0);
	assert_string_equal(text, "text");
	assert_int_equal(json_get_u64(obj, "n", &u, &err), 0);
	assert_int_equal(u, 1);
	assert_int_equal(json_get_u64(obj, "big", &u, &err), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(json_get_i64(obj, "neg", &i, &err), 0);
	assert_int_equal(i, -1);
	assert_int_equal(json_get_i64(obj, "max", &i, &err), 0);
	assert_true(i == INT64_MAX);
	assert_int_equal(json_get_bool(obj, "b", &b, &err), 0);
	assert_true(b);
	assert_int_equal(json_get_object(obj, "o", &inner, &err), 0);
	assert_int_equal(json_get_array(obj, "a", &inner, &err), 0);
}

static void test_getters_refuse(void **state)
{
	_cleanup_json_ struct json_object *obj = object();
	struct json_object *inner = NULL;
	struct err err = ERR_INIT;
	const char *text = "before";
	uint64_t u = 7;
	int64_t i = 7;
	bool b = false;

	(void)state;
	assert_error(json_get_string(obj, "x", &text, &err), -ENOENT, "\"x\" is missing");
	assert_error(json_get_string(obj, "null", &text, &err), -ENOENT,
		"\"null\" is missing");
	assert_error(json_get_string(obj, "n", &text, &err), -EINVAL,
		"\"n\" is int where string is wanted");
	assert_error(json_get_string(obj, "nul", &text, &err), -EINVAL,
		"\"nul\" has a NUL in it");
	assert_error(json_get_u64(obj, "neg", &u, &err), -EINVAL,
		"\"neg\" is -1; it must not be negative");
	assert_error(json_get_u64(obj, "f", &u, &err), -EINVAL,
		"\"f\" is double where int is wanted");
	assert_error(json_get_i64(obj, "big", &i, &err), -ERANGE,
		"\"big\" is 18446744073709551615, which is too large");
	assert_error(json_get_bool(obj, "s", &b, &err), -EINVAL,
		"\"s\" is string where boolean is wanted");
	assert_error(json_get_object(obj, "a", &inner, &err), -EINVAL,
		"\"a\" is array where object is wanted");
	assert_error(json_get_array(obj, "o", &inner, &err), -EINVAL,
		"\"o\" is object where array is wanted");
	assert_int_equal(json_get_array(obj, "a", &inner, &err), 0);
	assert_error_names(json_get_u64(inner, "n", &u, &err), -EINVAL, "not an object");
	/* Outputs stay as they were. */
	assert_string_equal(text, "before");
	assert_int_equal(u, 7);
	assert_int_equal(i, 7);
	assert_false(b);
}

static void test_optional(void **state)
{
	_cleanup_json_ struct json_object *obj = object();
	struct err err = ERR_INIT;
	const char *text;
	uint64_t u;
	bool b;

	(void)state;
	assert_int_equal(json_get_string_opt(obj, "x", "else", &text, &err), 0);
	assert_string_equal(text, "else");
	assert_int_equal(err.code, 0);
	assert_int_equal(json_get_u64_opt(obj, "x", 9, &u, &err), 0);
	assert_int_equal(u, 9);
	assert_int_equal(json_get_bool_opt(obj, "x", true, &b, &err), 0);
	assert_true(b);
	assert_error_names(
		json_get_u64_opt(obj, "s", 9, &u, &err), -EINVAL, "\"s\" is string");
	assert_error_names(
		json_get_bool_opt(obj, "n", true, &b, &err), -EINVAL, "\"n\" is int");
	assert_error_names(
		json_get_string_opt(obj, "n", "", &text, &err), -EINVAL, "\"n\" is int");
}

static void test_paths(void **state)
{
	static const char text[] = "{\"a\":{\"b\":{\"c\":7,\"n\":null}},\"l\":[1]}";
	_cleanup_json_ struct json_object *obj = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(json_parse("text", text, strlen(text), 8, &obj, &err), 0);
	assert_int_equal(json_object_get_int(json_at(obj, "a.b.c")), 7);
	assert_int_equal(json_object_object_length(json_at(obj, "a.b")), 2);
	assert_ptr_equal(json_at(obj, ""), obj);
	assert_null(json_at(obj, "x"));
	assert_null(json_at(obj, "a.x.c"));
	assert_null(json_at(obj, "a.b.n"));
	assert_null(json_at(obj, "a.b.n.c"));
	assert_null(json_at(obj, "l.0"));
	assert_null(json_at(obj, "a."));
	assert_null(json_at(NULL, "a"));
	assert_null(json_at(NULL, ""));
}

static void test_setters(void **state)
{
	_cleanup_json_ struct json_object *obj = json_object_new_object();

	(void)state;
	json_set_string(obj, "s", "a\"b");
	json_set_u64(obj, "u", UINT64_MAX);
	json_set_i64(obj, "i", INT64_MIN);
	json_set_bool(obj, "b", false);
	assert_string_equal(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN),
		"{\"s\":\"a\\\"b\",\"u\":18446744073709551615,"
		"\"i\":-9223372036854775808,\"b\":false}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many_values),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_broken_utf8),
		cmocka_unit_test(test_utf8_is_strict),
		cmocka_unit_test(test_getters),
		cmocka_unit_test(test_getters_refuse),
		cmocka_unit_test(test_optional),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_setters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
