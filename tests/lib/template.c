/* SPDX-License-Identifier: Apache-2.0 */
/* A published generation: see template.h. */
#include "tests/lib/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "mm/tmpfs.h"
#include "tests/lib/test.h"
#include "vm/vm.h"

static struct template world;
static void (*on_save)(struct vm *vm);

struct template *template_get(void)
{
	return &world;
}

static const char *const file_names[GENERATION_FILES] = {
	[GENERATION_FILE_MANIFEST] = GENERATION_MANIFEST,
	[GENERATION_FILE_MEMORY] = GENERATION_MEMORY,
	[GENERATION_FILE_STATE] = GENERATION_STATE,
};

void check_result(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

void template_on_save(void (*fn)(struct vm *vm))
{
	on_save = fn;
}

void template_set(
	struct config *c, const char *section, const char *key, const char *value)
{
	struct err err = ERR_INIT;

	check_result(config_set(c, section, key, value, "test", &err), &err);
}

void template_set_guest(struct config *c, const char *key, const char *name)
{
	const char *guest = getenv("STENCIL_GUEST");
	_cleanup_free_ char *path =
		xasprintf("%s/%s", guest ? guest : "build/guest", name);
	_cleanup_free_ char *full = realpath(path, NULL);

	if (!full)
		fail_msg("%s is missing: run `make guest`", path);
	template_set(c, "hypervisor", key, full);
}

char *template_make_dir(const char *name)
{
	char *dir = xasprintf(TEMPLATE_DIR "/%s", name);

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", dir, strerror(errno));
	return dir;
}

char *template_file(enum generation_file file)
{
	return xasprintf(TEMPLATE_PATH "/%s/%s", world.g.id, file_names[file]);
}

/* A read lease is refused while anybody, by whatever descriptor or mapping, can write. */
bool template_has_writer(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
		return false;
	assert_int_equal(EAGAIN, errno);
	return true;
}

/* Boots on the generation's memory, saves, ends, publishes: templated/build.c's order. */
static void build(struct manifest *inputs)
{
	_cleanup_free_ char *dir = template_make_dir("vm-template"), *building = NULL;
	struct vm_options options = {
		.config = &world.config, .id = "template", .dir = dir};
	struct generation_build g;
	struct err err = ERR_INIT;
	struct vm *vm = NULL;
	uint64_t resident;

	check_result(generation_build_begin(
			     world.rw_fd, world.config.default_memory * MiB, &g, &err),
		&err);
	check_result(vm_boot(&options, g.memory_fd, &vm, &err), &err);
	if (on_save)
		on_save(vm);
	check_result(vm_save(vm, g.state_fd, &err), &err);
	vm_free(vm);
	/* Only the builder's own descriptor is left: QEMU has ended. */
	building = xasprintf(TEMPLATE_PATH "/.new-%s/" GENERATION_MEMORY, g.id);
	assert_true(template_has_writer(building));
	check_result(generation_build_punch(&g, &resident, &err), &err);
	manifest_set(inputs, MANIFEST_AGENT_VERSION, "-");
	check_result(generation_build_publish(&g, inputs, &err), &err);
	check_result(generation_load(world.ro_fd, g.id, &world.g, &err), &err);
	generation_build_done(&g);
}

int template_enter(void **state)
{
	const char *qemu = getenv("STENCIL_QEMU");
	struct vm_inputs *inputs = vm_inputs_new();
	struct err err = ERR_INIT;
	struct manifest want;

	(void)state;
	assert_int_equal(0, unshare(CLONE_NEWNS));
	assert_int_equal(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	assert_int_equal(0, mount("test", TEMPLATE_DIR, "tmpfs", 0, "mode=0755"));
	config_init(&world.config);
	template_set_guest(&world.config, "kernel", "vmlinuz");
	template_set_guest(&world.config, "initrd", "initrd.img");
	template_set(&world.config, "runtime", "state_dir", TEMPLATE_DIR "/state");
	template_set(&world.config, "hypervisor", "default_maxvcpus", "2");
	if (qemu)
		template_set(&world.config, "hypervisor", "path", qemu);
	check_result(
		tmpfs_ensure(TEMPLATE_PATH, 2 * world.config.default_memory * MiB, &err),
		&err);
	check_result(tmpfs_open(TEMPLATE_PATH, false, &world.rw_fd, &err), &err);
	check_result(tmpfs_open(TEMPLATE_PATH, true, &world.ro_fd, &err), &err);
	check_result(vm_inputs_collect(inputs, &world.config, &want, &err), &err);
	build(&want);
	manifest_done(&want);
	vm_inputs_free(inputs);
	return 0;
}

/* A folder that is no VM's holds no record of one. */
static void end_vms(void)
{
	_cleanup_closedir_ DIR *dir = opendir(TEMPLATE_DIR);
	struct err err = ERR_INIT;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = xasprintf(TEMPLATE_DIR "/%s", entry->d_name);

		if (entry->d_name[0] != '.' && entry->d_type == DT_DIR &&
			vm_cleanup(&world.config, path, &err) < 0)
			print_error("%s\n", err.text);
	}
}

int template_leave(void **state)
{
	(void)state;
	end_vms();
	generation_done(&world.g);
	close(world.ro_fd);
	close(world.rw_fd);
	config_done(&world.config);
	return umount2(TEMPLATE_DIR, MNT_DETACH);
}

void template_grant(int *ret_memory_fd, int *ret_state_fd)
{
	struct err err = ERR_INIT;

	check_result(generation_grant(
			     world.ro_fd, &world.g, ret_memory_fd, ret_state_fd, &err),
		&err);
}

struct vm *template_clone(const char *name)
{
	_cleanup_free_ char *dir = template_make_dir(name);
	struct vm_options options = {.config = &world.config, .id = name, .dir = dir};
	struct err err = ERR_INIT;
	struct vm *vm = NULL;
	int memory_fd, state_fd;

	template_grant(&memory_fd, &state_fd);
	check_result(
		vm_clone(&options, memory_fd, state_fd, &world.g.manifest, &vm, &err),
		&err);
	close(memory_fd);
	close(state_fd);
	return vm;
}
