/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's own devices that containers may have: see nodes.h. */
#include "guest/nodes.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/device.h"
#include "base/io.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/modpack.h"
#include "guest/spec.h"

#define SYSFS_CHAR "/sys/dev/char"

/* ---- what the guest has ---- */

struct making {
	int r;
	struct err *err;
};

static void make_node(void *user, const struct modpack_node *node)
{
	_cleanup_free_ char *path = xasprintf("/dev/%s", node->path);
	_cleanup_free_ char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	mode_t type = node->type == 'b' ? S_IFBLK : S_IFCHR;
	struct making *m = user;

	if (m->r == 0)
		m->r = mkdir_parents(folder, 0755, m->err);
	if (m->r == 0 &&
		mknod(path, type | 0600, makedev(node->major, node->minor)) < 0 &&
		errno != EEXIST)
		m->r = err_sys(m->err, errno, "mknod %s", path);
}

int nodes_init(struct err *err)
{
	struct making m = {.err = err};

	modpack_nodes(make_node, &m);
	return m.r;
}

/* ---- which of them are for containers ---- */

static const char *kind_of(const struct stat *st)
{
	return S_ISBLK(st->st_mode) ? "block" : "char";
}

static bool is_of_module(const struct stat *st)
{
	char alias[64];

	snprintf(alias, sizeof(alias), "%s-major-%u-%u", kind_of(st), major(st->st_rdev),
		minor(st->st_rdev));
	return modpack_has_alias(alias);
}

int node_find(const char *path, struct stat *ret, struct err *err)
{
	if (!path_is_below(path, "/dev") || lstat(path, ret) < 0 ||
		!(S_ISCHR(ret->st_mode) || S_ISBLK(ret->st_mode)))
		return err_set(
			err, -ENODEV, "the guest has no device %s", err_quote(path, 128));
	if (!device_is_virtual(S_ISBLK(ret->st_mode), ret->st_rdev) && !is_of_module(ret))
		return err_set(err, -EPERM, "%s of the guest is not for containers",
			err_quote(path, 128));
	return 0;
}

/* ---- all there are ---- */

static bool has_entry(struct json_object *list, const char *path)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *found;

		if (json_get_string(json_object_array_get_idx(list, i), "path", &found,
			    NULL) == 0 &&
			strcmp(found, path) == 0)
			return true;
	}
	return false;
}

static void add_entry(struct json_object *list, const char *path)
{
	struct json_object *entry;
	struct stat st;

	if (has_entry(list, path) || node_find(path, &st, NULL) < 0)
		return;
	entry = json_object_new_object();
	json_set_string(entry, "path", path);
	json_set_string(entry, "type", S_ISBLK(st.st_mode) ? "b" : "c");
	json_set_u64(entry, "major", major(st.st_rdev));
	json_set_u64(entry, "minor", minor(st.st_rdev));
	json_set_u64(entry, "fileMode", st.st_mode & 07777);
	json_set_u64(entry, "uid", 0);
	json_set_u64(entry, "gid", 0);
	json_object_array_add(list, entry);
}

static void add_module_node(void *user, const struct modpack_node *node)
{
	_cleanup_free_ char *path = xasprintf("/dev/%s", node->path);

	add_entry(user, path);
}

/* number: "10:200" */
static void add_driver_node(struct json_object *list, const char *number)
{
	_cleanup_free_ char *path = NULL;
	unsigned int major_, minor_;

	if (sscanf(number, "%u:%u", &major_, &minor_) != 2)
		return;
	path = device_node_path(false, makedev(major_, minor_));
	if (path)
		add_entry(list, path);
}

static int get_list(struct json_object *spec, struct json_object **ret, struct err *err)
{
	struct json_object *of_linux;
	int r = json_get_object(spec, "linux", &of_linux, err);

	if (r == 0)
		r = json_get_array_opt(of_linux, "devices", ret, err);
	if (r == 0 && !*ret) {
		*ret = json_object_new_array();
		json_object_object_add(of_linux, "devices", *ret);
	}
	return r;
}

int nodes_add(struct json_object *spec, struct err *err)
{
	_cleanup_closedir_ DIR *dir = opendir(SYSFS_CHAR);
	struct json_object *list = NULL;
	struct dirent *d;
	int r;

	if (!dir)
		return err_sys(err, errno, "open " SYSFS_CHAR);
	r = get_list(spec, &list, err);
	if (r < 0)
		return r;
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.')
			add_driver_node(list, d->d_name);
	modpack_nodes(add_module_node, list);
	return 0;
}
