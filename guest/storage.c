/* SPDX-License-Identifier: Apache-2.0 */
/* Storages: see storage.h. */
#include "guest/storage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mount_word.h"
#include "base/util.h"
#include "files/wire.h"
#include "guest/block.h"
#include "guest/files.h"
#include "guest/image.h"
#include "guest/init.h"
#include "guest/message.h"
#include "guest/spec.h"

#define STORAGES_MAX 64
/* mount(2) takes a page. */
#define OPTIONS_MAX 4095

int storage_parse_options(char *const *options, size_t n, unsigned long *ret_flags,
	char **ret_data, struct err *err)
{
	_cleanup_free_ char *data = xzalloc(OPTIONS_MAX + 1);
	unsigned long flags = 0;
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		size_t l = strlen(options[i]);

		if (mount_word(options[i], &flags))
			continue;
		if (len + (len > 0) + l > OPTIONS_MAX)
			return err_set(err, -E2BIG, "mount options of more than %d bytes",
				OPTIONS_MAX);
		if (len > 0)
			data[len++] = ',';
		memcpy(data + len, options[i], l);
		len += l;
	}
	if (flags & (MS_BIND | MS_REMOUNT))
		return err_set(
			err, -EINVAL, "a storage is a mount of its own, no bind mount");
	*ret_flags = flags;
	*ret_data = steal_ptr(data);
	return 0;
}

static int mount_fs(
	const Grpc__Storage *s, const char *type, const char *source, struct err *err)
{
	_cleanup_free_ char *data = NULL;
	unsigned long flags;
	int r = storage_parse_options(s->options, s->n_options, &flags, &data, err);

	if (r < 0)
		return r;
	if (mount(source, s->mount_point, type, flags, data) < 0)
		return err_sys(err, errno, "mount %s (%s) on %s with %s",
			err_quote(source, 128), type, err_quote(s->mount_point, 256),
			err_quote(data, 256));
	return 0;
}

/* "rootmode=40000", and flags: what the file server's mounts have. */
static int parse_root_mode(const char *data, mode_t *ret, struct err *err)
{
	static const mode_t modes[] = {
		S_IFDIR, S_IFREG, S_IFSOCK, S_IFIFO, S_IFCHR, S_IFBLK};
	char word[32];

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		snprintf(word, sizeof(word), "rootmode=%o", modes[i]);
		if (strcmp(data, word) == 0) {
			*ret = modes[i];
			return 0;
		}
	}
	return err_set(err, -EINVAL,
		"%s: rootmode= and a type (40000 for a folder) is what is wanted",
		err_quote(data, 256));
}

static int mount_files(const Grpc__Storage *s, struct err *err)
{
	struct files_mount m = {.number = s->source, .at = s->mount_point};
	_cleanup_free_ char *data = NULL;
	int r = storage_parse_options(s->options, s->n_options, &m.flags, &data, err);

	if (r == 0)
		r = parse_root_mode(data, &m.root_mode, err);
	return r == 0 ? files_mount(&m, err) : r;
}

/* ---- drivers ---- */

static int mount_tmpfs(const Grpc__Storage *s, struct err *err)
{
	int r = mkdir_parents(s->mount_point, 0755, err);

	return r == 0 ? mount_fs(s, "tmpfs", "tmpfs", err) : r;
}

static int mount_image(const Grpc__Storage *s, struct err *err)
{
	return image_mount(s->source, s->mount_point, err);
}

static int mount_overlay(const Grpc__Storage *s, struct err *err)
{
	return overlay_mount(s->options, s->n_options, s->mount_point, err);
}

static int make_folder(const Grpc__Storage *s, struct err *err)
{
	return mkdir_parents(s->mount_point, 0755, err);
}

static const struct driver {
	const char *name;
	int (*mount)(const Grpc__Storage *s, struct err *err);
	bool mounts; /* else a folder is all there is */
	bool shares; /* a mount point that is there already is used, too */
	bool stays;  /* for whoever comes later, until the guest ends */
} drivers[] = {
	{FILES_DRIVER, mount_files, .mounts = true},
	{FILES_IMAGE_DRIVER, mount_image, .mounts = true, .shares = true},
	{FILES_OVERLAY_DRIVER, mount_overlay, .mounts = true},
	{"blk", block_mount, .mounts = true},
	{"ephemeral", mount_tmpfs, .mounts = true, .shares = true},
	{AGENT_SHM_DRIVER, mount_tmpfs, .mounts = true, .shares = true, .stays = true},
	{"local", make_folder, .mounts = false},
};

static const struct driver *find_driver(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i].name, name) == 0)
			return &drivers[i];
	return NULL;
}

/* ---- mount points, each with all who asked for it ---- */

struct mount_point {
	struct mount_point *next;
	unsigned int users;
	bool busy; /* being mounted or unmounted, which may wait for the file server */
	char path[];
};

static pthread_mutex_t points_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t points_changed = PTHREAD_COND_INITIALIZER;
static struct mount_point *points;

static struct mount_point **find_point(const char *path)
{
	struct mount_point **at = &points;

	while (*at && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	return at;
}

static struct mount_point *add_point(const char *path)
{
	size_t len = strlen(path);
	struct mount_point *point = xzalloc(sizeof(*point) + len + 1);

	memcpy(point->path, path, len + 1);
	point->users = 1;
	point->busy = true;
	point->next = points;
	points = point;
	return point;
}

static void remove_point(struct mount_point *point)
{
	*find_point(point->path) = point->next;
	free(point);
}

/* Waits until nobody mounts or unmounts there. */
static struct mount_point *wait_point(const char *path)
{
	struct mount_point *point;

	while ((point = *find_point(path)) && point->busy)
		pthread_cond_wait(&points_changed, &points_lock);
	return point;
}

/* The caller's, with what is mounted there already, or by mounting; points_lock is held,
 * but not meanwhile. */
static int take_point(
	const struct driver *driver, const Grpc__Storage *s, struct err *err)
{
	struct mount_point *point = wait_point(s->mount_point);
	int r;

	if (point && !driver->shares)
		return err_set(err, -EBUSY, "something is mounted on %s already",
			err_quote(s->mount_point, 256));
	if (point) {
		point->users++;
		return 0;
	}
	point = add_point(s->mount_point);
	pthread_mutex_unlock(&points_lock);
	r = driver->mount(s, err);
	pthread_mutex_lock(&points_lock);
	point->busy = false;
	if (r < 0)
		remove_point(point);
	pthread_cond_broadcast(&points_changed);
	return r;
}

/* 1 if something is mounted there for the caller to unmount, 0 if not. */
static int mount_one(const Grpc__Storage *s, struct err *err)
{
	const struct driver *driver = find_driver(s->driver);
	int r;

	if (!driver)
		return err_set(err, -EOPNOTSUPP,
			"storage driver %s is not known, " FILES_DRIVER " is",
			err_quote(s->driver, 64));
	if (!path_is_below(s->mount_point, GUEST_SHARED_ROOT))
		return err_set(err, -EINVAL,
			"mount point %s is not below " GUEST_SHARED_ROOT,
			err_quote(s->mount_point, 256));
	if (!driver->mounts)
		return driver->mount(s, err);
	pthread_mutex_lock(&points_lock);
	r = take_point(driver, s, err);
	pthread_mutex_unlock(&points_lock);
	return r < 0 || driver->stays ? r : 1;
}

static int unmount_path(const char *path)
{
	if (umount2(path, UMOUNT_NOFOLLOW) < 0 &&
		umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
		return -errno;
	return 0;
}

static void unmount_one(const char *path)
{
	struct mount_point *point;
	int r;

	pthread_mutex_lock(&points_lock);
	point = wait_point(path);
	if (point && --point->users == 0) {
		point->busy = true;
		pthread_mutex_unlock(&points_lock);
		r = unmount_path(path);
		if (r < 0)
			log_warn("cannot unmount %s, it stays: %s", path, strerror(-r));
		pthread_mutex_lock(&points_lock);
		remove_point(point);
		pthread_cond_broadcast(&points_changed);
	}
	pthread_mutex_unlock(&points_lock);
}

/* ---- lists of storages ---- */

int storage_mount(Grpc__Storage *const *storages, size_t n, char ***ret_mounts,
	size_t *ret_n, struct err *err)
{
	char **mounts = NULL;
	size_t n_mounts = 0;
	int r = 0;

	if (n > STORAGES_MAX)
		return err_set(
			err, -E2BIG, "%zu storages, at most %d fit", n, STORAGES_MAX);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = mount_one(storages[i], err);
		if (r > 0)
			MESSAGE_APPEND(
				n_mounts, mounts, xstrdup(storages[i]->mount_point));
	}
	if (r < 0) {
		storage_unmount(&mounts, &n_mounts);
		return r;
	}
	*ret_mounts = mounts;
	*ret_n = n_mounts;
	return 0;
}

void storage_unmount(char ***mounts, size_t *n)
{
	while (*n > 0) {
		char *path = (*mounts)[--*n];

		unmount_one(path);
		free(path);
	}
	free(*mounts);
	*mounts = NULL;
}
