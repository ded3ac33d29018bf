/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the host's disks a container gets: by its mounts, and by its spec. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/json.h"
#include "shim/block_root.h"
#include "shim/spec_devices.h"
#include "tests/unit/test_shim.h"

static struct scratch scratch;

/* ---- root file systems ---- */

/* The file "disk" is regular, "node" a block device, "fifo" neither. */
static bool parse(
	const char *type, const char *source, const char *options, struct block_root *ret)
{
	static _Thread_local char path[256], words[128];
	static _Thread_local char *list[8];
	Containerd__Types__Mount m = CONTAINERD__TYPES__MOUNT__INIT, *mounts[] = {&m, &m};
	char *at = words;
	bool good;

	snprintf(path, sizeof(path), "%s/%s", scratch.path, source);
	snprintf(words, sizeof(words), "%s", options);
	while (*options && (list[m.n_options] = strsep(&at, " ")))
		m.n_options++;
	m.type = (char *)(uintptr_t)type;
	m.source = path;
	m.options = list;
	good = block_root_parse(mounts, 1, ret);
	if (good) {
		struct block_root other;

		assert_false(block_root_parse(mounts, 2, &other));
		m.target = "sub";
		assert_false(block_root_parse(mounts, 1, &other));
	}
	return good;
}

static void test_root_of_file(void **state)
{
	struct block_root root;

	(void)state;
	assert_true(
		parse("ext4", "disk", "rw noatime loop X-containerd.x=y discard", &root));
	assert_true(root.source.is_file);
	assert_false(root.source.readonly);
	assert_string_equal(root.source.path + strlen(scratch.path), "/disk");
	assert_string_equal(root.fstype, "ext4");
	assert_int_equal(root.n_options, 3);
	assert_string_equal(root.options[0], "rw");
	assert_string_equal(root.options[1], "noatime");
	assert_string_equal(root.options[2], "discard");
	block_root_done(&root);
	assert_true(parse("erofs", "disk", "loop ro", &root));
	assert_true(root.source.readonly);
	block_root_done(&root);
}

static void test_root_of_device(void **state)
{
	struct block_root root;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_true(parse("xfs", "node", "nouuid", &root));
	assert_false(root.source.is_file);
	assert_string_equal(root.options[0], "nouuid");
	block_root_done(&root);
	assert_false(parse("xfs", "node", "loop", &root));
}

/* What the host must mount, or refuse. */
static void test_root_of_host(void **state)
{
	static const char *const rows[][3] = {
		{"btrfs", "disk", "loop"},
		{"ext4", "disk", ""},
		{"ext4", "fifo", ""},
		{"ext4", "fifo", "loop"},
		{"ext4", "missing", "loop"},
		{"ext4", "disk", "loop rslave"},
		{"ext4", "disk", "loop bind"},
		{"overlay", "disk", "loop"},
		{"", "disk", "loop"},
	};
	struct block_root root;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_false(parse(rows[i][0], rows[i][1], rows[i][2], &root));
		block_root_done(&root);
	}
}

/* ---- devices ---- */

#define SPEC(devices, rules)                                                             \
	"{\"linux\":{\"devices\":[" devices "],\"resources\":{\"devices\":[" rules "]}}}"
#define DEVICE(path, type, a, b)                                                         \
	"{\"path\":\"" path "\",\"type\":\"" type "\",\"major\":" #a ",\"minor\":" #b "}"
#define RULE(type, a, b, access)                                                         \
	"{\"allow\":true,\"type\":\"" type "\",\"major\":" #a ",\"minor\":" #b           \
	",\"access\":\"" access "\"}"
#define DENY "{\"allow\":false,\"access\":\"rwm\"}"
#define ALL  "{\"allow\":true,\"access\":\"rwm\"}"

static struct json_object *json(const char *text)
{
	struct json_object *o = NULL;

	assert_ok(json_parse("spec", text, strlen(text), 16, &o, err));
	return o;
}

static void test_devices(void **state)
{
	_cleanup_json_ struct json_object *spec =
		json(SPEC(DEVICE("/a", "b", 9, 1) "," DEVICE("/dev/fuse", "c", 7,
				  1) "," DEVICE("/b", "b", 8, 0) "," DEVICE("/none", "b",
				  8, 1) "," DEVICE("/c", "b", 8, 2),
			DENY "," RULE("c", 7, 1, "rw") "," RULE("b", 9, 1, "m") "," RULE(
				"b", 9, 1, "wr") "," RULE("b", 8, 0, "rm") "," RULE("b",
				8, 2, "m") ",3"));
	_cleanup_json_ struct json_object *wanted = json("[" DEVICE("/a", "b", 9,
		1) "," DEVICE("/dev/fuse", "c", 7, 1) "," DEVICE("/b", "b", 8, 0) "]");
	struct spec_device *devices;
	unsigned int n;

	(void)state;
	assert_ok(spec_take_devices(spec, "c1", &devices, &n, err));
	assert_int_equal(n, 2);
	assert_string_equal(devices[0].path, "/a");
	assert_int_equal(devices[0].dev, makedev(9, 1));
	assert_false(devices[0].readonly);
	assert_string_equal(devices[1].path, "/b");
	assert_true(devices[1].readonly);
	assert_true(json_object_equal(json_at(spec, "linux.devices"), wanted));
	spec_devices_free(devices, n);
}

/* All the host's devices are there, and anything is allowed: nothing is meant by it. */
static void test_privileged(void **state)
{
	_cleanup_json_ struct json_object *spec =
		json(SPEC(DEVICE("/dev/sda", "b", 8, 0), ALL));
	struct spec_device *devices;
	unsigned int n;

	(void)state;
	assert_ok(spec_take_devices(spec, "c1", &devices, &n, err));
	assert_int_equal(n, 0);
	assert_int_equal(json_object_array_length(json_at(spec, "linux.devices")), 0);
	spec_devices_free(devices, n);
}

static void refuse(const char *text, int code, const char *why)
{
	_cleanup_json_ struct json_object *spec = json(text);
	struct spec_device *devices;
	unsigned int n;

	assert_err(spec_take_devices(spec, "c1", &devices, &n, err), code, why);
	assert_null(devices);
	assert_int_equal(n, 0);
}

static void test_devices_refused(void **state)
{
	_cleanup_free_ char *many = xstrdup(DEVICE("/a", "b", 9, 1)), *text = NULL;

	(void)state;
	refuse("{\"linux\":{\"devices\":7}}", -EINVAL,
		"linux: \"devices\" is int where array is wanted");
	refuse(SPEC("7", ""), -EINVAL, "linux.devices: one is no object");
	refuse(SPEC("{\"type\":\"b\"}", ""), -ENOENT,
		"linux.devices: \"path\" is missing");
	refuse(SPEC(DEVICE("/a", "b", -1, 5), RULE("b", -1, 5, "r")), -EINVAL,
		"linux.devices: /a: \"major\" is -1; it must not be negative");
	for (unsigned int i = 0; i < SPEC_DEVICES_MAX; i++) {
		char *more = xasprintf("%s," DEVICE("/a", "b", 9, 1), many);

		free(many);
		many = more;
	}
	text = xasprintf(SPEC("%s", "%s"), many, RULE("b", 9, 1, "r"));
	refuse(text, -E2BIG, "linux.devices: there are more than 32 block devices");
}

static int setup(void **state)
{
	_cleanup_free_ char *disk = NULL, *node = NULL, *fifo = NULL;

	scratch_make(&scratch);
	disk = xasprintf("%s/disk", scratch.path);
	node = xasprintf("%s/node", scratch.path);
	fifo = xasprintf("%s/fifo", scratch.path);
	if (mknod(disk, S_IFREG | 0600, 0) < 0 || mkfifo(fifo, 0600) < 0 ||
		(geteuid() == 0 && mknod(node, S_IFBLK | 0600, makedev(7, 0)) < 0))
		return -1;
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root_of_file),
		cmocka_unit_test(test_root_of_device),
		cmocka_unit_test(test_root_of_host),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_privileged),
		cmocka_unit_test(test_devices_refused),
	};

	return cmocka_run_group_tests_name("shim_disks", tests, setup, teardown);
}
