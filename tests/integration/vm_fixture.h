/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A template of the real guest for a test program, and clones of it.
 *
 *   cmocka_run_group_tests(tests, make, fixture_remove), where make() calls fixture_make()
 *
 * Everything lies below a folder in /tmp that fixture_remove() removes.
 */
#pragma once

#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "vm/vm.h"

DEFINE_CLEANUP(vm, struct vm *, vm_free);

static struct {
	struct config config;
	char dir[64];
	int memory_fd, state_fd; /* read-only */
	struct manifest manifest;
} fixture;

static inline void fixture_set(
	struct config *c, const char *section, const char *key, const char *value)
{
	struct err err = ERR_INIT;

	if (config_set(c, section, key, value, "test", &err) < 0)
		fail_msg("%s", err.text);
}

static inline void fixture_set_guest(struct config *c, const char *key, const char *name)
{
	const char *guest = getenv("STENCIL_GUEST");
	_cleanup_free_ char *path =
		xasprintf("%s/%s", guest ? guest : "build/guest", name);
	_cleanup_free_ char *full = realpath(path, NULL);

	if (!full)
		fail_msg("%s is missing: run `make guest`", path);
	fixture_set(c, "hypervisor", key, full);
}

/* A folder below the fixture's, made if it is missing; the caller's to free(). */
static inline char *fixture_folder(const char *name)
{
	char *dir = xasprintf("%s/%s", fixture.dir, name);

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", dir, strerror(errno));
	return dir;
}

static inline int fixture_open(const char *name, int flags)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", fixture.dir, name);
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		fail_msg("open %s: %s", path, strerror(errno));
	return fd;
}

static inline void fixture_collect(void)
{
	struct vm_inputs *inputs = vm_inputs_new();
	struct err err = ERR_INIT;

	if (vm_inputs_collect(inputs, &fixture.config, &fixture.manifest, &err) < 0)
		fail_msg("%s", err.text);
	vm_inputs_free(inputs);
}

/* Boots and saves it. before_save (may be NULL) gets the running guest. */
static inline void fixture_make(void (*before_save)(struct vm *vm))
{
	struct vm_options options = {.config = &fixture.config, .id = "template"};
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int memory_fd = -1, state_fd = -1;
	struct err err = ERR_INIT;
	struct vm *vm = NULL;

	config_init(&fixture.config);
	snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/stencil-vm-XXXXXX");
	assert_non_null(mkdtemp(fixture.dir));
	fixture_set_guest(&fixture.config, "kernel", "vmlinuz");
	fixture_set_guest(&fixture.config, "initrd", "initrd.img");
	fixture_set(&fixture.config, "runtime", "state_dir", fixture.dir);
	fixture_set(&fixture.config, "hypervisor", "default_maxvcpus", "2");
	fixture_collect();
	options.dir = dir = fixture_folder("template");
	memory_fd = fixture_open("memory", O_RDWR | O_CREAT);
	state_fd = fixture_open("state", O_RDWR | O_CREAT);
	assert_int_equal(
		0, ftruncate(memory_fd, (off_t)(fixture.config.default_memory * MiB)));
	if (vm_boot(&options, memory_fd, &vm, &err) < 0)
		fail_msg("%s", err.text);
	if (before_save)
		before_save(vm);
	if (vm_save(vm, state_fd, &err) < 0)
		fail_msg("%s", err.text);
	vm_free(vm);
	fixture.memory_fd = fixture_open("memory", O_RDONLY);
	fixture.state_fd = fixture_open("state", O_RDONLY);
}

/* VMs of tests that failed, and so did not end them, end here. */
static inline int fixture_remove(void **state)
{
	_cleanup_closedir_ DIR *dir = opendir(fixture.dir);
	struct err err = ERR_INIT;
	struct dirent *entry;

	(void)state;
	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path =
			xasprintf("%s/%s", fixture.dir, entry->d_name);

		if (entry->d_name[0] != '.' &&
			vm_cleanup(&fixture.config, path, &err) < 0)
			print_error("%s\n", err.text);
	}
	close(fixture.memory_fd);
	close(fixture.state_fd);
	manifest_done(&fixture.manifest);
	config_done(&fixture.config);
	if (remove_tree(AT_FDCWD, fixture.dir, &err) < 0)
		fail_msg("%s", err.text);
	return 0;
}

/* Not unique yet. */
static inline struct vm *fixture_clone(const char *name)
{
	_cleanup_free_ char *dir = fixture_folder(name);
	struct vm_options options = {.config = &fixture.config, .id = name, .dir = dir};
	struct err err = ERR_INIT;
	struct vm *vm = NULL;

	assert_true(lseek(fixture.state_fd, 0, SEEK_SET) == 0);
	if (vm_clone(&options, fixture.memory_fd, fixture.state_fd, &fixture.manifest,
		    &vm, &err) < 0)
		fail_msg("%s", err.text);
	return vm;
}
