/* SPDX-License-Identifier: Apache-2.0 */
/* guest/nodes: which devices of the guest are for containers. */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/unit/guest_world.h"

#include "base/json.h"
#include "guest/modpack.h"
#include "guest/nodes.h"

static void add_driver(const char *number, const char *target, const char *name)
{
	_cleanup_free_ char *link = xasprintf("/sys/dev/%s", number);
	_cleanup_free_ char *folder = xasprintf("/sys/%s", target);
	_cleanup_free_ char *uevent = xasprintf("%s/uevent", folder);
	_cleanup_free_ char *relative = xasprintf("../../%s", target);
	_cleanup_free_ char *text =
		xasprintf("MAJOR=1\nDEVNAME=%s\nDEVMODE=0666\n", name);

	world_file(uevent, text);
	assert_int_equal(symlink(relative, link), 0);
}

static void add_node(
	const char *path, mode_t mode, unsigned int major, unsigned int minor)
{
	assert_int_equal(mknod(path, mode, makedev(major, minor)), 0);
}

/* tun has no driver yet, vda is a disk of the VM, odd is nobody's. */
static int begin(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	world_file(MODPACK_FILE, "");
	world_file(MODPACK_INDEX, "alias char_major_10_200 tun\nnode net/tun c 10 200\n");
	assert_int_equal(mkdir_parents("/sys/dev/char", 0755, NULL), 0);
	assert_int_equal(mkdir_parents("/sys/dev/block", 0755, NULL), 0);
	add_driver("char/10:230", "devices/virtual/misc/fuse", "fuse");
	add_driver("block/254:0", "devices/pci0/block/vda", "vda");
	add_driver("char/240:1", "devices/pci0/virtio-ports/vport0p1", "vport0p1");
	add_node("/dev/fuse", S_IFCHR | 0644, 10, 230);
	add_node("/dev/vda", S_IFBLK | 0600, 254, 0);
	add_node("/dev/vport0p1", S_IFCHR | 0600, 240, 1);
	add_node("/dev/odd", S_IFCHR | 0600, 241, 1);
	assert_int_equal(nodes_init(&err), 0);
	return 0;
}

static struct json_object *parse(const char *text)
{
	struct json_object *spec = NULL;

	assert_int_equal(json_parse("spec", text, strlen(text), 16, &spec, NULL), 0);
	return spec;
}

static void assert_spec(struct json_object *spec, const char *text)
{
	_cleanup_json_ struct json_object *want = parse(text);

	if (!json_object_equal(spec, want))
		fail_msg("%s\ninstead of %s", json_object_to_json_string(spec), text);
}

/* Those that have a driver, and those that would have one. */
static void test_add(void **state)
{
	_cleanup_json_ struct json_object *spec = parse("{\"linux\":{}}");
	_cleanup_json_ struct json_object *other =
		parse("{\"linux\":{\"devices\":[{\"path\":\"/dev/fuse\"},"
		      "{\"path\":\"/dev/net/tun\"}]}}");
	_cleanup_free_ char *before = xstrdup(json_object_to_json_string(other));
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(nodes_add(spec, &err), 0);
	assert_spec(spec,
		"{\"linux\":{\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\","
		"\"major\":10,\"minor\":230,\"fileMode\":420,\"uid\":0,\"gid\":0},"
		"{\"path\":\"/dev/net/tun\",\"type\":\"c\",\"major\":10,"
		"\"minor\":200,\"fileMode\":384,\"uid\":0,\"gid\":0}]}}");
	assert_int_equal(nodes_add(other, &err), 0);
	assert_string_equal(json_object_to_json_string(other), before);
}

static void test_find(void **state)
{
	static const struct {
		const char *path, *text;
		int code;
	} rows[] = {
		{"/dev/kvm", "the guest has no device /dev/kvm", -ENODEV},
		{"/dev/../etc/fuse", "the guest has no device /dev/../etc/fuse", -ENODEV},
		{"/dev/net", "the guest has no device /dev/net", -ENODEV},
		{"/dev/vda", "/dev/vda of the guest is not for containers", -EPERM},
		{"/dev/vport0p1", "/dev/vport0p1 of the guest is not for containers",
			-EPERM},
		{"/dev/odd", "/dev/odd of the guest is not for containers", -EPERM},
	};
	struct err err = ERR_INIT;
	struct stat st;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_error(
			node_find(rows[i].path, &st, &err), rows[i].code, rows[i].text);
	assert_int_equal(node_find("/dev/net/tun", &st, &err), 0);
	assert_int_equal(st.st_rdev, makedev(10, 200));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_find),
	};

	world_enter(0);
	if (world_in_user_namespace)
		world_skip("only root makes nodes");
	world_tmpfs("/dev");
	world_tmpfs("/sys");
	world_tmpfs("/lib");
	return cmocka_run_group_tests_name("guest/nodes", tests, begin, NULL);
}
