/* SPDX-License-Identifier: Apache-2.0 */
/* The host's own namespaces: see namespaces.h. */
#include "shim/namespaces.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/util.h"

/* A type's name in a spec and its file in /proc/<pid>/ns. */
static const struct {
	const char *type, *file, *remedy;
} types[] = {
	{"network", "net",
		"give the container a namespace of its own (without a path it gets lo "
		"only)"},
	{"pid", "pid", "leave the path out"},
	{"ipc", "ipc", "leave the path out"},
	{"uts", "uts", "leave the path out"},
	{"mount", "mnt", "leave the path out"},
	{"user", "user", "leave the path out"},
	{"cgroup", "cgroup", "leave the path out"},
	{"time", "time", "leave the path out"},
};

static size_t find_type(const char *type)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(types) && strcmp(types[i].type, type) != 0)
		i++;
	return i;
}

static bool is_same(const char *process, const char *file, const struct stat *st)
{
	char path[64];
	struct stat other;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, file);
	return stat(path, &other) == 0 && other.st_dev == st->st_dev &&
	       other.st_ino == st->st_ino;
}

bool namespace_is_hosts(const char *type, const struct stat *st)
{
	size_t i = find_type(type);

	return i < ARRAY_SIZE(types) &&
	       (is_same("1", types[i].file, st) || is_same("self", types[i].file, st));
}

int namespace_refuse(const char *type, const char *path, struct err *err)
{
	size_t i = find_type(type);

	return err_set(err, -EPERM,
		"%s is the host's %s namespace, and a VM can't use that; %s",
		err_quote(path, 256), type,
		i < ARRAY_SIZE(types) ? types[i].remedy : "leave the path out");
}

static bool is_own(const char *path, const pid_t *own, unsigned int n_own)
{
	for (unsigned int i = 0; i < n_own; i++) {
		char folder[40];

		snprintf(folder, sizeof(folder), "/proc/%d/ns/", (int)own[i]);
		if (strncmp(path, folder, strlen(folder)) == 0 &&
			!strchr(path + strlen(folder), '/'))
			return true;
	}
	return false;
}

static int check_one(
	struct json_object *entry, const pid_t *own, unsigned int n_own, struct err *err)
{
	const char *type, *path;
	struct stat st;
	int r = json_get_string(entry, "type", &type, err);

	if (r == 0)
		r = json_get_string_opt(entry, "path", "", &path, err);
	if (r < 0 || !*path || is_own(path, own, n_own))
		return r;
	/* One that is not there is nobody's; whoever needs it says so. */
	if (stat(path, &st) < 0 || !namespace_is_hosts(type, &st))
		return 0;
	return namespace_refuse(type, path, err);
}

int namespaces_check(
	struct json_object *spec, const pid_t *own, unsigned int n_own, struct err *err)
{
	struct json_object *list = json_at(spec, "linux.namespaces");
	int r = 0;

	if (!json_object_is_type(list, json_type_array))
		return 0;
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
		r = check_one(json_object_array_get_idx(list, i), own, n_own, err);
	return r < 0 ? err_wrap(err, "linux.namespaces") : 0;
}
