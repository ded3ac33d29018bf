/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a real QEMU holds of the host: a clone's descriptors, mappings and mounts, a
 * template's after it was saved, a cold-booted one's; and that a clone with no more than
 * that serves files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/io.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "tests/lib/template.h"
#include "tests/lib/test.h"
#include "vm/argv.h"
#include "vm/qemu_version.h"
#include "vm/vm.h"

static bool opens_memory_itself(void)
{
	int version = qemu_version_parse(
		template_get()->g.manifest.value[MANIFEST_QEMU_VERSION]);

	assert_true(version > 0);
	return vm_opens_memory_readonly((unsigned int)version);
}

static char *read_proc(int pid, const char *name)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", pid, name);
	char *text;
	size_t len;

	assert_int_equal(0, file_read(AT_FDCWD, path, 4 * MiB, &text, &len, NULL));
	return text;
}

/* ---- descriptors ---- */

/* The kinds; `target` is the start of what the link in /proc/<pid>/fd says. */
enum kind {
	KIND_STDIN,
	KIND_STDERR,
	KIND_SOCKET,
	KIND_EPOLL,
	KIND_EVENT,
	KIND_SIGNAL,
	KIND_EXPORT,
	KIND_MEMORY,
	KINDS,
};

static const char *const kind_targets[KINDS] = {
	[KIND_STDIN] = "/memfd:qemu-stdin ",
	[KIND_STDERR] = "/memfd:qemu-stderr ",
	[KIND_SOCKET] = "socket:[",
	[KIND_EPOLL] = "anon_inode:[eventpoll]",
	[KIND_EVENT] = "anon_inode:[eventfd]",
	[KIND_SIGNAL] = "anon_inode:[signalfd]",
	/* By device and inode: the name is one of another mount, and, where the test runs in a
	 * chroot, begins outside. */
	[KIND_EXPORT] = NULL,
	[KIND_MEMORY] = NULL,
};

static int open_flags(int pid, int fd)
{
	_cleanup_free_ char *name = xasprintf("fdinfo/%d", fd);
	_cleanup_free_ char *text = read_proc(pid, name);
	const char *flags = strstr(text, "flags:");

	assert_non_null(flags);
	return (int)strtol(flags + 6, NULL, 8);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static enum kind kind_of(int pid, int fd, const struct stat *memory)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", pid, fd),
			    *export = xasprintf("/proc/%d/root" VM_PATH_EXPORT, pid);
	char target[512];
	struct stat st, top;
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	assert_true(n > 0);
	target[n] = '\0';
	if (stat(path, &st) == 0 && st.st_dev == memory->st_dev) {
		/* Of the template's tmpfs it has nothing but this, and that to read. */
		assert_int_equal(memory->st_ino, st.st_ino);
		assert_int_equal(O_RDONLY, open_flags(pid, fd) & O_ACCMODE);
		return KIND_MEMORY;
	}
	if (stat(path, &st) == 0 && stat(export, &top) == 0 && is_same_file(&st, &top))
		return KIND_EXPORT;
	for (int i = 0; i < KIND_EXPORT; i++)
		if (strncmp(target, kind_targets[i], strlen(kind_targets[i])) == 0)
			return (enum kind)i;
	fail_msg("QEMU holds descriptor %d of an unknown kind: %s", fd, target);
	return KINDS;
}

static void count_kinds(int pid, unsigned int counts[KINDS])
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", pid),
			    *memory = template_file(GENERATION_FILE_MEMORY);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat st;

	assert_non_null(dir);
	assert_int_equal(0, stat(memory, &st));
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			counts[kind_of(pid, (int)strtol(entry->d_name, NULL, 10), &st)]++;
}

static void assert_descriptors(int pid, unsigned int memory)
{
	unsigned int counts[KINDS] = {0};

	count_kinds(pid, counts);
	assert_int_equal(1, counts[KIND_STDIN]);
	assert_int_equal(2, counts[KIND_STDERR]);
	assert_int_equal(2, counts[KIND_SOCKET]); /* QMP, agent */
	assert_int_equal(1, counts[KIND_EXPORT]);
	assert_int_equal(1, counts[KIND_SIGNAL]);
	assert_int_equal(memory, counts[KIND_MEMORY]);
}

/* ---- mappings and mounts ---- */

/* The template's file system as /proc writes it: "0:46" in mountinfo, "00:2e" in maps. */
static char *device_text(const char *format)
{
	struct stat st;
	char *text = NULL;

	assert_int_equal(0, fstat(template_get()->ro_fd, &st));
	if (format[1] == 'u')
		text = xasprintf(" %u:%u ", major(st.st_dev), minor(st.st_dev));
	else
		text = xasprintf(" %02x:%02x ", major(st.st_dev), minor(st.st_dev));
	return text;
}

/* Mappings of the template's files; each one private. */
static unsigned int count_mappings(int pid)
{
	_cleanup_free_ char *maps = read_proc(pid, "maps"), *device = device_text("%02x");
	char *save = NULL;
	unsigned int n = 0;

	for (char *line = strtok_r(maps, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, device))
			continue;
		assert_int_equal('p', strchr(line, ' ')[4]);
		n++;
	}
	return n;
}

static void assert_not_mounted(int pid)
{
	_cleanup_free_ char *mounts = read_proc(pid, "mountinfo"),
			    *device = device_text("%u");

	if (strstr(mounts, device))
		fail_msg("QEMU sees the template's tmpfs:\n%s", mounts);
}

/* All it sees is read-only but the export. */
static void assert_mounts_readonly(int pid)
{
	_cleanup_free_ char *mounts = read_proc(pid, "mountinfo");
	char *save = NULL;

	for (char *line = strtok_r(mounts, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		char point[512], options[512];

		assert_int_equal(
			2, sscanf(line, "%*s %*s %*s %*s %511s %511s", point, options));
		assert_non_null(strstr(options, "nosuid"));
		if (strcmp(point, "/export") == 0)
			assert_int_equal(0, strncmp(options, "rw,", 3));
		else if (strncmp(options, "ro,", 3) != 0)
			fail_msg("QEMU may write to %s: %s", point, options);
	}
}

static void test_clone_holds(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("holds");
	_cleanup_free_ char *memory = template_file(GENERATION_FILE_MEMORY);
	int pid = vm_pid(vm);

	(void)state;
	/* From 8.2 the one it was given and the one it opened by that. */
	assert_descriptors(pid, opens_memory_itself() ? 2 : 1);
	assert_true(count_mappings(pid) > 0);
	assert_not_mounted(pid);
	assert_mounts_readonly(pid);
	assert_false(template_has_writer(memory));
}

/* QEMU asks for no more than to read, where it can: the descriptor that is not the one we
 * planted says what it asked for. */
static void test_opens_readonly_itself(void **state)
{
	_cleanup_(vm) struct vm *vm = NULL;
	_cleanup_free_ char *memory = NULL;
	struct stat st, held;
	int own = 0;

	(void)state;
	if (!opens_memory_itself()) {
		/* cmocka's skip() is a failure to TAP. */
		print_message("# not tried: QEMU before 8.2 insists on O_RDWR\n");
		return;
	}
	vm = template_clone("itself");
	memory = template_file(GENERATION_FILE_MEMORY);
	assert_int_equal(0, stat(memory, &st));
	for (int fd = VM_FD_MEMORY + 1; fd < 64; fd++) {
		_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", vm_pid(vm), fd);

		if (stat(path, &held) < 0 || held.st_ino != st.st_ino ||
			held.st_dev != st.st_dev)
			continue;
		assert_int_equal(O_RDONLY, open_flags(vm_pid(vm), fd) & O_ACCMODE);
		/* Ours are O_CLOEXEC, its own are not. */
		assert_int_equal(0, open_flags(vm_pid(vm), fd) & O_CLOEXEC);
		own++;
	}
	assert_int_equal(1, own);
}

static void test_cold_boot_holds_nothing(void **state)
{
	_cleanup_(vm) struct vm *vm = template_vm("cold");
	struct err err = ERR_INIT;

	(void)state;
	check_result(vm_boot(vm, -1, &err), &err);
	assert_descriptors(vm_pid(vm), 0);
	assert_int_equal(0, count_mappings(vm_pid(vm)));
	assert_not_mounted(vm_pid(vm));
	assert_mounts_readonly(vm_pid(vm));
}

/* ---- and it works ---- */

static void copy_file(struct vm *vm, const char *path, const char *text)
{
	Grpc__CopyFileRequest request = GRPC__COPY_FILE_REQUEST__INIT;
	struct err err = ERR_INIT;

	request.path = (char *)(uintptr_t)path;
	request.file_size = (int64_t)strlen(text);
	request.file_mode = S_IFREG | 0640;
	request.dir_mode = 0750;
	request.uid = 1234;
	request.gid = 4321;
	request.data.data = (uint8_t *)(uintptr_t)text;
	request.data.len = strlen(text);
	check_result(agent_copy_file(vm_agent(vm), &request, soon(), &err), &err);
}

static void mount_export(struct vm *vm)
{
	Grpc__CreateSandboxRequest request = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__Storage *storages[] = {vm_export_storage()};
	struct err err = ERR_INIT;

	request.hostname = request.sandbox_id = (char[]){"pod"};
	request.storages = storages;
	request.n_storages = ARRAY_SIZE(storages);
	check_result(agent_create_sandbox(
			     vm_agent(vm), &request, deadline_after_ms(30000), &err),
		&err);
}

static void test_serves_files(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("serves");
	_cleanup_free_ char *rootfs = template_make_dir("rootfs"), *made = NULL,
			    *text = NULL, *dir = NULL;
	_cleanup_close_ int tree = -1;
	struct err err = ERR_INIT;
	char words[800];
	struct stat st;
	size_t len;

	(void)state;
	mount_export(vm);
	tree = open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	check_result(vm_export_attach(vm, tree, "c1/rootfs", &err), &err);
	copy_file(vm, AGENT_SHARED_DIR "/c1/rootfs/dir/made", "by the guest");
	made = xasprintf("%s/dir/made", rootfs);
	check_result(file_read(AT_FDCWD, made, 64, &text, &len, &err), &err);
	assert_string_equal("by the guest", text);
	assert_int_equal(0, stat(made, &st));
	assert_int_equal(0640, st.st_mode & 07777);
	assert_int_equal(1234, st.st_uid);
	assert_int_equal(4321, st.st_gid);
	dir = xasprintf("%s/dir", rootfs);
	assert_int_equal(0, stat(dir, &st));
	assert_int_equal(0750, st.st_mode & 07777);
	/* It grows, and QEMU has nothing to complain about, deprecations neither. */
	check_result(vm_resize(vm, 2, 128 * MiB, &err), &err);
	vm_post_mortem(vm, words, sizeof(words));
	assert_null(strstr(words, "QEMU's standard error"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clone_holds),
		cmocka_unit_test(test_opens_readonly_itself),
		cmocka_unit_test(test_cold_boot_holds_nothing),
		cmocka_unit_test(test_serves_files),
	};

	return cmocka_run_group_tests(tests, template_enter, template_leave);
}
