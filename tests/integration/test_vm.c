/* SPDX-License-Identifier: Apache-2.0 */
/* vm/ with the real QEMU and the real guest: one template is booted, all else are its
 * clones. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/record.h"
#include "vm/vm.h"

DEFINE_CLEANUP(vm, struct vm *, vm_free);

static struct {
	struct config config;
	char dir[64];
	int memory_fd, state_fd; /* read-only */
	struct manifest manifest;
	uint8_t digest[SHA256_DIGEST_SIZE];
} template;

static void set_key(
	struct config *c, const char *section, const char *key, const char *value)
{
	struct err err = ERR_INIT;

	if (config_set(c, section, key, value, "test", &err) < 0)
		fail_msg("%s", err.text);
}

static void set_guest(struct config *c, const char *key, const char *name)
{
	const char *guest = getenv("STENCIL_GUEST");
	_cleanup_free_ char *path =
		xasprintf("%s/%s", guest ? guest : "build/guest", name);
	_cleanup_free_ char *full = realpath(path, NULL);

	if (!full)
		fail_msg("%s is missing: run `make guest`", path);
	set_key(c, "hypervisor", key, full);
}

static char *make_dir(const char *name)
{
	char *dir = xasprintf("%s/%s", template.dir, name);

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", dir, strerror(errno));
	return dir;
}

static void digest_memory(uint8_t *ret)
{
	size_t size = template.config.default_memory * MiB;
	const uint8_t *mem =
		mmap(NULL, size, PROT_READ, MAP_SHARED, template.memory_fd, 0);
	struct sha256_ctx ctx;

	assert_true(mem != MAP_FAILED);
	sha256_init(&ctx);
	sha256_update(&ctx, size, mem);
	sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret);
	munmap((void *)(uintptr_t)mem, size);
}

static int reopen_readonly(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Boots and saves the template every test clones. */
static int make_template(void **state)
{
	_cleanup_free_ char *memory = NULL, *saved = NULL, *dir = NULL;
	struct vm_options options = {.config = &template.config, .id = "template"};
	struct vm_inputs *inputs = vm_inputs_new();
	struct err err = ERR_INIT;
	struct vm *vm = NULL;
	int fd, state_fd;

	(void)state;
	config_init(&template.config);
	snprintf(template.dir, sizeof(template.dir), "/tmp/stencil-vm-XXXXXX");
	assert_non_null(mkdtemp(template.dir));
	set_guest(&template.config, "kernel", "vmlinuz");
	set_guest(&template.config, "initrd", "initrd.img");
	set_key(&template.config, "runtime", "state_dir", template.dir);
	set_key(&template.config, "hypervisor", "default_maxvcpus", "2");
	if (getenv("STENCIL_QEMU"))
		set_key(&template.config, "hypervisor", "path", getenv("STENCIL_QEMU"));
	if (vm_inputs_collect(inputs, &template.config, &template.manifest, &err) < 0)
		fail_msg("%s", err.text);
	vm_inputs_free(inputs);
	memory = xasprintf("%s/memory", template.dir);
	saved = xasprintf("%s/state", template.dir);
	options.dir = dir = make_dir("vm-template");
	fd = open(memory, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	state_fd = open(saved, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(0, ftruncate(fd, (off_t)(template.config.default_memory * MiB)));
	if (vm_boot(&options, fd, &vm, &err) < 0 || vm_save(vm, state_fd, &err) < 0)
		fail_msg("%s", err.text);
	vm_free(vm);
	close(fd);
	close(state_fd);
	template.memory_fd = reopen_readonly(memory);
	template.state_fd = reopen_readonly(saved);
	digest_memory(template.digest);
	return 0;
}

static int remove_template(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	close(template.memory_fd);
	close(template.state_fd);
	manifest_done(&template.manifest);
	config_done(&template.config);
	if (remove_tree(AT_FDCWD, template.dir, &err) < 0)
		fail_msg("%s", err.text);
	return 0;
}

static struct vm *make_clone(const char *name)
{
	_cleanup_free_ char *dir = make_dir(name);
	struct vm_options options = {.config = &template.config, .id = name, .dir = dir};
	struct err err = ERR_INIT;
	struct vm *vm = NULL;

	assert_true(lseek(template.state_fd, 0, SEEK_SET) == 0);
	if (vm_clone(&options, template.memory_fd, template.state_fd, &template.manifest,
		    &vm, &err) < 0)
		fail_msg("%s", err.text);
	return vm;
}

/* The value behind "<key>:" in /proc/<pid>/status. */
static void proc_status(int pid, const char *key, char *ret, size_t size)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", pid);
	_cleanup_free_ char *text = NULL;
	const char *line;
	size_t len;

	assert_int_equal(0, file_read(AT_FDCWD, path, 65536, &text, &len, NULL));
	line = strstr(text, key);
	assert_non_null(line);
	line += strlen(key) + 1;
	line += strspn(line, " \t");
	snprintf(ret, size, "%.*s", (int)strcspn(line, "\t\n"), line);
}

/* How QEMU holds the file that `stat` says: the flags in its fdinfo, octal. */
static int held_flags(int pid, const struct stat *st)
{
	for (int fd = 0; fd < 64; fd++) {
		_cleanup_free_ char *link = xasprintf("/proc/%d/fd/%d", pid, fd);
		_cleanup_free_ char *info = xasprintf("/proc/%d/fdinfo/%d", pid, fd);
		_cleanup_free_ char *text = NULL;
		struct stat held;
		size_t len;

		if (stat(link, &held) < 0 || held.st_ino != st->st_ino ||
			held.st_dev != st->st_dev)
			continue;
		assert_int_equal(0, file_read(AT_FDCWD, info, 4096, &text, &len, NULL));
		return (int)strtol(strstr(text, "flags:") + 6, NULL, 8);
	}
	fail_msg("QEMU does not hold the memory file");
	return -1;
}

static void test_walls(void **state)
{
	_cleanup_(vm) struct vm *vm = make_clone("walls");
	char value[64];
	struct stat st;

	(void)state;
	assert_int_equal(0, fstat(template.memory_fd, &st));
	assert_int_equal(O_RDONLY, held_flags(vm_pid(vm), &st) & O_ACCMODE);
	proc_status(vm_pid(vm), "Seccomp", value, sizeof(value));
	assert_string_equal("2", value);
	proc_status(vm_pid(vm), "NoNewPrivs", value, sizeof(value));
	assert_string_equal("1", value);
	proc_status(vm_pid(vm), "Uid", value, sizeof(value));
	assert_true(strtoull(value, NULL, 10) >= template.config.uid_base);
	/* chown, dac_override, dac_read_search, fowner, fsetid, setfcap: to serve files,
	 * no more. */
	proc_status(vm_pid(vm), "CapEff", value, sizeof(value));
	assert_string_equal("000000008000001f", value);
	proc_status(vm_pid(vm), "CapBnd", value, sizeof(value));
	assert_string_equal("000000008000001f", value);
}

/* A clone works and grows; its template stays as it was. */
static void test_clone(void **state)
{
	_cleanup_(vm) struct vm *vm = make_clone("clone");
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct err err = ERR_INIT;
	unsigned int present, max;

	(void)state;
	if (vm_make_unique(vm, &(struct vm_identity){.hostname = "pod"}, &err) < 0)
		fail_msg("%s", err.text);
	if (vm_resize(vm, 2, 128 * MiB, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(
		0, plug_count_vcpus(vm_qmp(vm), &present, &max, now_ms() + 5000, &err));
	assert_int_equal(2, present);
	assert_int_equal(2, max);
	digest_memory(digest);
	assert_memory_equal(template.digest, digest, sizeof(digest));
}

static bool visible(const struct vm *vm, const char *name)
{
	_cleanup_free_ char *path =
		xasprintf("/proc/%d/root/export/%s", vm_pid(vm), name);

	return access(path, F_OK) == 0;
}

static bool host_mounts_mention(const char *text)
{
	_cleanup_free_ char *mounts = NULL;
	size_t len;

	assert_int_equal(
		0, file_read(AT_FDCWD, "/proc/self/mountinfo", MiB, &mounts, &len, NULL));
	return strstr(mounts, text) != NULL;
}

static void test_export(void **state)
{
	_cleanup_(vm) struct vm *vm = make_clone("export");
	_cleanup_free_ char *rootfs = make_dir("rootfs"), *file = NULL;
	_cleanup_close_ int folder_fd = -1, file_fd = -1;
	struct err err = ERR_INIT;

	(void)state;
	file = xasprintf("%s/hello", rootfs);
	assert_int_equal(0, file_write_atomic(AT_FDCWD, file, "x", 1, 0644, &err));
	folder_fd = open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	file_fd = open_tree(AT_FDCWD, file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	assert_int_equal(0, vm_export_attach(vm, folder_fd, "c1/rootfs", &err));
	assert_int_equal(0, vm_export_attach(vm, file_fd, "c1/mounts/0", &err));
	assert_true(visible(vm, "c1/rootfs/hello"));
	assert_true(visible(vm, "c1/mounts/0"));
	assert_false(host_mounts_mention("/c1/rootfs"));
	assert_int_equal(0, vm_export_detach(vm, "c1", &err));
	assert_false(visible(vm, "c1"));
	assert_int_equal(0, vm_export_detach(vm, "c1", &err));
	assert_int_equal(0, access(file, F_OK));
}

static void test_ports_run_out(void **state)
{
	_cleanup_(vm) struct vm *vm = make_clone("ports");
	struct err err = ERR_INIT;
	const char *bus;
	int r = 0, n;

	(void)state;
	for (n = 0; r == 0 && n < 100; n++)
		r = vm_take_port(vm, &bus, &err);
	assert_int_equal(-ENOSPC, r);
	assert_int_equal(9, n);
}

/* What `delete` does after the owner was killed: from the folder alone, twice. */
static void test_cleanup(void **state)
{
	struct vm *vm = make_clone("cleanup");
	_cleanup_free_ char *dir = make_dir("cleanup"), *record = NULL;
	int pidfd = vm_pidfd(vm);
	struct err err = ERR_INIT;

	(void)state;
	record = xasprintf("%s/vm.json", dir);
	assert_int_equal(0, access(record, F_OK));
	assert_int_equal(0, vm_cleanup(&template.config, dir, &err));
	assert_int_equal(0, wait_fd(pidfd, 1 /* POLLIN */, now_ms()));
	assert_int_equal(-1, access(record, F_OK));
	assert_int_equal(0, vm_cleanup(&template.config, dir, &err));
	vm_free(vm);
}

static void boot_fails(const char *key, const char *value, const char *timeout_ms,
	int code, const char *const *parts)
{
	_cleanup_free_ char *dir = make_dir("fails");
	struct vm_options options = {.id = "fails", .dir = dir};
	struct err err = ERR_INIT;
	struct config config;
	struct vm *vm = NULL;

	config_init(&config);
	set_guest(&config, "kernel", "vmlinuz");
	set_guest(&config, "initrd", "initrd.img");
	set_key(&config, "runtime", "state_dir", template.dir);
	set_key(&config, "runtime", "boot_timeout_ms", timeout_ms);
	set_key(&config, "hypervisor", key, value);
	options.config = &config;
	assert_int_equal(code, vm_boot(&options, -1, &vm, &err));
	for (; *parts; parts++)
		if (!strstr(err.text, *parts))
			fail_msg("\"%s\" is not in: %s", *parts, err.text);
	config_done(&config);
	assert_int_equal(0, rmdir(dir));
}

/* The guest panics (its initramfs is none): the error has the end of its console. */
static void test_guest_panics(void **state)
{
	_cleanup_free_ char *file = xasprintf("%s/none.img", template.dir);

	(void)state;
	assert_int_equal(
		0, file_write_atomic(AT_FDCWD, file, "not an initramfs", 16, 0644, NULL));
	boot_fails("initrd", file, "60000", -ECONNRESET,
		(const char *[]){
			"agent does not answer", "console ends with", "panic", NULL});
}

static void test_guest_is_silent(void **state)
{
	(void)state;
	boot_fails("default_memory", "256", "300", -ETIMEDOUT,
		(const char *[]){"agent did not answer within", "console", NULL});
}

static void test_not_qemu(void **state)
{
	(void)state;
	boot_fails("path", "/bin/true", "5000", -ECONNRESET,
		(const char *[]){"QEMU (/bin/true) does not answer", NULL});
	boot_fails("path", "/nowhere/qemu", "5000", -ENOENT,
		(const char *[]){"/nowhere/qemu", "key path", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_export),
		cmocka_unit_test(test_ports_run_out),
		cmocka_unit_test(test_cleanup),
		cmocka_unit_test(test_guest_panics),
		cmocka_unit_test(test_guest_is_silent),
		cmocka_unit_test(test_not_qemu),
	};

	return cmocka_run_group_tests(tests, make_template, remove_template);
}
