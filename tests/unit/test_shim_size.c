/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a pod's size and by whom; which containerd it is that asks. */
#include "base/json.h"
#include "shim/bootstrap.h"
#include "shim/pod_size.h"
#include "shim/spec.h"
#include "tests/unit/test_shim.h"

static int size_of(const char *annotations, struct pod_size *ret, struct err *err)
{
	_cleanup_free_ char *text = xasprintf("{\"annotations\":{%s}}", annotations);
	struct spec spec = {0};
	int r = json_parse("config.json", text, strlen(text), 8, &spec.json, err);

	if (r == 0)
		r = pod_size_of_spec(&spec, ret, err);
	json_put(spec.json);
	return r;
}

static void assert_size(const char *annotations, uint64_t cpu_millis, uint64_t memory)
{
	struct pod_size size;

	assert_ok(size_of(annotations, &size, err));
	assert_int_equal(size.cpu_millis, cpu_millis);
	assert_int_equal(size.memory_bytes, memory);
}

static void test_annotations(void **state)
{
	struct pod_size size;

	(void)state;
	assert_size("", 0, 0);
	assert_size("\"io.kubernetes.cri.sandbox-cpu-quota\":\"150000\","
		    "\"io.kubernetes.cri.sandbox-cpu-period\":\"100000\","
		    "\"io.kubernetes.cri.sandbox-cpu-shares\":\"2\","
		    "\"io.kubernetes.cri.sandbox-memory\":\"1048576\"",
		1500, 1048576);
	assert_size("\"io.kubernetes.cri.sandbox-cpu-quota\":\"-1\","
		    "\"io.kubernetes.cri.sandbox-memory\":\"0\"",
		0, 0);
	assert_size("\"io.kubernetes.cri-o.PodLinuxResources\":"
		    "\"{\\\"cpu_quota\\\":1,\\\"memory_limit_in_bytes\\\":7}\"",
		1, 7);
	assert_size("\"pod-linux-resources.crio.io\":\"{\\\"cpu_quota\\\":200000,"
		    "\\\"cpu_period\\\":50000}\"",
		4000, 0);
	assert_size("\"io.kubernetes.cri-o.PodLinuxResources\":\"null\"", 0, 0);
	assert_err(size_of("\"io.kubernetes.cri.sandbox-memory\":\"1x\"", &size, err),
		-EINVAL,
		"config.json: annotation io.kubernetes.cri.sandbox-memory: 1x is no number");
	assert_err(
		size_of("\"io.kubernetes.cri-o.PodLinuxResources\":\"[]\"", &size, err),
		-EINVAL,
		"config.json: annotation io.kubernetes.cri-o.PodLinuxResources is no JSON "
		"object");
}

static void update(const char *text, struct pod_size *size)
{
	_cleanup_json_ struct json_object *o = NULL;

	assert_ok(json_parse("resources", text, strlen(text), 8, &o, err));
	assert_ok(pod_size_of_resources(o, size, err));
}

/* What an update does not speak of stays. */
static void test_resources(void **state)
{
	struct pod_size size = {.cpu_millis = 500, .memory_bytes = 100};

	(void)state;
	assert_ok(pod_size_of_resources(NULL, &size, err));
	update("{\"cpu\":{\"shares\":3},\"memory\":{}}", &size);
	assert_int_equal(size.cpu_millis, 500);
	assert_int_equal(size.memory_bytes, 100);
	update("{\"cpu\":{\"quota\":30000},\"memory\":{\"limit\":-1}}", &size);
	assert_int_equal(size.cpu_millis, 300);
	assert_int_equal(size.memory_bytes, 0);
	update("{\"cpu\":{\"quota\":-1},\"memory\":{\"limit\":5}}", &size);
	assert_int_equal(size.cpu_millis, 0);
	assert_int_equal(size.memory_bytes, 5);
}

static void test_containerd(void **state)
{
	(void)state;
	assert_int_equal(bootstrap_major("containerd github.com/containerd/containerd "
					 "1.6.20~ds1 1.6.20~ds1-1+deb12u3"),
		1);
	assert_int_equal(
		bootstrap_major(
			"containerd github.com/containerd/containerd/v2 2.1.9+unknown"),
		2);
	assert_int_equal(bootstrap_major("containerd containerd.io v1.7.27 05044ec0"), 1);
	assert_int_equal(bootstrap_major("crio version 3.30.0"), 0);
	assert_int_equal(bootstrap_major(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_resources),
		cmocka_unit_test(test_containerd),
	};

	return cmocka_run_group_tests_name("shim/pod_size", tests, NULL, NULL);
}
