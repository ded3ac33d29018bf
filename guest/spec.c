/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's half of fitting a spec to the guest: see spec.h. */
#include "guest/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mount_word.h"
#include "base/util.h"
#include "guest/cgroup.h"
#include "guest/init.h"
#include "guest/mount_place.h"

/* ---- paths ---- */

bool path_is_plain(const char *path)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		size_t len;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

bool path_is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return path_is_plain(path) && strncmp(path, dir, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

/* ---- objects ---- */

static const char *string_at(struct json_object *obj, const char *key)
{
	struct json_object *o = json_at(obj, key);

	return json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";
}

static void drop_member(struct json_object *obj, const char *parent, const char *key)
{
	struct json_object *o = json_at(obj, parent);

	if (json_object_is_type(o, json_type_object))
		json_object_object_del(o, key);
}

static size_t list_length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array)
		       ? json_object_array_length(array)
		       : 0;
}

/* Or missing. */
static bool is_list_of_objects(struct json_object *list)
{
	if (list && !json_object_is_type(list, json_type_array))
		return false;
	for (size_t i = 0; i < list_length(list); i++)
		if (!json_object_is_type(
			    json_object_array_get_idx(list, i), json_type_object))
			return false;
	return true;
}

/* What the guest's kernel has not; crun would refuse it or fail. */
static const struct {
	const char *parent, *key; /* "" is the top */
} unknown_to_guest[] = {
	/* No policies of a security module are loaded. */
	{"process", "apparmorProfile"},
	{"process", "selinuxLabel"},
	{"linux", "mountLabel"},
	/* No huge pages are set aside, and there is no swap. */
	{"linux.resources", "hugepageLimits"},
	{"linux.resources.memory", "swap"},
	/* cgroup version 1 only. */
	{"linux.resources.cpu", "realtimeRuntime"},
	{"linux.resources.cpu", "realtimePeriod"},
	{"linux.resources.memory", "kernel"},
	{"linux.resources.memory", "kernelTCP"},
	{"linux.resources.memory", "swappiness"},
	{"linux.resources.memory", "disableOOMKiller"},
};

static void drop_unknown_to_guest(struct json_object *spec)
{
	for (size_t i = 0; i < ARRAY_SIZE(unknown_to_guest); i++)
		drop_member(spec, unknown_to_guest[i].parent, unknown_to_guest[i].key);
}

void spec_adapt_process(struct json_object *process)
{
	drop_member(process, "", "apparmorProfile");
	drop_member(process, "", "selinuxLabel");
}

/* ---- namespaces ---- */

/* The pod's pid namespace instead of one of the container's own. */
static void join_pid_namespace(struct json_object *spec, const char *path)
{
	struct json_object *list = json_at(spec, "linux.namespaces");
	struct json_object *ns = json_object_new_object(),
			   *kept = json_object_new_array();

	for (size_t i = 0; i < list_length(list); i++) {
		struct json_object *other = json_object_array_get_idx(list, i);

		if (strcmp(string_at(other, "type"), "pid") != 0)
			json_object_array_add(kept, json_object_get(other));
	}
	json_set_string(ns, "type", "pid");
	json_set_string(ns, "path", path);
	json_object_array_add(kept, ns);
	json_object_object_add(json_at(spec, "linux"), "namespaces", kept);
}

/* Without a namespace of its own the container is in the guest's. */
static bool is_shared_with_guest(struct json_object *spec, const char *type)
{
	struct json_object *list = json_at(spec, "linux.namespaces");

	for (size_t i = 0; i < list_length(list); i++)
		if (strcmp(string_at(json_object_array_get_idx(list, i), "type"), type) ==
			0)
			return false;
	return true;
}

/*
 * The container's cgroup is the root of what it sees, as on a host with cgroup version 1,
 * where an engine asks for no such namespace and gets the container's own groups mounted.
 */
static void add_cgroup_namespace(struct json_object *spec)
{
	struct json_object *list = json_at(spec, "linux.namespaces"), *ns;
	struct json_object *of_linux = json_at(spec, "linux");

	if (!json_object_is_type(of_linux, json_type_object) ||
		!is_shared_with_guest(spec, "cgroup"))
		return;
	if (!json_object_is_type(list, json_type_array)) {
		list = json_object_new_array();
		json_object_object_add(of_linux, "namespaces", list);
	}
	ns = json_object_new_object();
	json_set_string(ns, "type", "cgroup");
	json_object_array_add(list, ns);
}

/* ---- sysctls ---- */

/* The file below /proc/sys, the caller's to free(). As sysctl(8): the first separator
 * decides which of the two it is ("net.ipv4.conf.eth0/1.forwarding"). */
static char *sysctl_path(const char *name)
{
	char *path = xstrdup(name);

	if (path[strcspn(path, "./")] == '.')
		for (char *c = path; *c; c++)
			*c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
	return path;
}

/* Of a namespace that the container will share with the guest? */
static bool is_guest_sysctl(struct json_object *spec, const char *path)
{
	static const char *const of_namespace[][2] = {
		{"fs/mqueue/", "ipc"},
		{"kernel/msg", "ipc"},
		{"kernel/sem", "ipc"},
		{"kernel/shm", "ipc"},
		{"kernel/domainname", "uts"},
	};

	if (strncmp(path, "net/", 4) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(of_namespace); i++)
		if (strncmp(path, of_namespace[i][0], strlen(of_namespace[i][0])) == 0)
			return is_shared_with_guest(spec, of_namespace[i][1]);
	return false;
}

static int write_sysctl(const char *path, const char *value, struct err *err)
{
	_cleanup_free_ char *absolute = xasprintf("/proc/sys/%s", path);
	_cleanup_close_ int dir = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	int r;

	/* "net/../kernel/core_pattern" is of no namespace. */
	if (!path_is_plain(absolute))
		return err_set(err, -EINVAL, "%s is not a sysctl", err_quote(path, 128));
	fd = open_beneath(dir, path, O_WRONLY);
	if (fd < 0)
		return err_sys(err, fd, "open sysctl %s", err_quote(path, 128));
	r = write_full(fd, value, strlen(value));
	if (r < 0)
		return err_sys(err, r, "set sysctl %s to %s", err_quote(path, 128),
			err_quote(value, 128));
	return 0;
}

/* Writes one that is the guest's, or puts it among those that stay the container's. */
static int apply_sysctl(struct json_object *spec, const char *name,
	struct json_object *value, struct json_object *kept, struct err *err)
{
	_cleanup_free_ char *path = sysctl_path(name);

	if (!json_object_is_type(value, json_type_string))
		return err_set(err, -EINVAL, "sysctl %s is not set to a text",
			err_quote(name, 128));
	if (is_guest_sysctl(spec, path))
		return write_sysctl(path, json_object_get_string(value), err);
	json_object_object_add(kept, name, json_object_get(value));
	return 0;
}

int spec_apply_sysctls(struct json_object *spec, struct err *err)
{
	struct json_object *sysctl = json_at(spec, "linux.sysctl"), *kept;

	if (!json_object_is_type(sysctl, json_type_object))
		return 0;
	kept = json_object_new_object();
	json_object_object_foreach (sysctl, name, value) {
		int r = apply_sysctl(spec, name, value, kept, err);

		if (r < 0) {
			json_object_put(kept);
			return r;
		}
	}
	json_object_object_add(json_at(spec, "linux"), "sysctl", kept);
	return 0;
}

/* ---- root and mounts ---- */

static bool is_bind(struct json_object *mount)
{
	struct json_object *options = json_at(mount, "options");
	unsigned long flags = 0;

	if (strcmp(string_at(mount, "type"), "bind") == 0)
		return true;
	for (size_t i = 0; i < list_length(options); i++) {
		const char *o =
			json_object_get_string(json_object_array_get_idx(options, i));

		if (o)
			mount_word(o, &flags);
	}
	return flags & MS_BIND;
}

static bool is_source(const char *path)
{
	static const char *const dirs[] = {GUEST_SHARED_ROOT, "/dev", "/proc", "/sys"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (path_is_below(path, dirs[i]))
			return true;
	return false;
}

static int check_mounts(struct json_object *spec, struct err *err)
{
	struct json_object *mounts = json_at(spec, "mounts");

	for (size_t i = 0; i < list_length(mounts); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		const char *source = string_at(m, "source");

		if (is_bind(m) && !is_source(source))
			return err_set(err, -EINVAL,
				"the mount on %s is of %s: a bind mount's source must be "
				"below " GUEST_SHARED_ROOT
				", or /dev, /proc or /sys of the guest",
				err_quote(string_at(m, "destination"), 128),
				err_quote(source, 128));
	}
	return 0;
}

static bool has_mount_on(struct json_object *spec, const char *destination)
{
	struct json_object *mounts = json_at(spec, "mounts");

	for (size_t i = 0; i < list_length(mounts); i++)
		if (strcmp(string_at(json_object_array_get_idx(mounts, i), "destination"),
			    destination) == 0)
			return true;
	return false;
}

/* One that another mount makes is found when that is there: crun goes by their order. */
static bool is_below_other_mount(struct json_object *mounts, size_t which)
{
	const char *place =
		string_at(json_object_array_get_idx(mounts, which), "destination");

	for (size_t i = 0; i < which; i++)
		if (path_is_below(place, string_at(json_object_array_get_idx(mounts, i),
						 "destination")))
			return true;
	return false;
}

int spec_place_mounts(struct json_object *spec, struct err *err)
{
	struct json_object *mounts = json_at(spec, "mounts");
	const char *root = string_at(spec, "root.path");

	for (size_t i = 0; i < list_length(mounts); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		_cleanup_free_ char *place = NULL;
		int r;

		if (is_below_other_mount(mounts, i))
			continue;
		r = mount_place_find(root, string_at(m, "destination"), &place, err);
		if (r < 0)
			return r;
		if (place)
			json_set_string(m, "destination", place);
	}
	return 0;
}

static bool is_empty_file(const char *root, const char *path)
{
	_cleanup_close_ int rootfd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (rootfd < 0)
		return false;
	fd = open_in_root(rootfd, path, O_PATH | O_NOFOLLOW);
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

/* An image that leaves /etc/machine-id empty wants one made (machine-id(5)). */
static void add_machine_id(struct json_object *spec, const char *root, const char *file)
{
	struct json_object *mounts = json_at(spec, "mounts"), *mount, *options;

	if (has_mount_on(spec, "/etc/machine-id") ||
		!is_empty_file(root, "/etc/machine-id"))
		return;
	if (!mounts) {
		mounts = json_object_new_array();
		json_object_object_add(spec, "mounts", mounts);
	}
	options = json_object_new_array();
	json_object_array_add(options, json_object_new_string("bind"));
	json_object_array_add(options, json_object_new_string("ro"));
	mount = json_object_new_object();
	json_set_string(mount, "destination", "/etc/machine-id");
	json_set_string(mount, "type", "bind");
	json_set_string(mount, "source", file);
	json_object_object_add(mount, "options", options);
	json_object_array_add(mounts, mount);
}

/* What is changed below must be what it should be: json-c ends the program over less. */
static int check_shape(struct json_object *spec, struct err *err)
{
	static const char *const objects[] = {"process", "linux"};
	static const char *const lists[] = {"mounts", "linux.namespaces"};

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		if (!json_object_is_type(json_at(spec, objects[i]), json_type_object))
			return err_set(err, -EINVAL, "the spec has no %s", objects[i]);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!is_list_of_objects(json_at(spec, lists[i])))
			return err_set(
				err, -EINVAL, "%s in the spec is not a list", lists[i]);
	return 0;
}

/* What every crun takes. Debian 12's takes no later one, whatever is in the spec; and no
 * crun's behaviour depends on it. */
#define OCI_VERSION "1.0.2"

int spec_adapt(struct json_object *spec, const struct spec_place *place, struct err *err)
{
	const char *root = string_at(spec, "root.path");
	_cleanup_free_ char *cgroup = xasprintf(CGROUP_PARENT "/%s", place->container_id);
	int r = check_shape(spec, err);

	if (r < 0)
		return r;
	if (!path_is_below(root, GUEST_SHARED_ROOT))
		return err_set(err, -EINVAL,
			"the root %s is not below " GUEST_SHARED_ROOT,
			err_quote(root, 128));
	if (!json_object_is_type(json_at(spec, "linux"), json_type_object))
		return err_set(err, -EINVAL, "the spec has no linux section");
	r = check_mounts(spec, err);
	if (r < 0)
		return r;
	add_cgroup_namespace(spec);
	if (place->pidns_path)
		join_pid_namespace(spec, place->pidns_path);
	drop_unknown_to_guest(spec);
	json_set_string(spec, "ociVersion", OCI_VERSION);
	json_set_string(json_at(spec, "linux"), "cgroupsPath", cgroup);
	if (place->machine_id)
		add_machine_id(spec, root, place->machine_id);
	return 0;
}
