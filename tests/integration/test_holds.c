/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a real QEMU holds of the host: a clone's descriptors, mappings and mounts, a
 * template's after it was saved, a cold-booted one's; and that a clone with no more than
 * that works.
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
#include "files/wire.h"
#include "hotplug/plug.h"
#include "tests/lib/template.h"
#include "tests/lib/test.h"
#include "vm/argv.h"
#include "vm/vm.h"

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
	KIND_WINDOW,
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
	[KIND_WINDOW] = "/memfd:stencil-window ",
	[KIND_MEMORY] = NULL, /* by device and inode: the name is one of another mount */
};

static int open_flags(int pid, int fd)
{
	_cleanup_free_ char *name = xasprintf("fdinfo/%d", fd);
	_cleanup_free_ char *text = read_proc(pid, name);
	const char *flags = strstr(text, "flags:");

	assert_non_null(flags);
	return (int)strtol(flags + 6, NULL, 8);
}

static enum kind kind_of(int pid, int fd, const struct stat *memory)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", pid, fd);
	char target[512];
	struct stat st;
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	assert_true(n > 0);
	target[n] = '\0';
	if (stat(path, &st) == 0 && st.st_dev == memory->st_dev) {
		/* Of the template's tmpfs it has nothing but this, and that to read. */
		assert_int_equal(memory->st_ino, st.st_ino);
		assert_int_equal(O_RDONLY, open_flags(pid, fd) & O_ACCMODE);
		return KIND_MEMORY;
	}
	for (int i = 0; i < KIND_MEMORY; i++)
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
	assert_int_equal(3, counts[KIND_SOCKET]); /* QMP, agent, files */
	assert_int_equal(1, counts[KIND_WINDOW]);
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

/* It has the window's memory as the guest's, and in one piece. */
static void assert_window_mapped(int pid)
{
	_cleanup_free_ char *maps = read_proc(pid, "maps");
	char *line = strstr(maps, "/memfd:stencil-window "), access[5];
	unsigned long from, to;

	assert_non_null(line);
	while (line > maps && line[-1] != '\n')
		line--;
	assert_int_equal(3, sscanf(line, "%lx-%lx %4s", &from, &to, access));
	assert_int_equal(FILES_WINDOW_BYTES, to - from);
	assert_string_equal("rw-s", access);
}

static void assert_not_mounted(int pid)
{
	_cleanup_free_ char *mounts = read_proc(pid, "mountinfo"),
			    *device = device_text("%u");

	if (strstr(mounts, device))
		fail_msg("QEMU sees the template's tmpfs:\n%s", mounts);
}

/* All it sees is read-only, and of /proc there are the names of its own descriptors. */
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
		if (strstr(point, "/proc"))
			assert_string_equal(point, "/proc/self/fd");
		if (strncmp(options, "ro,", 3) != 0)
			fail_msg("QEMU may write to %s: %s", point, options);
	}
}

static void test_clone_holds(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("holds");
	_cleanup_free_ char *memory = template_file(GENERATION_FILE_MEMORY);
	int pid = vm_pid(vm);

	(void)state;
	assert_descriptors(pid, 1);
	assert_true(count_mappings(pid) > 0);
	assert_window_mapped(pid);
	assert_not_mounted(pid);
	assert_mounts_readonly(pid);
	assert_false(template_has_writer(memory));
}

static void test_cold_boot_holds_nothing(void **state)
{
	_cleanup_(vm) struct vm *vm = template_vm("cold");
	struct err err = ERR_INIT;

	(void)state;
	check_result(vm_boot(vm, -1, &err), &err);
	assert_descriptors(vm_pid(vm), 0);
	assert_int_equal(0, count_mappings(vm_pid(vm)));
	assert_window_mapped(vm_pid(vm));
	assert_not_mounted(vm_pid(vm));
	assert_mounts_readonly(vm_pid(vm));
}

/* ---- and it works ---- */

/* It grows, and QEMU has nothing to complain about, deprecations neither. */
static void test_works(void **state)
{
	_cleanup_(vm) struct vm *vm = template_clone("works");
	struct err err = ERR_INIT;
	char words[800];

	(void)state;
	check_result(vm_make_unique(vm, "pod", &err), &err);
	check_result(vm_resize(vm, 2, 128 * MiB, &err), &err);
	vm_post_mortem(vm, words, sizeof(words));
	assert_null(strstr(words, "QEMU's standard error"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clone_holds),
		cmocka_unit_test(test_cold_boot_holds_nothing),
		cmocka_unit_test(test_works),
	};

	return cmocka_run_group_tests(tests, template_enter, template_leave);
}
