/* SPDX-License-Identifier: Apache-2.0 */
/* vm/ without a VM: records, uids, input checks, QEMU versions, the command line. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/util.h"
#include "vm/accel.h"
#include "vm/argv.h"
#include "vm/firmware.h"
#include "vm/inputs.h"
#include "vm/qemu_version.h"
#include "vm/record.h"
#include "vm/vm.h"

struct fixture {
	struct config config;
	char dir[64];
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *f = xnew0(struct fixture);

	config_init(&f->config);
	snprintf(f->dir, sizeof(f->dir), "/tmp/stencil-test-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	assert_int_equal(
		0, config_set(&f->config, "runtime", "state_dir", f->dir, "test", NULL));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(0, remove_tree(AT_FDCWD, f->dir, NULL));
	config_done(&f->config);
	free(f);
	return 0;
}

static char *file_in(struct fixture *f, const char *name, const void *data, size_t len)
{
	char *path = xasprintf("%s/%s", f->dir, name);

	assert_int_equal(0, file_write_atomic(AT_FDCWD, path, data, len, 0755, NULL));
	return path;
}

static void test_version(void **state)
{
	(void)state;
	assert_int_equal(
		70222, qemu_version_parse("QEMU emulator version 7.2.22 (Debian 1:7.2)"));
	assert_int_equal(100002, qemu_version_parse("QEMU emulator version 10.0.2"));
	assert_int_equal(-EINVAL, qemu_version_parse("qemu-img version 7.2.22"));
	assert_int_equal(-EINVAL, qemu_version_parse(""));
}

/* Programs that are no QEMU: each error names the path and what it said. */
static void test_not_qemu(void **state)
{
	static const char chatty[] = "#!/bin/sh\necho 'true (GNU coreutils) 9.1'\n";
	static const char old[] = "#!/bin/sh\necho 'QEMU emulator version 5.2.0'\n";
	struct fixture *f = *state;
	_cleanup_free_ char *other = file_in(f, "other", chatty, sizeof(chatty) - 1);
	_cleanup_free_ char *aged = file_in(f, "old", old, sizeof(old) - 1);
	_cleanup_free_ char *line = NULL;
	unsigned int version;

	assert_int_equal(-ENOEXEC, vm_qemu_version(other, &line, &version, &f->err));
	assert_non_null(strstr(f->err.text, other));
	assert_non_null(strstr(f->err.text, "is not a QEMU"));
	assert_non_null(strstr(f->err.text, "coreutils"));
	assert_int_equal(-EOPNOTSUPP, vm_qemu_version(aged, &line, &version, &f->err));
	assert_non_null(strstr(f->err.text, "7.2 or later"));
	assert_int_equal(
		-ENOENT, vm_qemu_version("/nowhere/qemu", &line, &version, &f->err));
	assert_non_null(strstr(f->err.text, "/nowhere/qemu"));
	assert_null(line);
}

static void set_kernel(struct fixture *f, const char *path)
{
	assert_int_equal(
		0, config_set(&f->config, "hypervisor", "kernel", path, "test", NULL));
}

static void test_kernel(void **state)
{
	struct fixture *f = *state;
	char image[0x400] = {0};
	_cleanup_free_ char *empty = file_in(f, "empty", "", 0);
	_cleanup_free_ char *text = file_in(f, "text", "hello", 5);
	_cleanup_free_ char *bz = NULL;

	memcpy(image + 0x202, "HdrS", 4);
	bz = file_in(f, "bz", image, sizeof(image));
	set_kernel(f, "/nowhere/vmlinuz");
	assert_int_equal(-ENOENT, vm_check_kernel(&f->config, &f->err));
	assert_non_null(strstr(f->err.text, "/nowhere/vmlinuz"));
	assert_non_null(strstr(f->err.text, "key kernel"));
	set_kernel(f, empty);
	assert_int_equal(-EINVAL, vm_check_kernel(&f->config, &f->err));
	assert_non_null(strstr(f->err.text, "is empty"));
	set_kernel(f, f->dir);
	assert_int_equal(-EINVAL, vm_check_kernel(&f->config, &f->err));
	assert_non_null(strstr(f->err.text, "not a regular file"));
	set_kernel(f, text);
	assert_int_equal(-ENOEXEC, vm_check_kernel(&f->config, &f->err));
	assert_non_null(strstr(f->err.text, "neither a bzImage nor an ELF file"));
	set_kernel(f, bz);
	assert_int_equal(0, vm_check_kernel(&f->config, &f->err));
}

static void test_record(void **state)
{
	struct fixture *f = *state;
	struct vm_record in = {.uid = 4000000000u,
		.cgroup = "stencil/a-1234",
		.qemu = {.pid = 77, .start_ticks = UINT64_MAX}};
	struct vm_record out;
	_cleanup_free_ char *path = NULL;

	assert_int_equal(-ENOENT, vm_record_read(f->dir, &out, &f->err));
	assert_int_equal(0, vm_record_write(f->dir, &in, &f->err));
	assert_int_equal(0, vm_record_read(f->dir, &out, &f->err));
	assert_int_equal(in.uid, out.uid);
	assert_string_equal(in.cgroup, out.cgroup);
	assert_int_equal(in.qemu.pid, out.qemu.pid);
	assert_true(in.qemu.start_ticks == out.qemu.start_ticks);
	/* A name that would leave the folder of groups is refused. */
	path = file_in(f, "vm.json",
		"{\"uid\":1,\"cgroup\":\"../x\",\"pid\":0,\"start_ticks\":0}",
		strlen("{\"uid\":1,\"cgroup\":\"../x\",\"pid\":0,\"start_ticks\":0}"));
	assert_int_equal(-EBADMSG, vm_record_read(f->dir, &out, &f->err));
}

static void test_uids(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *a = xasprintf("%s/a", f->dir),
			    *b = xasprintf("%s/b", f->dir);
	_cleanup_free_ char *c = xasprintf("%s/c", f->dir);
	uid_t first, second, third;

	assert_int_equal(0, mkdir(a, 0700));
	assert_int_equal(0, mkdir(b, 0700));
	assert_int_equal(0, mkdir(c, 0700));
	f->config.uid_count = 2;
	assert_int_equal(0, vm_uid_take(&f->config, a, &first, &f->err));
	assert_int_equal(0, vm_uid_take(&f->config, b, &second, &f->err));
	assert_int_not_equal(first, second);
	assert_int_equal(-EBUSY, vm_uid_take(&f->config, c, &third, &f->err));
	assert_non_null(strstr(f->err.text, "uid_count"));
	/* Somebody else's is not given back by mistake. */
	vm_uid_release(&f->config, c, "", first);
	assert_int_equal(-EBUSY, vm_uid_take(&f->config, c, &third, &f->err));
	vm_uid_release(&f->config, a, "", first);
	assert_int_equal(0, vm_uid_take(&f->config, c, &third, &f->err));
	assert_int_equal(first, third);
	/* It moves to another folder, and is given back by that one, or by one who knows
	 * where it was. */
	assert_int_equal(0, vm_uid_move(&f->config, first, a, &f->err));
	assert_false(vm_uid_is_held(&f->config, c));
	assert_true(vm_uid_is_held(&f->config, a));
	vm_uid_release(&f->config, c, "", first);
	assert_true(vm_uid_is_held(&f->config, a));
	vm_uid_release(&f->config, c, a, first);
	assert_false(vm_uid_is_held(&f->config, a));
	assert_int_equal(0, vm_uid_take(&f->config, c, &third, &f->err));
	/* A folder that is gone holds nothing. */
	assert_int_equal(0, rmdir(b));
	assert_int_equal(0, vm_uid_take(&f->config, a, &third, &f->err));
	assert_int_equal(second, third);
}

/* Many shims at once, in a range of links whose folders are gone: no uid twice. */
static void test_uids_at_once(void **state)
{
	enum { N = 16, ROUNDS = 20 };
	struct fixture *f = *state;

	f->config.uid_count = N;
	for (int round = 0; round < ROUNDS; round++) {
		int start[2], status;
		char byte;

		assert_int_equal(0, pipe(start));
		for (int i = 0; i < N; i++) {
			_cleanup_free_ char *dir =
				xasprintf("%s/%d-%d", f->dir, round, i);
			uid_t uid;

			assert_int_equal(0, mkdir(dir, 0700));
			if (fork() > 0)
				continue;
			close(start[1]);
			if (read(start[0], &byte, 1) != 0)
				_exit(1);
			_exit(vm_uid_take(&f->config, dir, &uid, &f->err) != 0);
		}
		close(start[0]);
		close(start[1]);
		for (int i = 0; i < N; i++) {
			assert_true(wait(&status) > 0);
			assert_int_equal(0, status);
		}
		for (int i = 0; i < N; i++) {
			_cleanup_free_ char *dir =
				xasprintf("%s/%d-%d", f->dir, round, i);

			assert_true(vm_uid_is_held(&f->config, dir));
			assert_int_equal(0, rmdir(dir));
		}
	}
}

/* A cleaned up folder twice, and none at all. */
static void test_cleanup_nothing(void **state)
{
	struct fixture *f = *state;
	struct vm_record record = {.cgroup = "stencil-test-none"};
	_cleanup_free_ char *link = NULL;
	char byte;
	uid_t uid;

	assert_int_equal(0, vm_cleanup(&f->config, "/nowhere", &f->err));
	/* Killed between taking a uid and writing it down. */
	assert_int_equal(0, vm_uid_take(&f->config, f->dir, &uid, &f->err));
	link = xasprintf("%s/.uids/%u", f->config.state_dir, uid);
	assert_int_equal(0, vm_cleanup(&f->config, f->dir, &f->err));
	assert_int_equal(-1, readlink(link, &byte, 1));
	assert_int_equal(0, vm_record_write(f->dir, &record, &f->err));
	assert_int_equal(0, vm_cleanup(&f->config, f->dir, &f->err));
	assert_int_equal(0, vm_cleanup(&f->config, f->dir, &f->err));
}

static bool has_word(char **argv, const char *part)
{
	for (; *argv; argv++)
		if (strstr(*argv, part))
			return true;
	return false;
}

/* What keeps a template whole: shared only where it is made, private in clones, and from
 * QEMU 8.2 opened read-only by QEMU itself. */
static void test_argv_memory(void **state)
{
	struct fixture *f = *state;
	struct vm_machine m = {.config = &f->config, .qemu_version = 70222};
	char **clone = vm_argv_new(&m, VM_ROLE_CLONE), **newer, **template, **direct;

	m.qemu_version = 100002;
	newer = vm_argv_new(&m, VM_ROLE_CLONE);
	template = vm_argv_new(&m, VM_ROLE_TEMPLATE);
	direct = vm_argv_new(&m, VM_ROLE_DIRECT);
	assert_true(has_word(clone, "share=off"));
	assert_false(has_word(clone, "share=on"));
	assert_false(has_word(clone, "readonly=on"));
	assert_false(has_word(clone, "-kernel"));
	assert_true(has_word(clone, "mem-path=" VM_PATH_MEMORY ","));
	assert_true(has_word(
		newer, "mem-path=" VM_PATH_MEMORY_FD ",share=off,readonly=on,rom=off"));
	assert_true(has_word(template, "share=on"));
	assert_false(has_word(direct, "memory-backend-file"));
	for (char ***argv = (char **[]){clone, newer, template, direct, NULL}; *argv;
		argv++) {
		assert_true(has_word(*argv, "spawn=deny"));
		assert_true(has_word(*argv, "vmgenid,guid=auto"));
		vm_argv_free(*argv);
	}
}

/* Our words come first, so that the configuration's win; but for a list, which the kernel
 * only adds to. */
static void test_cmdline(void **state)
{
	struct fixture *f = *state;
	struct vm_machine m = {.config = &f->config};
	char *plain = vm_cmdline(&m), *kvm, *own;

	m.kvm = true;
	kvm = vm_cmdline(&m);
	assert_int_equal(0, config_set(&f->config, "hypervisor", "kernel_params",
				    "lsm=apparmor initcall_blacklist=x", "test", NULL));
	own = vm_cmdline(&m);
	assert_non_null(strstr(plain, " initcall_blacklist=tracer_init_tracefs,"));
	assert_non_null(strstr(plain, " lsm=landlock,yama "));
	assert_string_equal(
		strstr(plain, " mitigations="), " mitigations=off init_on_alloc=0");
	assert_null(strstr(kvm, "mitigations="));
	assert_string_equal(strstr(own, " lsm=a"), " lsm=apparmor initcall_blacklist=x");
	assert_ptr_equal(
		strstr(own, "initcall_blacklist="), strstr(own, "initcall_blacklist=x"));
	free(plain);
	free(kvm);
	free(own);
}

static void test_accel(void **state)
{
	struct fixture *f = *state;
	struct accel accel;
	unsigned int ms;

	f->config.accel = CONFIG_ACCEL_TCG;
	assert_int_equal(0, accel_choose(&f->config, &accel, &f->err));
	assert_false(accel.kvm);
	assert_int_equal(-EIO, accel_probe_kvm("/dev/null/kvm", &ms, &f->err));
	assert_non_null(strstr(f->err.text, "does not open"));
	assert_int_equal(-EIO, accel_probe_kvm("/dev/null", &ms, &f->err));
	assert_non_null(strstr(f->err.text, "no VM can be made"));
}

/* Names and contents count, times do not; a second look is by stat(2). */
static void test_firmware(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *folder = xasprintf("%s/rom", f->dir);
	_cleanup_free_ char *bios = xasprintf("%s/rom/bios.bin", f->dir);
	_cleanup_free_ char *other = xasprintf("%s/rom/other.bin", f->dir);
	char nowhere[] = "/nowhere", *folders[] = {folder, nowhere, NULL};
	struct firmware one = {0}, two = {0};
	char **own;
	struct err err = ERR_INIT;

	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(file_write_atomic(AT_FDCWD, bios, "one", 3, 0600, &err), 0);
	assert_int_equal(firmware_look(folders, &one, &err), 0);
	assert_int_equal(strlen(one.digest), 64);
	two = one;
	assert_int_equal(file_write_atomic(AT_FDCWD, bios, "one", 3, 0600, &err), 0);
	assert_int_equal(firmware_look(folders, &two, &err), 0);
	assert_string_equal(one.digest, two.digest);
	assert_memory_not_equal(one.stamp, two.stamp, sizeof(one.stamp));
	assert_int_equal(file_write_atomic(AT_FDCWD, bios, "two", 3, 0600, &err), 0);
	assert_int_equal(firmware_look(folders, &two, &err), 0);
	assert_string_not_equal(one.digest, two.digest);
	one = two;
	assert_int_equal(rename(bios, other), 0);
	assert_int_equal(firmware_look(folders, &two, &err), 0);
	assert_string_not_equal(one.digest, two.digest);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(rmdir(folder), 0);
	own = firmware_folders_new("/opt/qemu/bin/qemu-system-x86_64");
	assert_string_equal(own[0], "/opt/qemu/share/qemu");
	firmware_folders_free(own);
	assert_int_equal(firmware_look(folders, &two, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version),
		cmocka_unit_test_setup_teardown(test_not_qemu, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kernel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_uids, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_uids_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cleanup_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_argv_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cmdline, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_accel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_firmware, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
