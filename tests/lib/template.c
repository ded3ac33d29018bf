/* SPDX-License-Identifier: Apache-2.0 */
/* A published generation: see template.h. */
#include "tests/lib/template.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/util.h"
#include "mm/tmpfs.h"
#include "tests/lib/test.h"
#include "vm/inputs.h"
#include "vm/number.h"
#include "vm/sweep.h"
#include "vm/vm_internal.h"

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

void template_set_patience(struct config *c)
{
	_cleanup_free_ char *ms = xasprintf("%d", PATIENCE_MS);

	template_set(c, "runtime", "boot_timeout_ms", ms);
	template_set(c, "runtime", "call_timeout_ms", ms);
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

struct vm *template_vm(const char *name)
{
	struct vm_options options = {
		.config = &world.config, .namespace = "test", .sandbox = name};
	struct err err = ERR_INIT;
	struct vm *vm = NULL;

	check_result(vm_new(&options, &vm, &err), &err);
	return vm;
}

/* Boots on the generation's memory, saves, ends, publishes: templated/build.c's order. */
static void build(struct manifest *inputs)
{
	_cleanup_free_ char *building = NULL;
	struct vm *vm = template_vm("template");
	struct generation_build g;
	struct err err = ERR_INIT;
	uint64_t resident;

	check_result(generation_build_begin(
			     world.rw_fd, world.config.default_memory * MiB, &g, &err),
		&err);
	check_result(vm_boot(vm, g.memory_fd, &err), &err);
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
	/* Claims of uids are there. */
	assert_int_equal(0, mount("test", "/run", "tmpfs", 0, "mode=0755"));
	config_init(&world.config);
	template_set_guest(&world.config, "kernel", "vmlinuz");
	template_set_guest(&world.config, "initrd", "initrd.img");
	template_set(&world.config, "runtime", "state_dir", TEMPLATE_DIR "/state");
	template_set(&world.config, "hypervisor", "default_maxvcpus", "2");
	template_set_patience(&world.config);
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

/* Those of a test that failed are still ours. */
static void end_vm(void *user, unsigned int number, const struct vm_record *record)
{
	_cleanup_free_ char *dir =
		xasprintf("%s/" VM_FOLDERS "/%u", world.config.state_dir, number);
	_cleanup_close_ int pidfd = -1;

	(void)user;
	print_error("the VM of %s is left\n", record->sandbox);
	if (record->qemu.pid && proc_open(&record->qemu, &pidfd) == 0 &&
		pidfd_kill(pidfd, SIGKILL) == 0)
		pidfd_wait(pidfd, soon());
	vm_number_give(&world.config, dir, record->cgroup, NULL);
}

int template_leave(void **state)
{
	(void)state;
	vm_for_each(&world.config, end_vm, NULL);
	generation_done(&world.g);
	close(world.ro_fd);
	close(world.rw_fd);
	config_done(&world.config);
	return umount2(TEMPLATE_DIR, MNT_DETACH) | umount2("/run", MNT_DETACH);
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
	struct vm *vm = template_vm(name);
	struct vm_template template = {
		.manifest = &world.g.manifest, .generation = world.g.id};
	struct err err = ERR_INIT;

	template_grant(&template.memory_fd, &template.state_fd);
	check_result(vm_clone(vm, &template, &err), &err);
	close(template.memory_fd);
	close(template.state_fd);
	return vm;
}

size_t template_count_vcpus(struct vm *vm)
{
	_cleanup_json_ struct json_object *cpus = NULL;
	struct err err = ERR_INIT;

	check_result(qmp_ask(vm->qmp,
			     &(struct qmp_request){
				     .name = "query-cpus-fast", .deadline = soon()},
			     &cpus, &err),
		&err);
	return json_object_array_length(cpus);
}
