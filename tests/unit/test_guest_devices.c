/* SPDX-License-Identifier: Apache-2.0 */
/* guest/devices: a spec's devices and rules get the numbers of the guest. */
#include "tests/lib/test.h"

#include <errno.h>
#include <sys/sysmacros.h>

#include "base/json.h"
#include "base/util.h"
#include "guest/devices.h"

static Grpc__Device device(char *path)
{
	Grpc__Device d = GRPC__DEVICE__INIT;

	d.type = "blk";
	d.container_path = path;
	return d;
}

static struct json_object *parse(const char *text)
{
	struct json_object *spec = NULL;
	struct err err = ERR_INIT;

	if (json_parse("spec", text, strlen(text), 16, &spec, &err) < 0)
		fail_msg("%s", err.text);
	return spec;
}

#define SPEC(devices, rules)                                                             \
	"{\"linux\":{\"devices\":[" devices "],\"resources\":{\"devices\":[" rules "]}}}"
#define DEVICE(path, numbers)                                                            \
	"{\"path\":\"" path "\",\"type\":\"b\"," numbers ",\"fileMode\":432}"
#define RULE(type, numbers, access)                                                      \
	"{\"allow\":true,\"type\":\"" type "\"," numbers ",\"access\":\"" access "\"}"
#define NUMBERS(a, b) "\"major\":" #a ",\"minor\":" #b

/* The two devices have each other's numbers here, and rules of others stay. */
static void test_renumber(void **state)
{
	Grpc__Device a = device("/dev/a"), b = device("/data"), *list[] = {&a, &b};
	const struct device_found found[] = {
		{true, makedev(254, 16)}, {true, makedev(7, 1)}};
	_cleanup_json_ struct json_object *spec = parse(SPEC(
		DEVICE("/data", NUMBERS(254, 16)) "," DEVICE("/dev/a", NUMBERS(7, 1)),
		RULE("a", NUMBERS(-1, -1), "m") "," RULE("c", NUMBERS(7, 1),
			"rw") "," RULE("b", NUMBERS(7, 1), "rwm") "," RULE("b",
			NUMBERS(254, 16), "r") ",7,{\"allow\":false}"));
	_cleanup_json_ struct json_object *wanted = parse(SPEC(
		DEVICE("/data", NUMBERS(7, 1)) "," DEVICE("/dev/a", NUMBERS(254, 16)),
		RULE("a", NUMBERS(-1, -1), "m") "," RULE(
			"c", NUMBERS(7, 1), "rw") "," RULE("b", NUMBERS(254, 16),
			"rwm") "," RULE("b", NUMBERS(7, 1), "r") ",7,{\"allow\":false}"));
	struct err err = ERR_INIT;

	(void)state;
	if (devices_renumber(list, found, 2, spec, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(json_object_equal(spec, wanted));
}

/* Rules for devices of the other type with the same numbers stay. */
static void test_renumber_char(void **state)
{
	Grpc__Device a = device("/dev/x"), *list[] = {&a};
	const struct device_found found = {false, makedev(10, 229)};
	_cleanup_json_ struct json_object *spec = parse(SPEC(
		"{\"path\":\"/dev/x\",\"type\":\"c\"," NUMBERS(10, 7) "}",
		RULE("c", NUMBERS(10, 7), "rw") "," RULE("b", NUMBERS(10, 7), "rw")));
	_cleanup_json_ struct json_object *wanted = parse(SPEC(
		"{\"path\":\"/dev/x\",\"type\":\"c\"," NUMBERS(10, 229) "}",
		RULE("c", NUMBERS(10, 229), "rw") "," RULE("b", NUMBERS(10, 7), "rw")));
	struct err err = ERR_INIT;

	(void)state;
	if (devices_renumber(list, &found, 1, spec, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(json_object_equal(spec, wanted));
}

static void refuse(const char *text, char *path, int code, const char *why)
{
	Grpc__Device a = device(path), *list[] = {&a};
	_cleanup_json_ struct json_object *spec = parse(text);
	_cleanup_json_ struct json_object *before = parse(text);
	const struct device_found found = {true, makedev(1, 2)};
	struct err err = ERR_INIT;

	assert_error(devices_renumber(list, &found, 1, spec, &err), code, why);
	assert_true(json_object_equal(spec, before));
}

static void test_refused(void **state)
{
	Grpc__Device scsi = device("/dev/a"), *list[DEVICES_MAX + 1] = {&scsi};
	_cleanup_json_ struct json_object *spec = parse("{\"linux\":{}}");
	struct err err = ERR_INIT;

	(void)state;
	refuse("{\"linux\":{}}", "/dev/a", -EINVAL, "the spec has no device /dev/a");
	refuse(SPEC("7,[],{},{\"path\":9}", ""), "/dev/a", -EINVAL,
		"the spec has no device /dev/a");
	refuse(SPEC("{\"path\":\"/dev/a\"}", ""), "/dev/a", -ENOENT,
		"\"major\" is missing");
	refuse("{\"linux\":{\"devices\":{}}}", "/dev/a", -EINVAL,
		"\"devices\" is object where array is wanted");
	scsi.type = "scsi\n";
	assert_error(devices_find(list, 1, spec, &err), -EOPNOTSUPP,
		"device type scsi\\x0a is not known, blk and stencil-node are");
	scsi.type = "blk";
	assert_error(devices_find(list, 1, spec, &err), -EINVAL,
		" is no PCI address, 0000:01:1f.0 is");
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		list[i] = &scsi;
	assert_error(devices_find(list, ARRAY_SIZE(list), spec, &err), -E2BIG,
		"65 devices, at most 64 fit");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renumber),
		cmocka_unit_test(test_renumber_char),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests_name("guest_devices", tests, NULL, NULL);
}
