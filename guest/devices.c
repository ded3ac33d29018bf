/* SPDX-License-Identifier: Apache-2.0 */
/* A container's devices: see devices.h. */
#include "guest/devices.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent-client/agent.h"
#include "base/json.h"
#include "base/util.h"
#include "guest/block.h"
#include "guest/nodes.h"

/* One device's numbers, on the host and here. */
struct renumbering {
	struct json_object *device; /* of the spec */
	int64_t major, minor;
	struct device_found found;
};

static bool is_path(struct json_object *device, const char *path)
{
	const char *other;

	return json_object_is_type(device, json_type_object) &&
	       json_get_string(device, "path", &other, NULL) == 0 &&
	       strcmp(other, path) == 0;
}

static int find_in_spec(struct json_object *spec, const Grpc__Device *device,
	struct renumbering *ret, struct err *err)
{
	struct json_object *list = NULL;
	int r = json_get_array_opt(json_at(spec, "linux"), "devices", &list, err);

	for (size_t i = 0; r == 0 && list && i < json_object_array_length(list); i++) {
		ret->device = json_object_array_get_idx(list, i);
		if (!is_path(ret->device, device->container_path))
			continue;
		r = json_get_i64(ret->device, "major", &ret->major, err);
		return r == 0 ? json_get_i64(ret->device, "minor", &ret->minor, err) : r;
	}
	return r < 0 ? r
		     : err_set(err, -EINVAL, "the spec has no device %s",
			       err_quote(device->container_path, 256));
}

static void set_numbers(struct json_object *o, dev_t dev)
{
	json_set_i64(o, "major", major(dev));
	json_set_i64(o, "minor", minor(dev));
}

static bool is_rule_for(struct json_object *rule, const struct renumbering *r)
{
	const char *type;
	int64_t n;

	return json_object_is_type(rule, json_type_object) &&
	       json_get_string(rule, "type", &type, NULL) == 0 &&
	       strcmp(type, r->found.is_block ? "b" : "c") == 0 &&
	       json_get_i64(rule, "major", &n, NULL) == 0 && n == r->major &&
	       json_get_i64(rule, "minor", &n, NULL) == 0 && n == r->minor;
}

static void renumber_rule(
	struct json_object *rule, const struct renumbering *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (is_rule_for(rule, &all[i])) {
			set_numbers(rule, all[i].found.dev);
			return;
		}
	}
}

static void renumber_all(
	struct json_object *spec, const struct renumbering *all, size_t n)
{
	struct json_object *rules = json_at(spec, "linux.resources.devices");

	for (size_t i = 0; json_object_is_type(rules, json_type_array) &&
			   i < json_object_array_length(rules);
		i++)
		renumber_rule(json_object_array_get_idx(rules, i), all, n);
	for (size_t i = 0; i < n; i++)
		set_numbers(all[i].device, all[i].found.dev);
}

/* All are looked up before the first is changed: what one device has there may be
 * another's number here. */
int devices_renumber(Grpc__Device *const *devices, const struct device_found *found,
	size_t n, struct json_object *spec, struct err *err)
{
	struct renumbering all[DEVICES_MAX];

	for (size_t i = 0; i < n; i++) {
		int r = find_in_spec(spec, devices[i], &all[i], err);

		if (r < 0)
			return r;
		all[i].found = found[i];
	}
	renumber_all(spec, all, n);
	return 0;
}

/* ---- finding them ---- */

static int find_disk(
	const Grpc__Device *device, struct device_found *ret, struct err *err)
{
	struct block block;
	int r = block_find(device->id, &block, err);

	if (r == 0)
		*ret = (struct device_found){true, block.dev};
	return r;
}

static int find_own(const Grpc__Device *device, struct device_found *ret, struct err *err)
{
	struct stat st;
	int r = node_find(device->vm_path, &st, err);

	if (r == 0)
		*ret = (struct device_found){S_ISBLK(st.st_mode), st.st_rdev};
	return r;
}

static int find_one(const Grpc__Device *device, struct device_found *ret, struct err *err)
{
	static const struct {
		const char *type;
		int (*find)(const Grpc__Device *device, struct device_found *ret,
			struct err *err);
	} types[] = {{"blk", find_disk}, {AGENT_NODE_DEVICE, find_own}};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(device->type, types[i].type) == 0)
			return types[i].find(device, ret, err);
	return err_set(err, -EOPNOTSUPP,
		"device type %s is not known, blk and " AGENT_NODE_DEVICE " are",
		err_quote(device->type, 64));
}

static bool is_all(const Grpc__Device *device)
{
	return strcmp(device->type, AGENT_NODE_DEVICE) == 0 &&
	       strcmp(device->vm_path, "/dev") == 0;
}

int devices_find(
	Grpc__Device *const *devices, size_t n, struct json_object *spec, struct err *err)
{
	struct device_found found[DEVICES_MAX] = {{0}};
	/* Behind the others, whose paths it leaves to them. */
	bool all = n > 0 && is_all(devices[n - 1]);
	int r;

	n -= all;
	if (n > DEVICES_MAX)
		return err_set(
			err, -E2BIG, "%zu devices, at most %d fit", n, DEVICES_MAX);
	for (size_t i = 0; i < n; i++) {
		r = find_one(devices[i], &found[i], err);
		if (r < 0)
			return r;
	}
	r = devices_renumber(devices, found, n, spec, err);
	return r == 0 && all ? nodes_add(spec, err) : r;
}
