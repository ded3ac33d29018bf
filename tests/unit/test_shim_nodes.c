/* SPDX-License-Identifier: Apache-2.0 */
/* shim/spec_nodes: which devices of the host the guest has something for. */
#include "base/json.h"
#include "shim/spec_nodes.h"
#include "tests/unit/test_shim.h"

static struct json_object *parse(const char *text)
{
	struct json_object *spec = NULL;

	assert_int_equal(json_parse("spec", text, strlen(text), 16, &spec, NULL), 0);
	return spec;
}

#define NODE(path, type, numbers)                                                        \
	"{\"path\":\"" path "\",\"type\":\"" type "\"" numbers "}"
#define NUMBERS(major, minor) ",\"major\":" #major ",\"minor\":" #minor
#define DEVICES(list)         "{\"linux\":{\"devices\":[" list "]}}"

/* By its numbers, whatever the container calls it. */
static void test_kernels(void **state)
{
	_cleanup_json_ struct json_object *spec =
		parse(DEVICES(NODE("/dev/mine", "c", NUMBERS(1, 3)) "," NODE(
			"/dev/full", "u", NUMBERS(1, 7)) "," NODE("/run/fifo", "p", "")));
	struct spec_nodes list;

	(void)state;
	assert_ok(spec_take_nodes(spec, &list, err));
	assert_int_equal(list.n, 2);
	assert_string_equal(list.all[0]->vm_path, "/dev/null");
	assert_string_equal(list.all[0]->container_path, "/dev/mine");
	assert_string_equal(list.all[1]->vm_path, "/dev/full");
	spec_nodes_done(&list);
}

static void test_refused(void **state)
{
	static const struct {
		const char *spec, *text;
		int code;
	} rows[] = {
		{DEVICES(NODE("/dev/null", "c", NUMBERS(250, 77))),
			"linux.devices: /dev/null is a device of the host (250:77), and a VM "
			"can't have that",
			-EPERM},
		{DEVICES(NODE("/dev/x", "c", NUMBERS(4294967296, 0))),
			"linux.devices: /dev/x: major is too large", -EINVAL},
		{DEVICES(NODE("/dev/x", "block", NUMBERS(8, 0))),
			"linux.devices: /dev/x: type is block: b, c, u and p are known",
			-EINVAL},
		{DEVICES("{\"type\":\"c\"}"), "linux.devices: \"path\" is missing",
			-ENOENT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ struct json_object *spec = parse(rows[i].spec);
		struct spec_nodes list;

		assert_err(spec_take_nodes(spec, &list, err), rows[i].code, rows[i].text);
		spec_nodes_done(&list);
	}
}

#define RULE(rest)  "{\"allow\":true,\"access\":\"rwm\"" rest "}"
#define RULES(list) "\"resources\":{\"devices\":[" list "]}"

/* A privileged container: the host's devices stand for all of the guest's. */
static void test_all(void **state)
{
	_cleanup_json_ struct json_object *spec = parse("{\"linux\":{\"devices\":[" NODE(
		"/dev/disk", "b", NUMBERS(250, 77)) "," NODE("/dev/kvm", "c",
		NUMBERS(10, 232)) "]," RULES(RULE("")) "}}");
	struct spec_nodes list;

	(void)state;
	assert_ok(spec_take_nodes(spec, &list, err));
	assert_int_equal(list.n, 1);
	assert_string_equal(list.all[0]->vm_path, "/dev");
	assert_int_equal(json_object_array_length(json_at(spec, "linux.devices")), 1);
	spec_nodes_done(&list);
	/* One that may use them all, and was given none. */
	json_object_put(spec);
	spec = parse("{\"linux\":{" RULES(RULE("")) "}}");
	assert_ok(spec_take_nodes(spec, &list, err));
	assert_int_equal(list.n, 0);
}

/* A number that the kernel gives by chance is another device's in the guest. */
static void test_rules(void **state)
{
	_cleanup_json_ struct json_object *spec = parse(
		"{\"linux\":{\"devices\":[" NODE("/dev/null", "c", NUMBERS(1, 3)) "]," RULES(
			"{\"allow\":false,\"access\":\"rwm\"}," RULE(
				",\"type\":\"c\"" NUMBERS(
					1, 3)) "," RULE(",\"type\":\"c\"" NUMBERS(240,
				1)) "," RULE(",\"type\":\"c\",\"major\":136")) "}}");
	struct json_object *rules;
	struct spec_nodes list;
	uint64_t major = 0;

	(void)state;
	assert_ok(spec_take_nodes(spec, &list, err));
	assert_int_equal(list.n, 1);
	spec_nodes_done(&list);
	rules = json_at(spec, "linux.resources.devices");
	assert_int_equal(json_object_array_length(rules), 3);
	for (size_t i = 1; i < 3; i++) {
		assert_ok(json_get_u64(
			json_object_array_get_idx(rules, i), "major", &major, err));
		assert_int_equal(major, i == 1 ? 1 : 136);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernels),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, quiet_log, NULL);
}
