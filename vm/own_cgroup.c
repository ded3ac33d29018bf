/* SPDX-License-Identifier: Apache-2.0 */
/* Moving to a cgroup of one's own, and back: see own_cgroup.h. */
#include "vm/own_cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "vm/cgroup.h"
#include "vm/number.h"

/* Where this process was, for each hierarchy: paths of cgroup.procs, or NULL. */
static struct {
	bool moved;
	char *procs[CGROUP_MAX];
	char group[CGROUP_PATH_BYTES]; /* ours, below the roots */
} before;

/* Whether `controllers` ("cpu,cpuacct"; "" on v2) is the hierarchy mounted at root. */
static bool is_hierarchy(const char *controllers, const char *root)
{
	const char *name = root + strlen("/sys/fs/cgroup");
	_cleanup_free_ char *copy = xstrdup(controllers);
	char *rest = copy, *one;

	if (!*name)
		return !*controllers;
	while ((one = strsep(&rest, ",")))
		if (strcmp(one, name + 1) == 0)
			return true;
	return false;
}

/* cgroup.procs of our group below root, to be freed. In a container the path may lead
 * nowhere: then the root's. */
static char *own_procs(const char *root)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/cgroup", "re");
	_cleanup_free_ char *line = NULL, *procs = NULL;
	size_t size = 0;

	while (f && !procs && getline(&line, &size, f) > 0) {
		char *rest = line, *controllers, *path;

		line[strcspn(line, "\n")] = '\0';
		strsep(&rest, ":");
		controllers = strsep(&rest, ":");
		path = rest;
		if (path && is_hierarchy(controllers, root))
			procs = xasprintf("%s%s/cgroup.procs", root, path);
	}
	if (procs && access(procs, W_OK) == 0)
		return steal_ptr(procs);
	return xasprintf("%s/cgroup.procs", root);
}

/* Whether somebody else is in it: one line is ours. */
static bool is_shared(const char *procs)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(AT_FDCWD, procs, MiB, &text, &len, NULL) < 0 ||
	       strchr(text, '\n') != strrchr(text, '\n');
}

static int move_to(int procs_fds[CGROUP_MAX], struct err *err)
{
	int r = 0;

	for (int i = 0; i < CGROUP_MAX; i++) {
		if (procs_fds[i] >= 0 && r == 0 && write(procs_fds[i], "0", 1) < 0)
			r = err_sys(err, errno, "cannot join it");
		close_fd(procs_fds[i]);
	}
	return r;
}

bool own_cgroup_is_shared(void)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	bool shared = false;

	for (unsigned int i = 0; i < n && !shared; i++) {
		_cleanup_free_ char *procs = own_procs(roots[i]);

		shared = is_shared(procs);
	}
	return shared;
}

int own_cgroup_enter(const char *path, struct err *err)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	_cleanup_(unlock) int lock_fd = vm_number_lock(err);
	int fds[CGROUP_MAX], r;

	if (lock_fd < 0)
		return lock_fd;
	for (unsigned int i = 0; i < n; i++)
		before.procs[i] = own_procs(roots[i]);
	before.moved = true;
	str_copy(before.group, path);
	r = cgroup_create(before.group, fds, err);
	return r < 0 ? r : move_to(fds, err);
}

void own_cgroup_leave(void)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	_cleanup_(unlock) int lock_fd = before.moved ? vm_number_lock(NULL) : -1;

	(void)lock_fd; /* clang takes what is only cleaned up for unused */
	for (unsigned int i = 0; i < n && before.moved; i++) {
		_cleanup_free_ char *group = xasprintf("%s/%s", roots[i], before.group);
		struct err err = ERR_INIT;

		if (before.procs[i] &&
			file_write_text(AT_FDCWD, before.procs[i], "0", &err) < 0)
			log_warn("cannot leave the cgroup %s: %s", group, err.text);
		/* Another templated may be in the one, VMs in its parent. */
		rmdir(group);
		*strrchr(group, '/') = '\0';
		rmdir(group);
	}
	for (int i = 0; i < CGROUP_MAX; i++) {
		free(before.procs[i]);
		before.procs[i] = NULL;
	}
	before.moved = false;
}

static bool is_empty(int parent_fd, const char *name)
{
	_cleanup_free_ char *procs = xasprintf("%s/cgroup.procs", name);
	_cleanup_close_ int fd = openat(parent_fd, procs, O_RDONLY | O_CLOEXEC);
	char byte;

	return fd >= 0 && read(fd, &byte, 1) == 0;
}

/* Whether there are any; they are removed if they shall be. */
static bool sweep_in(const char *parent, const char *prefix, bool remove)
{
	_cleanup_closedir_ DIR *all = opendir(parent);
	struct dirent *entry;
	bool any = false;

	while (all && (entry = readdir(all))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
			!is_empty(dirfd(all), entry->d_name))
			continue;
		any = true;
		if (remove)
			unlinkat(dirfd(all), entry->d_name, AT_REMOVEDIR);
	}
	/* Whatever else is there keeps it. */
	if (remove)
		rmdir(parent);
	return any;
}

static bool sweep_all(const char *parent, const char *prefix, bool remove)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	bool any = false;

	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *full = xasprintf("%s/%s", roots[i], parent);

		any |= sweep_in(full, prefix, remove);
	}
	return any;
}

/* Most often there is none, and the lock is held by who moves out of his own: that takes
 * as long as a whole removal else. */
void own_cgroup_sweep(const char *parent, const char *prefix)
{
	_cleanup_(unlock) int lock_fd = -1;

	if (!sweep_all(parent, prefix, false))
		return;
	lock_fd = vm_number_lock(NULL);
	if (lock_fd >= 0)
		sweep_all(parent, prefix, true);
}
