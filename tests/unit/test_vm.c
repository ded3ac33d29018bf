/* SPDX-License-Identifier: Apache-2.0 */
/* vm/ without a VM: records, uids, input checks, QEMU versions, the command line. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/util.h"
#include "vm/accel.h"
#include "vm/argv.h"
#include "vm/cgroup.h"
#include "vm/firmware.h"
#include "vm/inputs.h"
#include "vm/number.h"
#include "vm/ports.h"
#include "vm/qemu_version.h"
#include "vm/record.h"
#include "vm/sweep.h"
#include "vm/vm.h"

struct fixture {
	struct config config;
	char dir[64];
	struct err err;
};

/* No other test's, and no instance's on this host. */
static void set_group(struct config *c)
{
	_cleanup_free_ char *group = xasprintf("stencil-unit-%d", (int)getpid());

	assert_int_equal(
		0, config_set(c, "runtime", "cgroup_parent", group, "test", NULL));
}

static int set_up(void **state)
{
	struct fixture *f = xnew0(struct fixture);

	config_init(&f->config);
	snprintf(f->dir, sizeof(f->dir), "/tmp/stencil-test-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	assert_int_equal(
		0, config_set(&f->config, "runtime", "state_dir", f->dir, "test", NULL));
	set_group(&f->config);
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

	assert_int_equal(-ENOEXEC, vm_qemu_version(other, &line, &f->err));
	assert_non_null(strstr(f->err.text, other));
	assert_non_null(strstr(f->err.text, "is not a QEMU"));
	assert_non_null(strstr(f->err.text, "coreutils"));
	assert_int_equal(-EOPNOTSUPP, vm_qemu_version(aged, &line, &f->err));
	assert_non_null(strstr(f->err.text, "7.2 or later"));
	assert_int_equal(-ENOENT, vm_qemu_version("/nowhere/qemu", &line, &f->err));
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

/* ---- records, numbers, sweeps ---- */

static char *vm_folder(struct fixture *f, unsigned int number)
{
	return xasprintf("%s/" VM_FOLDERS "/%u", f->config.state_dir, number);
}

static int open_vm(struct fixture *f, unsigned int number)
{
	_cleanup_free_ char *dir = vm_folder(f, number);

	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static struct vm_record own_record(void)
{
	struct vm_record record = {.namespace = "default", .sandbox = "pod"};

	assert_int_equal(0, proc_id_of(getpid(), &record.owner));
	return record;
}

static int take(struct fixture *f, struct vm_record *record, unsigned int *ret)
{
	_cleanup_free_ char *dir = NULL;
	int fds[CGROUP_MAX],
		r = vm_number_take(&f->config, "", record, &dir, fds, &f->err);

	for (int i = 0; r >= 0 && i < CGROUP_MAX; i++)
		close_fd(fds[i]);
	if (r < 0)
		return r;
	*ret = (unsigned int)r;
	return 0;
}

static void give(struct fixture *f, unsigned int number)
{
	_cleanup_free_ char *dir = vm_folder(f, number);
	_cleanup_close_ int dir_fd = open_vm(f, number);
	struct vm_record record;

	assert_int_equal(0, vm_record_read(dir_fd, &record, &f->err));
	assert_int_equal(0, vm_number_give(&f->config, dir, record.cgroup, &f->err));
}

static void assert_nothing_left(struct fixture *f)
{
	_cleanup_free_ char *vms = xasprintf("%s/" VM_FOLDERS, f->config.state_dir);
	_cleanup_closedir_ DIR *claims = opendir(VM_CLAIMS);
	struct dirent *entry;

	assert_int_equal(-1, access(vms, F_OK));
	while (claims && (entry = readdir(claims)))
		if (*entry->d_name != '.')
			fail_msg("the claim %s is left", entry->d_name);
}

static void test_record(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vm_record in = own_record(), out;
	_cleanup_free_ char *path = NULL;
	const char lying[] =
		"{\"owner\":{\"pid\":1,\"start_ticks\":1},\"offered\":false,"
		"\"namespace\":\"\",\"sandbox\":\"\",\"generation\":\"\","
		"\"cgroup\":\"../x\",\"qemu\":{\"pid\":0,\"start_ticks\":0}}";

	str_copy(in.cgroup, "stencil/a-1234");
	str_copy(in.generation, "00000042-9f3a2b1c");
	in.offered = true;
	in.files_uid = UINT32_MAX - 1;
	in.qemu = (struct proc_id){.pid = 77, .start_ticks = UINT64_MAX};
	assert_int_equal(-ENOENT, vm_record_read(dir_fd, &out, &f->err));
	assert_int_equal(0, vm_record_write(dir_fd, &in, &f->err));
	assert_int_equal(0, vm_record_read(dir_fd, &out, &f->err));
	assert_string_equal(in.cgroup, out.cgroup);
	assert_string_equal(in.namespace, out.namespace);
	assert_string_equal(in.sandbox, out.sandbox);
	assert_string_equal(in.generation, out.generation);
	assert_true(out.offered);
	assert_int_equal(in.owner.pid, out.owner.pid);
	assert_int_equal(in.qemu.pid, out.qemu.pid);
	assert_true(in.qemu.start_ticks == out.qemu.start_ticks);
	assert_int_equal(in.files_uid, out.files_uid);
	in.files_uid = UINT32_MAX; /* setuid(2)'s "leave it" */
	assert_int_equal(0, vm_record_write(dir_fd, &in, &f->err));
	assert_int_equal(-EBADMSG, vm_record_read(dir_fd, &out, &f->err));
	/* A name that would leave the folder of groups is refused. */
	path = file_in(f, "vm.json", lying, strlen(lying));
	assert_int_equal(-EBADMSG, vm_record_read(dir_fd, &out, &f->err));
	/* Half a record is none that is missing. */
	free(path);
	path = file_in(f, "vm.json", "{\"offered\":true}", 16);
	assert_int_equal(-EBADMSG, vm_record_read(dir_fd, &out, &f->err));
}

static void test_numbers(void **state)
{
	struct fixture *f = *state;
	struct vm_record record = own_record();
	unsigned int a, b, c;
	_cleanup_close_ int dir_fd = -1;
	struct vm_record written;

	f->config.uid_count = 2;
	assert_int_equal(0, take(f, &record, &a));
	assert_int_equal(0, take(f, &record, &b));
	assert_int_not_equal(a, b);
	assert_int_equal(f->config.uid_base + a, vm_number_uid(&f->config, a));
	assert_int_equal(f->config.uid_base + 2 + a, vm_number_files_uid(&f->config, a));
	assert_int_equal(-EBUSY, take(f, &record, &c));
	assert_non_null(strstr(f->err.text, "uid_count"));
	dir_fd = open_vm(f, b);
	assert_int_equal(0, vm_record_read(dir_fd, &written, &f->err));
	assert_string_equal("pod", written.sandbox);
	assert_int_equal(vm_number_files_uid(&f->config, b), written.files_uid);
	give(f, a);
	assert_int_equal(0, take(f, &record, &c));
	assert_int_equal(a, c);
	give(f, b);
	give(f, c);
	assert_nothing_left(f);
}

/* Many shims at once: no number twice. */
/* A wall's proof: docs/security.md. */
static void test_numbers_at_once(void **state)
{
	enum { N = 16, ROUNDS = 5 };
	struct fixture *f = *state;
	struct vm_record record = own_record();

	f->config.uid_count = N;
	for (int round = 0; round < ROUNDS; round++) {
		int start[2], status;
		char byte;

		assert_int_equal(0, pipe(start));
		for (int i = 0; i < N; i++) {
			unsigned int number;

			if (fork() > 0)
				continue;
			close(start[1]);
			if (read(start[0], &byte, 1) != 0)
				_exit(1);
			_exit(take(f, &record, &number) != 0);
		}
		close(start[0]);
		close(start[1]);
		for (int i = 0; i < N; i++) {
			assert_true(wait(&status) > 0);
			assert_int_equal(0, status);
		}
		for (unsigned int i = 0; i < N; i++)
			give(f, i);
		assert_nothing_left(f);
	}
}

/* With the cgroup, which is not below state_dir. */
static int remove_vms(struct fixture *f)
{
	_cleanup_free_ char *vms = xasprintf("%s/" VM_FOLDERS, f->config.state_dir);
	_cleanup_closedir_ DIR *all = opendir(vms);
	struct dirent *entry;

	while ((entry = readdir(all))) {
		_cleanup_close_ int dir_fd = openat(dirfd(all), entry->d_name, O_RDONLY);
		struct vm_record record;

		if (*entry->d_name != '.' && vm_record_read(dir_fd, &record, NULL) == 0)
			cgroup_remove(record.cgroup, NULL);
	}
	return remove_tree(AT_FDCWD, vms, NULL);
}

/* Another instance, which has a state_dir of its own and the default keys. */
/* A wall's proof: docs/security.md. */
static void test_two_instances(void **state)
{
	struct fixture *f = *state, other = *f;
	_cleanup_free_ char *state_dir = xasprintf("%s/other", f->dir);
	struct vm_record record = own_record();
	unsigned int a, b, more;

	config_init(&other.config);
	assert_int_equal(0, config_set(&other.config, "runtime", "state_dir", state_dir,
				    "test", NULL));
	set_group(&other.config);
	assert_int_equal(0, take(f, &record, &a));
	assert_int_equal(-EADDRINUSE, take(&other, &record, &b));
	assert_non_null(strstr(other.err.text, "uid_base"));
	assert_non_null(strstr(other.err.text, f->config.state_dir));
	/* A range of its own, right behind. */
	other.config.uid_base = f->config.uid_base + f->config.uid_count;
	assert_int_equal(-EADDRINUSE, take(&other, &record, &b));
	other.config.uid_base += f->config.uid_count;
	assert_int_equal(0, take(&other, &record, &b));
	give(&other, b);
	/* One's own, with more of them, stands in nobody's way but others'. */
	f->config.uid_count *= 2;
	assert_int_equal(0, take(f, &record, &more));
	give(f, more);
	f->config.uid_count /= 2;
	/* The first one's last VM takes the claim along. */
	other.config.uid_base = f->config.uid_base;
	give(f, a);
	assert_int_equal(0, take(&other, &record, &b));
	give(&other, b);
	assert_nothing_left(f);
	/* And so does an instance that was removed by hand. */
	assert_int_equal(0, take(f, &record, &a));
	assert_int_equal(0, remove_vms(f));
	assert_int_equal(0, take(&other, &record, &b));
	give(&other, b);
	config_done(&other.config);
}

/* With a larger uid_count nobody's QEMU gets the uid of a file server. */
static void test_larger_uid_count(void **state)
{
	struct fixture *f = *state;
	struct vm_record record = own_record();
	unsigned int first, more[2], last;

	f->config.uid_count = 2;
	assert_int_equal(0, take(f, &record, &first));
	/* Of what is free now, 0 to 3, one would be its file server's uid. */
	f->config.uid_count = 4;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(0, take(f, &record, &more[i]));
		assert_int_not_equal(first + 2, more[i]);
	}
	assert_int_equal(-EBUSY, take(f, &record, &last));
	give(f, first);
	assert_int_equal(0, take(f, &record, &last));
	give(f, last);
	give(f, more[0]);
	give(f, more[1]);
	assert_nothing_left(f);
}

/* With fewer nobody's file server gets the uid of a QEMU. */
static void test_smaller_uid_count(void **state)
{
	struct fixture *f = *state;
	struct vm_record record = own_record();
	unsigned int number;

	f->config.uid_count = 4;
	for (int i = 0; i < 4; i++)
		assert_int_equal(0, take(f, &record, &number));
	give(f, 0);
	f->config.uid_count = 2;
	assert_int_equal(-EBUSY, take(f, &record, &number));
	give(f, 2);
	assert_int_equal(0, take(f, &record, &number));
	assert_int_equal(0, number);
	give(f, 0);
	give(f, 1);
	give(f, 3);
	assert_nothing_left(f);
}

/* Of VMs whose owner is gone all goes, of others nothing; twice is as good as once. */
static void test_sweep(void **state)
{
	struct fixture *f = *state;
	struct vm_record record = own_record();
	unsigned int ours, lost, child_number;
	_cleanup_free_ char *half = NULL,
			    *vms = xasprintf("%s/" VM_FOLDERS, f->config.state_dir);
	_cleanup_close_ int gone = -1, kept = -1;
	siginfo_t info;

	assert_int_equal(0, take(f, &record, &ours));
	/* A process that takes a number, starts something, and is killed. */
	if (fork() == 0) {
		struct vm_record its = own_record();

		_exit(take(f, &its, &child_number) != 0);
	}
	/* A zombie owns nothing. */
	assert_int_equal(0, waitid(P_ALL, 0, &info, WEXITED | WNOWAIT));
	assert_int_equal(0, info.si_status);
	/* And one that was killed in the middle of taking a number. */
	lost = ours == 7 ? 8 : 7;
	half = vm_folder(f, lost);
	if (mkdir(half, 0700) < 0)
		assert_int_equal(EEXIST, errno);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(0, vm_sweep(&f->config, NULL, NULL, &f->err));
		gone = open_vm(f, lost);
		assert_int_equal(-1, gone);
		kept = open_vm(f, ours);
		assert_true(kept >= 0);
		close_fd(steal_fd(&kept));
	}
	assert_true(wait(NULL) > 0);
	give(f, ours);
	assert_nothing_left(f);
	/* One that was killed before there was a folder with a number. */
	assert_int_equal(0, mkdir(vms, 0700));
	assert_int_equal(0, symlink(f->config.state_dir, VM_CLAIMS "/1000-1999"));
	assert_int_equal(0, vm_sweep(&f->config, NULL, NULL, &f->err));
	assert_nothing_left(f);
}

/* Killed before its start, a VM starts no more; nothing of it is left. */
static void test_killed_before_start(void **state)
{
	struct fixture *f = *state;
	struct vm_options options = {
		.config = &f->config, .namespace = "default", .sandbox = "pod"};
	struct vm *vm;

	assert_int_equal(0, vm_new(&options, &vm, &f->err));
	assert_int_equal(-1, vm_pidfd(vm));
	vm_kill(vm);
	assert_true(vm_boot(vm, -1, &f->err) < 0);
	vm_free(vm);
	vm_free(NULL);
	assert_nothing_left(f);
	options.sandbox = "a name that is longer than any of containerd's, which have at "
			  "most seventy-six bytes, so that it can be none of them";
	assert_int_equal(-ENAMETOOLONG, vm_new(&options, &vm, &f->err));
	assert_nothing_left(f);
}

static bool has_word(char **argv, const char *part)
{
	for (; *argv; argv++)
		if (strstr(*argv, part))
			return true;
	return false;
}

/* What keeps a template whole: shared only where it is made, private in clones. */
static void test_argv_memory(void **state)
{
	struct fixture *f = *state;
	struct vm_machine m = {.config = &f->config};
	char **clone = vm_argv_new(&m, VM_ROLE_CLONE);
	char **template = vm_argv_new(&m, VM_ROLE_TEMPLATE);
	char **direct = vm_argv_new(&m, VM_ROLE_DIRECT);

	assert_true(has_word(clone, ",mem-path=" VM_PATH_MEMORY ",share=off"));
	assert_false(has_word(clone, "-kernel"));
	assert_true(has_word(template, ",mem-path=" VM_PATH_MEMORY ",share=on"));
	assert_false(has_word(direct, VM_PATH_MEMORY));
	for (char ***argv = (char **[]){clone, template, direct, NULL}; *argv; argv++) {
		assert_true(has_word(*argv, "vmgenid,guid=auto"));
		assert_true(has_word(*argv, "tcg,thread=single"));
		vm_argv_free(*argv);
	}
}

/* The port is where the template's was; the window is a clone's own, or of who boots. */
static void test_argv_files(void **state)
{
	struct fixture *f = *state;
	struct vm_machine m = {.config = &f->config};

	for (int role = VM_ROLE_DIRECT; role <= VM_ROLE_CLONE; role++) {
		char **argv = vm_argv_new(&m, (enum vm_role)role);
		bool window = role != VM_ROLE_TEMPLATE;

		assert_true(has_word(argv, ",nr=2,chardev=files,name=stencil.files.0"));
		assert_true(has_word(argv, "socket,id=files,fd=5"));
		assert_int_equal(window, has_word(argv, "ivshmem-plain,memdev=window"));
		assert_int_equal(window,
			has_word(argv, "id=window,size=4M,mem-path=" VM_PATH_WINDOW
				       ",share=on"));
		assert_false(has_word(argv, "9p"));
		vm_argv_free(argv);
	}
}

/* A wall's proof: docs/security.md. */
static void test_argv_cpu(void **state)
{
	struct fixture *f = *state;
	struct vm_machine m = {.config = &f->config, .kvm = true};

	for (int role = VM_ROLE_DIRECT; role <= VM_ROLE_CLONE; role++) {
		char **argv = vm_argv_new(&m, (enum vm_role)role);

		assert_true(has_word(argv, "host,vmx=off,svm=off,pmu=off"));
		vm_argv_free(argv);
	}
}

/* All roles have the same. */
static void test_argv_ports(void **state)
{
	struct fixture *f = *state;
	struct vm_machine m = {.config = &f->config};
	char address[VM_PORT_ADDRESS_SIZE];

	for (int role = VM_ROLE_DIRECT; role <= VM_ROLE_CLONE; role++) {
		char **argv = vm_argv_new(&m, (enum vm_role)role);

		assert_true(has_word(argv,
			"pci-bridge,id=ports,bus=pcie.0,addr=0x4,chassis_nr=1,shpc=off,"
			"mem-reserve=2M,pref64-reserve=2M"));
		assert_false(has_word(argv, "root-port"));
		vm_argv_free(argv);
	}
	vm_port_address(0, address);
	assert_string_equal("0000:01:00.0", address);
	vm_port_address(VM_PORTS - 1, address);
	assert_string_equal("0000:01:1f.0", address);
}

static void test_ports(void **state)
{
	struct ports ports = {0};

	(void)state;
	assert_int_equal(VM_PORTS, ports_free(&ports));
	for (unsigned int i = 0; i < VM_PORTS; i++)
		assert_int_equal(i, ports_take(&ports));
	assert_int_equal(VM_PORTS, ports_take(&ports));
	/* The lowest first, whatever came back last. */
	ports_give(&ports, 5);
	ports_give(&ports, VM_PORTS - 1);
	assert_int_equal(2, ports_free(&ports));
	ports_give(&ports, 0);
	assert_int_equal(0, ports_take(&ports));
	assert_int_equal(5, ports_take(&ports));
	assert_int_equal(VM_PORTS - 1, ports_take(&ports));
	assert_int_equal(VM_PORTS, ports_take(&ports));
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
				    "lsm=apparmor initcall_blacklist=x "
				    "module.sig_enforce=0",
				    "test", NULL));
	own = vm_cmdline(&m);
	assert_non_null(strstr(plain, " initcall_blacklist=tracer_init_tracefs,"));
	assert_non_null(strstr(plain, " lsm=landlock,yama "));
	assert_string_equal(strstr(plain, " mitigations="),
		" mitigations=off init_on_alloc=0 lpj=16000000");
	assert_null(strstr(kvm, "mitigations="));
	assert_string_equal(strstr(own, " lsm=a"),
		" lsm=apparmor initcall_blacklist=x module.sig_enforce=0");
	assert_non_null(strstr(plain, " module.sig_enforce=1 "));
	assert_non_null(strstr(kvm, " module.sig_enforce=1 "));
	assert_null(strstr(own, "module.sig_enforce=1"));
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
		cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_numbers_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_instances, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_larger_uid_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_smaller_uid_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sweep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_killed_before_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_argv_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_argv_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_argv_cpu, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_argv_ports, set_up, tear_down),
		cmocka_unit_test(test_ports),
		cmocka_unit_test_setup_teardown(test_cmdline, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_accel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_firmware, set_up, tear_down),
	};

	/* Claims of uids are in the host's /run. */
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", "/run", "tmpfs", 0, "mode=0755") < 0) {
		perror("private mounts");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
