/* SPDX-License-Identifier: Apache-2.0 */
/* guest/spec: what becomes of a container's spec in the guest, and what is refused. */
#include "tests/unit/guest_world.h"

#include <sys/stat.h>

#include "base/json.h"
#include "guest/init.h"
#include "guest/spec.h"

#define ROOT GUEST_SHARED_ROOT "/shared/containers/c1/rootfs"

static struct json_object *parse(const char *text)
{
	struct json_object *json = NULL;
	struct err err = ERR_INIT;

	if (json_parse("test", text, strlen(text), 16, &json, &err) < 0)
		fail_msg("%s", err.text);
	return json;
}

/* A spec with these members beside process and root. */
static struct json_object *make_spec(const char *members)
{
	_cleanup_free_ char *text = xasprintf(
		"{\"process\":{},\"root\":{\"path\":\"" ROOT "\"},%s}", members);

	return parse(text);
}

static void assert_json(struct json_object *found, const char *text)
{
	_cleanup_json_ struct json_object *want = parse(text);

	if (!json_object_equal(found, want))
		fail_msg("%s\ninstead of %s", json_object_to_json_string(found), text);
}

static struct json_object *member(struct json_object *obj, const char *key)
{
	struct json_object *found = NULL;

	json_object_object_get_ex(obj, key, &found);
	return found;
}

static int adapt(struct json_object *spec, struct err *err)
{
	return spec_adapt(spec, &(struct spec_place){.container_id = "c1"}, err);
}

/* ---- paths ---- */

static void test_paths(void **state)
{
	_cleanup_free_ char *longest = xzalloc(PATH_MAX + 1);

	(void)state;
	assert_true(path_is_plain("/"));
	assert_true(path_is_plain("//a//b.c/..d/"));
	assert_false(path_is_plain(""));
	assert_false(path_is_plain("a"));
	assert_false(path_is_plain("/a/.."));
	assert_false(path_is_plain("/../a"));
	assert_false(path_is_plain("/a/./b"));
	assert_true(path_is_below("/run/a", "/run"));
	assert_true(path_is_below("/run", "/run"));
	assert_false(path_is_below("/running", "/run"));
	assert_false(path_is_below("/run/../etc", "/run"));
	memset(longest, '/', PATH_MAX);
	assert_false(path_is_plain(longest));
	longest[PATH_MAX - 1] = '\0';
	assert_true(path_is_plain(longest));
}

/* ---- adaption ---- */

static void test_whole(void **state)
{
	_cleanup_json_ struct json_object *spec =
		parse("{\"ociVersion\":\"1.2.0\","
		      "\"process\":{\"args\":[\"sh\"],\"apparmorProfile\":\"p\","
		      "\"selinuxLabel\":\"l\"},"
		      "\"root\":{\"path\":\"" ROOT "\"},"
		      "\"mounts\":["
		      "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		      "{\"destination\":\"/data\",\"type\":\"bind\","
		      "\"source\":\"" GUEST_SHARED_ROOT "/shared/v\"}],"
		      "\"linux\":{\"cgroupsPath\":\"/kubepods/x\",\"mountLabel\":\"m\","
		      "\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},"
		      "{\"type\":\"cgroup\"}],"
		      "\"resources\":{\"hugepageLimits\":[],"
		      "\"pids\":{\"limit\":9},"
		      "\"cpu\":{\"shares\":2,"
		      "\"realtimeRuntime\":1,\"realtimePeriod\":1},"
		      "\"memory\":{\"limit\":1,\"swap\":1,\"kernel\":1,\"kernelTCP\":1,"
		      "\"swappiness\":1,\"disableOOMKiller\":true}}}}");
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(adapt(spec, &err), 0);
	assert_json(spec,
		"{\"ociVersion\":\"1.0.2\","
		"\"process\":{\"args\":[\"sh\"]},"
		"\"root\":{\"path\":\"" ROOT "\"},"
		"\"mounts\":["
		"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/data\",\"type\":\"bind\","
		"\"source\":\"" GUEST_SHARED_ROOT "/shared/v\"}],"
		"\"linux\":{\"cgroupsPath\":\"/stencil/c1\","
		"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},"
		"{\"type\":\"cgroup\"}],"
		"\"resources\":{\"pids\":{\"limit\":9},\"cpu\":{\"shares\":2},"
		"\"memory\":{\"limit\":1}}}}");
}

/* A container has a cgroup namespace, asked for or not. */
static void test_cgroup_namespace(void **state)
{
	_cleanup_json_ struct json_object *none = make_spec("\"linux\":{}");
	_cleanup_json_ struct json_object *other =
		make_spec("\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}");
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(adapt(none, &err), 0);
	assert_json(
		member(member(none, "linux"), "namespaces"), "[{\"type\":\"cgroup\"}]");
	assert_int_equal(adapt(other, &err), 0);
	assert_json(member(member(other, "linux"), "namespaces"),
		"[{\"type\":\"mount\"},{\"type\":\"cgroup\"}]");
}

static void assert_placed(const char *destination, const char *placed)
{
	_cleanup_free_ char *members = xasprintf(
		"\"mounts\":[{\"destination\":\"/mounted\"},{\"destination\":\"%s\"}]",
		destination);
	_cleanup_json_ struct json_object *spec = make_spec(members);
	struct err err = ERR_INIT;

	assert_int_equal(spec_place_mounts(spec, &err), 0);
	assert_string_equal(json_object_get_string(member(
				    json_object_array_get_idx(member(spec, "mounts"), 1),
				    "destination")),
		placed);
}

/* Destinations behind links to what is not there yet. */
static void test_place_mounts(void **state)
{
	(void)state;
	assert_int_equal(mkdir_parents(ROOT "/there", 0755, NULL), 0);
	assert_int_equal(symlink("/real/place", ROOT "/link"), 0);
	assert_int_equal(symlink("../../up/./x", ROOT "/there/up"), 0);
	assert_int_equal(symlink("link/more", ROOT "/chain"), 0);
	assert_int_equal(symlink("loop", ROOT "/loop"), 0);
	assert_int_equal(symlink("there", ROOT "/good"), 0);
	assert_int_equal(mkdir(ROOT "/mounted", 0755), 0);
	assert_int_equal(symlink("/gone", ROOT "/mounted/x"), 0);
	assert_placed("/link/deep", "/real/place/deep");
	assert_placed("/link", "/real/place");
	assert_placed("/there/up/y/../z", "/up/x/z");
	assert_placed("/chain/c", "/real/place/more/c");
	/* crun finds these itself, and what an earlier mount makes is not there yet. */
	assert_placed("/there", "/there");
	assert_placed("/new/folder", "/new/folder");
	assert_placed("/good/new", "/there/new");
	assert_placed("/mounted/x", "/mounted/x");
	assert_placed("/loop/x", "/loop/x");
	assert_int_equal(remove_tree(AT_FDCWD, ROOT, NULL), 0);
}

static void test_pid_namespace(void **state)
{
	_cleanup_json_ struct json_object *spec = make_spec(
		"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"}]}");
	const struct spec_place place = {
		.container_id = "c1", .pidns_path = "/proc/9/ns/pid"};
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(spec_adapt(spec, &place, &err), 0);
	assert_json(member(member(spec, "linux"), "namespaces"),
		"[{\"type\":\"mount\"},{\"type\":\"cgroup\"},"
		"{\"type\":\"pid\",\"path\":\"/proc/9/ns/pid\"}]");
}

/* A container that has its own keeps its name. */
static void test_own_uts(void **state)
{
	_cleanup_json_ struct json_object *spec =
		make_spec("\"hostname\":\"h\",\"linux\":{\"namespaces\":"
			  "[{\"type\":\"uts\"},{\"type\":\"ipc\"}]}");
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(adapt(spec, &err), 0);
	assert_string_equal(json_object_get_string(member(spec, "hostname")), "h");
	assert_json(member(member(spec, "linux"), "namespaces"),
		"[{\"type\":\"uts\"},{\"type\":\"ipc\"},{\"type\":\"cgroup\"}]");
}

static void test_process(void **state)
{
	_cleanup_json_ struct json_object *process =
		parse("{\"cwd\":\"/\",\"selinuxLabel\":\"a\",\"apparmorProfile\":\"b\"}");

	(void)state;
	spec_adapt_process(process);
	assert_json(process, "{\"cwd\":\"/\"}");
}

static void test_shapes(void **state)
{
	static const struct {
		const char *spec, *text;
	} bad[] = {
		{"{}", "the spec has no process"},
		{"[]", "the spec has no process"},
		{"{\"process\":null}", "the spec has no process"},
		{"{\"process\":{}}", "the spec has no linux"},
		{"{\"process\":{},\"linux\":[]}", "the spec has no linux"},
		{"{\"process\":{},\"linux\":\"x\"}", "the spec has no linux"},
		{"{\"process\":{},\"linux\":{},\"mounts\":{}}",
			"mounts in the spec is not a list"},
		{"{\"process\":{},\"linux\":{},\"mounts\":[null]}",
			"mounts in the spec is not a list"},
		{"{\"process\":{},\"linux\":{\"namespaces\":[\"pid\"]}}",
			"linux.namespaces in the spec is not a list"},
		{"{\"process\":{},\"linux\":{}}",
			"the root  is not below " GUEST_SHARED_ROOT},
		{"{\"process\":{},\"linux\":{},\"root\":{\"path\":\"/\"}}",
			"the root / is not below " GUEST_SHARED_ROOT},
		{"{\"process\":{},\"linux\":{},\"root\":{\"path\":7}}",
			"the root  is not below " GUEST_SHARED_ROOT},
		{"{\"process\":{},\"linux\":{},\"root\":{\"path\":\"" GUEST_SHARED_ROOT
		 "/../..\"}}",
			"the root " GUEST_SHARED_ROOT
			"/../.. is not below " GUEST_SHARED_ROOT},
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ struct json_object *spec = parse(bad[i].spec);

		assert_error(adapt(spec, &err), -EINVAL, bad[i].text);
	}
}

static void test_bind_sources(void **state)
{
	static const char *const good[] = {
		"/dev/null", "/proc/sys", "/sys", GUEST_SHARED_ROOT "/shared/a"};
	static const char *const bad[] = {"/", "/etc/passwd", "relative", "",
		"/run/kata-containers/../stencil", "/device", "/run/kata-containers-2/x"};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good) + ARRAY_SIZE(bad); i++) {
		bool is_good = i < ARRAY_SIZE(good);
		const char *source = is_good ? good[i] : bad[i - ARRAY_SIZE(good)];
		/* By type or by option, whatever else is there. */
		_cleanup_free_ char *members = xasprintf(
			"\"linux\":{},\"mounts\":[{\"destination\":\"/x\","
			"\"source\":\"%s\",%s}]",
			source,
			i % 2 ? "\"type\":\"bind\"" : "\"options\":[null,1,\"rbind\"]");
		_cleanup_json_ struct json_object *spec = make_spec(members);

		if (is_good)
			assert_int_equal(adapt(spec, &err), 0);
		else
			assert_error_names(adapt(spec, &err), -EINVAL,
				"a bind mount's source must be below");
	}
}

/* ---- machine-id ---- */

static unsigned int count_mounts(const char *members)
{
	_cleanup_json_ struct json_object *spec = make_spec(members);
	const struct spec_place place = {
		.container_id = "c1", .machine_id = "/etc/machine-id"};
	struct err err = ERR_INIT;

	assert_int_equal(spec_adapt(spec, &place, &err), 0);
	return json_object_array_length(member(spec, "mounts"));
}

static void test_machine_id(void **state)
{
	_cleanup_json_ struct json_object *spec = make_spec("\"linux\":{}");
	const struct spec_place place = {
		.container_id = "c1", .machine_id = "/etc/machine-id"};
	static const char two[] = "\"linux\":{},\"mounts\":[{\"destination\":\"/a\"}]";
	struct err err = ERR_INIT;

	(void)state;
	world_file(ROOT "/etc/machine-id", "");
	assert_int_equal(spec_adapt(spec, &place, &err), 0);
	assert_json(member(spec, "mounts"),
		"[{\"destination\":\"/etc/machine-id\",\"type\":\"bind\","
		"\"source\":\"/etc/machine-id\",\"options\":[\"bind\",\"ro\"]}]");
	assert_int_equal(count_mounts(two), 2);
	/* Mounted already; not empty; no file; a link out of the root. */
	assert_int_equal(count_mounts("\"linux\":{},\"mounts\":"
				      "[{\"destination\":\"/etc/machine-id\"}]"),
		1);
	world_file(ROOT "/etc/machine-id", "x");
	assert_int_equal(count_mounts(two), 1);
	assert_int_equal(unlink(ROOT "/etc/machine-id"), 0);
	assert_int_equal(count_mounts(two), 1);
	world_file("/run/empty", "");
	assert_int_equal(symlink("/run/empty", ROOT "/etc/machine-id"), 0);
	assert_int_equal(count_mounts(two), 1);
	assert_int_equal(unlink(ROOT "/etc/machine-id"), 0);
}

/* ---- sysctls ---- */

#define OWN_ALL "\"namespaces\":[{\"type\":\"ipc\"},{\"type\":\"uts\"}],"

/* Those that stay; NULL: the error is in *err. The caller's. */
static struct json_object *apply(
	const char *namespaces, const char *sysctls, struct err *err)
{
	_cleanup_free_ char *members =
		xasprintf("\"linux\":{%s\"sysctl\":{%s}}", namespaces, sysctls);
	_cleanup_json_ struct json_object *spec = make_spec(members);

	if (spec_apply_sysctls(spec, err) < 0)
		return NULL;
	return json_object_get(member(member(spec, "linux"), "sysctl"));
}

static void assert_kept(const char *namespaces, const char *sysctls, const char *kept)
{
	struct err err = ERR_INIT;
	_cleanup_json_ struct json_object *found = apply(namespaces, sysctls, &err);

	if (!found)
		fail_msg("%s", err.text);
	assert_json(found, kept);
}

static void test_sysctls(void **state)
{
	(void)state;
	if (world_lacks_root("setting kernel.domainname"))
		return;
	assert_kept("",
		"\"net.ipv4.ip_forward\":\"1\",\"net/ipv4/ip_default_ttl\":\"65\"", "{}");
	assert_file("/proc/sys/net/ipv4/ip_forward", "1\n");
	assert_file("/proc/sys/net/ipv4/ip_default_ttl", "65\n");
	assert_kept("",
		"\"kernel.shmmni\":\"77\",\"kernel.domainname\":\"dom\","
		"\"vm.x\":\"1\"",
		"{\"vm.x\":\"1\"}");
	assert_file("/proc/sys/kernel/shmmni", "77\n");
	assert_file("/proc/sys/kernel/domainname", "dom\n");
	/* Its own namespaces are crun's business, but for the network. */
	assert_kept(OWN_ALL,
		"\"kernel/shmmni\":\"78\",\"kernel.domainname\":\"x\","
		"\"net.ipv4.conf.lo.forwarding\":\"0\"",
		"{\"kernel/shmmni\":\"78\",\"kernel.domainname\":\"x\"}");
	assert_file("/proc/sys/kernel/shmmni", "77\n");
	assert_file("/proc/sys/net/ipv4/conf/lo/forwarding", "0\n");
}

static void test_sysctls_refused(void **state)
{
	static const struct {
		const char *sysctl;
		int code;
		const char *text;
	} bad[] = {
		{"\"net.nope\":\"1\"", -ENOENT,
			"open sysctl net/nope: No such file or directory"},
		{"\"net.\":\"1\"", -EISDIR, "open sysctl net/: Is a directory"},
		{"\"net.ipv4.ip_forward\":\"many\"", -EINVAL,
			"set sysctl net/ipv4/ip_forward to many: Invalid argument"},
		{"\"net/../kernel/domainname\":\"x\"", -EINVAL,
			"net/../kernel/domainname is not a sysctl"},
		{"\"net.//.kernel.domainname\":\"x\"", -EINVAL,
			"net/../kernel/domainname is not a sysctl"},
		{"\"net.ipv4.ip_forward\":null", -EINVAL,
			"sysctl net.ipv4.ip_forward is not set to a text"},
		{"\"x\":{}", -EINVAL, "sysctl x is not set to a text"},
	};
	struct err err = ERR_INIT;

	(void)state;
	if (world_lacks_root("setting kernel.domainname"))
		return;
	world_file("/proc/sys/kernel/domainname", "before");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(apply(OWN_ALL, bad[i].sysctl, &err));
		assert_error(err.code, bad[i].code, bad[i].text);
	}
	assert_file("/proc/sys/kernel/domainname", "before\n");
}

static void test_no_sysctls(void **state)
{
	_cleanup_json_ struct json_object *spec = make_spec("\"linux\":{}");
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(spec_apply_sysctls(spec, &err), 0);
	assert_json(member(spec, "linux"), "{}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_cgroup_namespace),
		cmocka_unit_test(test_place_mounts),
		cmocka_unit_test(test_pid_namespace),
		cmocka_unit_test(test_own_uts),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_bind_sources),
		cmocka_unit_test(test_machine_id),
		cmocka_unit_test(test_sysctls),
		cmocka_unit_test(test_sysctls_refused),
		cmocka_unit_test(test_no_sysctls),
	};

	world_enter(0);
	world_tmpfs("/run");
	return cmocka_run_group_tests_name("guest/spec", tests, NULL, NULL);
}
