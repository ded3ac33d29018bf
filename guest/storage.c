/* SPDX-License-Identifier: Apache-2.0 */
/* Storages: see storage.h. */
#include "guest/storage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/mount_word.h"
#include "base/util.h"
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

static const struct driver {
	const char *name;
	const char *type; /* NULL: the folder is all there is */
	bool has_source;
} drivers[] = {
	{"9p", "9p", true},
	{"ephemeral", "tmpfs", false},
	{"local", NULL, false},
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
	char path[];
};

static pthread_mutex_t points_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mount_point *points;

static struct mount_point **find_point(const char *path)
{
	struct mount_point **at = &points;

	while (*at && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	return at;
}

static void add_point(const char *path)
{
	size_t len = strlen(path);
	struct mount_point *point = xzalloc(sizeof(*point) + len + 1);

	memcpy(point->path, path, len + 1);
	point->users = 1;
	point->next = points;
	points = point;
}

/* 1 if something is mounted there for the caller, 0 if nothing had to be. */
static int mount_one(const Grpc__Storage *s, struct err *err)
{
	const struct driver *driver = find_driver(s->driver);
	int r;

	if (!driver)
		return err_set(err, -EOPNOTSUPP, "storage driver %s is not known, 9p is",
			err_quote(s->driver, 64));
	if (!path_is_below(s->mount_point, GUEST_SHARED_ROOT))
		return err_set(err, -EINVAL,
			"mount point %s is not below " GUEST_SHARED_ROOT,
			err_quote(s->mount_point, 256));
	r = mkdir_parents(s->mount_point, 0755, err);
	if (r < 0 || !driver->type)
		return r;
	if (*find_point(s->mount_point)) {
		(*find_point(s->mount_point))->users++;
		return 1;
	}
	r = mount_fs(s, driver->type, driver->has_source ? s->source : "tmpfs", err);
	if (r < 0)
		return r;
	add_point(s->mount_point);
	return 1;
}

static void unmount_one(const char *path)
{
	struct mount_point **at = find_point(path), *point = *at;

	if (!point || --point->users > 0)
		return;
	if (umount2(path, UMOUNT_NOFOLLOW) < 0 &&
		umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
		log_warn("cannot unmount %s, it stays: %s", path, strerror(errno));
	*at = point->next;
	free(point);
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
		pthread_mutex_lock(&points_lock);
		r = mount_one(storages[i], err);
		pthread_mutex_unlock(&points_lock);
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

		pthread_mutex_lock(&points_lock);
		unmount_one(path);
		pthread_mutex_unlock(&points_lock);
		free(path);
	}
	free(*mounts);
	*mounts = NULL;
}
