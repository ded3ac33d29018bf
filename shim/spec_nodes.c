/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of a spec that the guest has, too: see spec_nodes.h. */
#include "shim/spec_nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent-client/agent.h"
#include "base/device.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/spec_entry.h"

/* ---- what a device of the host is ---- */

/* Of one whose module is not loaded the kernel knows nothing: its node has its name, if
 * the container has it at the same place. */
static char *name_of_node(const struct spec_entry *d)
{
	struct stat st;

	if (strncmp(d->path, "/dev/", 5) != 0 || lstat(d->path, &st) < 0 ||
		!(d->type == 'b' ? S_ISBLK(st.st_mode) : S_ISCHR(st.st_mode)) ||
		st.st_rdev != d->dev)
		return NULL;
	return xstrdup(d->path);
}

static int find_name(const struct spec_entry *d, char **ret, struct err *err)
{
	bool is_block = d->type == 'b', has_driver = device_has_driver(is_block, d->dev);

	*ret = has_driver ? device_node_path(is_block, d->dev) : name_of_node(d);
	if (*ret && (is_block || !has_driver || device_is_virtual(is_block, d->dev)))
		return 0;
	err_set(err, -EPERM,
		"%s is a device of the host (%u:%u%s%s), and a VM can't have that",
		err_quote(d->path, 256), major(d->dev), minor(d->dev), *ret ? ", " : "",
		*ret ? err_quote(*ret, 128) : "");
	free(steal_ptr(*ret));
	return err->code;
}

/* ---- linux.devices ---- */

static void add_device(
	struct spec_nodes *list, const char *vm_path, const char *container_path)
{
	Grpc__Device *d = xnew0(Grpc__Device);

	grpc__device__init(d);
	d->type = xstrdup(AGENT_NODE_DEVICE);
	d->vm_path = xstrdup(vm_path);
	d->container_path = xstrdup(container_path);
	list->all = xreallocarray(list->all, list->n + 1, sizeof(*list->all));
	list->all[list->n++] = d;
}

static int fit_device(struct json_object *o, struct spec_nodes *list, struct err *err)
{
	_cleanup_free_ char *name = NULL;
	struct spec_entry entry;
	int r = spec_entry_read(o, &entry, err);

	/* A FIFO is no device, and disks are plugged. */
	if (r < 0 || entry.type == 'p' || spec_entry_is_disk(&entry))
		return r;
	r = find_name(&entry, &name, err);
	if (r < 0)
		return r;
	add_device(list, name, entry.path);
	return 0;
}

/* ---- the rules of the cgroup ---- */

static int64_t number_of(struct json_object *rule, const char *key)
{
	int64_t n = -1;

	json_get_i64_opt(rule, key, -1, &n, NULL);
	return n;
}

static bool allows_all(struct json_object *rule)
{
	const char *type = "", *access = "";
	bool allow = false;

	json_get_bool_opt(rule, "allow", false, &allow, NULL);
	json_get_string_opt(rule, "type", "a", &type, NULL);
	json_get_string_opt(rule, "access", "", &access, NULL);
	return allow && (*type == '\0' || strcmp(type, "a") == 0) &&
	       number_of(rule, "major") < 0 && number_of(rule, "minor") < 0 &&
	       strchr(access, 'r') && strchr(access, 'w');
}

/* Documentation/admin-guide/devices.txt: what the kernel gives to whoever asks first. In
 * the guest that is something else. */
static bool is_dynamic(int64_t major)
{
	return (major >= 234 && major <= 254) || (major >= 384 && major <= 511);
}

static bool is_of_device(struct json_object *rule, struct json_object *devices)
{
	for (size_t i = 0; devices && i < json_object_array_length(devices); i++) {
		struct json_object *d = json_object_array_get_idx(devices, i);

		if (number_of(d, "major") == number_of(rule, "major") &&
			number_of(d, "minor") == number_of(rule, "minor"))
			return true;
	}
	return false;
}

/* Numbers that stand for no device of the container's are kept where they mean the same
 * in every kernel. */
static void drop_dynamic(struct json_object *resources, struct json_object *rules,
	struct json_object *devices)
{
	struct json_object *kept = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		int64_t major = number_of(rule, "major");

		if (is_dynamic(major) && !is_of_device(rule, devices))
			log_info("a rule for devices %" PRId64
				 ":* is left out: they are others in the guest",
				major);
		else
			json_object_array_add(kept, json_object_get(rule));
	}
	json_object_object_add(resources, "devices", kept);
}

static bool has_allow_all(struct json_object *rules)
{
	for (size_t i = 0; rules && i < json_object_array_length(rules); i++)
		if (allows_all(json_object_array_get_idx(rules, i)))
			return true;
	return false;
}

/* Those that are plugged, and all that the guest has. */
static int take_all(struct json_object *linux_, struct json_object *devices,
	struct spec_nodes *ret, struct err *err)
{
	struct json_object *kept;
	struct spec_entry entry;
	int r = 0;

	if (!devices || json_object_array_length(devices) == 0)
		return 0;
	kept = json_object_new_array();
	for (size_t i = 0; r == 0 && i < json_object_array_length(devices); i++) {
		struct json_object *o = json_object_array_get_idx(devices, i);

		r = spec_entry_read(o, &entry, err);
		if (r == 0 && spec_entry_is_disk(&entry))
			json_object_array_add(kept, json_object_get(o));
	}
	json_object_object_add(linux_, "devices", kept);
	add_device(ret, "/dev", "/dev");
	return r;
}

int spec_take_nodes(struct json_object *spec, struct spec_nodes *ret, struct err *err)
{
	struct json_object *linux_, *resources = NULL, *devices = NULL, *rules = NULL;
	size_t n;
	int r = json_get_object_opt(spec, "linux", &linux_, err);

	*ret = (struct spec_nodes){0};
	if (r == 0 && linux_)
		r = json_get_array_opt(linux_, "devices", &devices, err);
	if (r == 0 && linux_)
		r = json_get_object_opt(linux_, "resources", &resources, err);
	if (r == 0 && resources)
		r = json_get_array_opt(resources, "devices", &rules, err);
	if (r < 0)
		return err_wrap(err, "linux");
	if (has_allow_all(rules)) {
		r = take_all(linux_, devices, ret, err);
		return r < 0 ? err_wrap(err, "linux.devices") : 0;
	}
	if (rules)
		drop_dynamic(resources, rules, devices);
	n = devices ? json_object_array_length(devices) : 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = fit_device(json_object_array_get_idx(devices, i), ret, err);
	return r < 0 ? err_wrap(err, "linux.devices") : 0;
}

void spec_nodes_done(struct spec_nodes *list)
{
	for (size_t i = 0; i < list->n; i++)
		grpc__device__free_unpacked(list->all[i], NULL);
	free(list->all);
	*list = (struct spec_nodes){0};
}
