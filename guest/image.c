/* SPDX-License-Identifier: Apache-2.0 */
/* Images of layers: see image.h. */
#include "guest/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "files/wire.h"
#include "guest/block.h"
#include "guest/init.h"
#include "guest/spec.h"

#define MOUNTINFO_MAX (1u << 20)

/* ---- mounting ---- */

/* The kernel says so in its own log alone, and mounts it without. */
static void check_dax(const char *at)
{
	_cleanup_free_ char *text = NULL, *mark = xasprintf(" %s ", at);
	char *line, *end;
	size_t len;

	if (file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len,
		    NULL) < 0)
		return;
	line = strstr(text, mark);
	end = line ? strchr(line, '\n') : NULL;
	if (end)
		*end = '\0';
	if (line && !strstr(line, "dax=always"))
		log_warn("the image on %s is read through the page cache: the kernel "
			 "can't map it",
			at);
}

static int mount_device(const char *name, const char *at)
{
	bool pmem = strncmp(name, "pmem", 4) == 0;
	char path[BLOCK_NAME_SIZE + 8];

	snprintf(path, sizeof(path), "/dev/%s", name);
	if (mount(path, at, "erofs", MS_RDONLY, pmem ? "dax=always" : NULL) == 0) {
		if (pmem)
			check_dax(at);
		return 0;
	}
	if (!pmem || (errno != EINVAL && errno != EOPNOTSUPP))
		return -errno;
	if (mount(path, at, "erofs", MS_RDONLY, NULL) < 0)
		return -errno;
	log_warn("the image on %s is read through the page cache: the kernel knows no "
		 "dax for it",
		at);
	return 0;
}

int image_mount(const char *address, const char *at, struct err *err)
{
	struct block block;
	int r = block_find(address, &block, err);

	if (r == 0)
		r = mkdir_parents(at, 0755, err);
	if (r < 0)
		return r;
	r = mount_device(block.name, at);
	return r < 0 ? err_sys(err, r, "mount the image at %s (%s) on %s", address,
			       block.name, err_quote(at, 256))
		     : 0;
}

/* ---- overlays ---- */

/* mount(2)'s data has no way to write any path. */
static bool is_folder(const char *path)
{
	return path_is_below(path, GUEST_SHARED_ROOT) && !strpbrk(path, ",:\\");
}

int overlay_parse_options(
	char *const *options, size_t n, char **ret_data, struct err *err)
{
	static const char *const keys[] = {"lowerdir=", "upperdir=", "workdir="};
	const char *value[ARRAY_SIZE(keys)] = {NULL};

	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < ARRAY_SIZE(keys) &&
			strncmp(options[i], keys[k], strlen(keys[k])) != 0)
			k++;
		if (k == ARRAY_SIZE(keys) || value[k] ||
			!is_folder(options[i] + strlen(keys[k])))
			return err_set(err, -EINVAL,
				"overlay option %s: lowerdir=, upperdir= and workdir= "
				"are what is wanted, each a folder below " GUEST_SHARED_ROOT,
				err_quote(options[i], 256));
		value[k] = options[i] + strlen(keys[k]);
	}
	if (!value[0] || !value[1] || !value[2])
		return err_set(
			err, -EINVAL, "an overlay has lowerdir=, upperdir= and workdir=");
	/*
	 * xino=on: all files have the overlay's st_dev, as on the host, where all layers
	 * are of one file system. Else "cp -x" and "tar --one-file-system" would leave
	 * files out. It takes a bit at the top of the inode numbers.
	 */
	*ret_data = xasprintf("lowerdir=%s,upperdir=%s,workdir=%s,index=off,metacopy=off,"
			      "redirect_dir=off,xino=on",
		value[0], value[1], value[2]);
	return 0;
}

/* Overlayfs keeps the mounter's credentials, and does its own work with them: by this gid
 * the file server knows it. (The raw call: of this thread alone.) */
static int mount_as_overlay(const char *at, const char *data)
{
	int r, code;

	syscall(SYS_setfsgid, FILES_OVERLAY_GID);
	r = mount("overlay", at, "overlay", 0, data);
	code = errno;
	syscall(SYS_setfsgid, 0);
	errno = code;
	return r;
}

int overlay_mount(char *const *options, size_t n, const char *at, struct err *err)
{
	_cleanup_free_ char *data = NULL;
	int r = overlay_parse_options(options, n, &data, err);

	if (r == 0)
		r = mkdir_parents(at, 0755, err);
	if (r < 0)
		return r;
	if (mount_as_overlay(at, data) < 0)
		return err_sys(err, errno, "mount an overlay on %s with %s",
			err_quote(at, 256), err_quote(data, 512));
	return 0;
}
