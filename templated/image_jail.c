/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts around mkfs.erofs: see image_jail.h. */
#include "templated/image_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

#define READ_ONLY (MS_RDONLY | MS_NOSUID | MS_NODEV)

/* Programs and their libraries; links on a merged /usr, folders elsewhere. */
static const char *const system_paths[] = {
	"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache"};

int image_jail_enter(struct err *err)
{
	/* Unmounting on the host is to reach in here: no disk stays busy for us. */
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(err, errno, "cannot make a mount namespace");
	return 0;
}

static int make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);

	return fd < 0 ? -1 : close(fd);
}

/* source is a file or a folder; the place is made. flags: 0 or READ_ONLY, … */
static int bind_path(const char *source, const char *target, unsigned long flags)
{
	struct stat st;

	if (stat(source, &st) < 0)
		return -1;
	if (S_ISDIR(st.st_mode) ? mkdir_parents(target, 0755, NULL) < 0
				: make_file(target) < 0)
		return -1;
	if (mount(source, target, NULL, MS_BIND, NULL) < 0)
		return -1;
	return mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

/* A path that the host does not have is passed over. */
static int bring_system_path(const char *root, const char *path, struct err *err)
{
	_cleanup_free_ char *target = xasprintf("%s%s", root, path);
	char link[256];
	ssize_t len = readlink(path, link, sizeof(link) - 1);
	int r;

	if (len >= 0) {
		link[len] = '\0';
		r = symlink(link, target);
	} else {
		r = access(path, F_OK) < 0 ? 0 : bind_path(path, target, READ_ONLY);
	}
	return r < 0 ? err_sys(err, errno, "cannot bring %s into the jail", path) : 0;
}

static int bring_system(const struct image_jail *jail, struct err *err)
{
	_cleanup_free_ char *path = xstrdup(jail->program), *target = NULL;
	_cleanup_free_ char *etc = xasprintf("%s/etc", jail->root);
	const char *folder = dirname(path);

	if (mkdir(etc, 0755) < 0)
		return err_sys(err, errno, "cannot make %s", etc);
	for (size_t i = 0; i < ARRAY_SIZE(system_paths); i++) {
		int r = bring_system_path(jail->root, system_paths[i], err);

		if (r < 0)
			return r;
	}
	target = xasprintf("%s%s", jail->root, folder);
	if (access(target, F_OK) < 0 && bind_path(folder, target, READ_ONLY) < 0)
		return err_sys(err, errno, "cannot bring %s into the jail",
			err_quote(folder, 256));
	return 0;
}

static int mount_overlay(const char *target, const int *fds, size_t n, struct err *err)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	FILE *out = open_memstream(&data, &size);

	if (!out)
		abort();
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%d", i ? ":" : "lowerdir=", fds[i]);
	fclose(out);
	/* This thread has a current folder of its own, as it has its mounts. */
	if (chdir("/proc/self/fd") < 0)
		return err_sys(err, errno, "cannot enter /proc/self/fd");
	if (mount("stencil-layers", target, "overlay", READ_ONLY | MS_NOEXEC, data) < 0)
		return err_sys(err, errno, "cannot mount an overlay of %zu layers", n);
	return 0;
}

static int mount_lower(
	const struct image_jail *jail, const int *fds, size_t n, struct err *err)
{
	_cleanup_free_ char *target = xasprintf("%s/lower", jail->root);
	char self[40];

	if (n > 1)
		return mkdir(target, 0755) < 0
			       ? err_sys(err, errno, "cannot make %s", target)
			       : mount_overlay(target, fds, n, err);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fds[0]);
	if (bind_path(self, target, READ_ONLY | MS_NOEXEC) < 0)
		return err_sys(err, errno, "cannot bind the layer");
	return 0;
}

static int mount_root(const struct image_jail *jail, struct err *err)
{
	_cleanup_free_ char *tmp = xasprintf("%s/tmp", jail->root);

	if (mkdir(jail->root, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make %s", err_quote(jail->root, 256));
	if (mount("stencil-image", jail->root, "tmpfs", MS_NOSUID | MS_NODEV,
		    "mode=0755,size=1m,nr_inodes=4096") < 0 ||
		mkdir(tmp, 0755) < 0 ||
		mount("stencil-tmp", tmp, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			"mode=1777,size=16m,nr_inodes=4096") < 0)
		return err_sys(err, errno, "cannot mount the jail");
	return 0;
}

static int bring_image(const struct image_jail *jail, struct err *err)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", jail->store, jail->file);
	_cleanup_free_ char *target = xasprintf("%s/image", jail->root);

	if (bind_path(file, target, MS_NOSUID | MS_NODEV | MS_NOEXEC) < 0)
		return err_sys(err, errno, "cannot bring %s into the jail",
			err_quote(file, 256));
	return 0;
}

int image_jail_make(
	struct image_jail *jail, const int *lower_fds, size_t n, struct err *err)
{
	int r;

	jail->root = xasprintf("%s/" IMAGE_JAIL, jail->store);
	r = mount_root(jail, err);
	if (r == 0)
		r = bring_image(jail, err);
	if (r == 0)
		r = bring_system(jail, err);
	if (r == 0)
		r = mount_lower(jail, lower_fds, n, err);
	if (r == 0 &&
		mount(NULL, jail->root, NULL, MS_REMOUNT | MS_BIND | READ_ONLY, NULL) < 0)
		r = err_sys(err, errno, "cannot make the jail read-only");
	if (r < 0)
		image_jail_leave(jail);
	return r;
}

void image_jail_leave(struct image_jail *jail)
{
	if (jail->root)
		umount2(jail->root, MNT_DETACH);
	free(steal_ptr(jail->root));
}
