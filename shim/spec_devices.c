/* SPDX-License-Identifier: Apache-2.0 */
/* The block devices that a spec gives to its container: see spec_devices.h. */
#include "shim/spec_devices.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/spec_nodes.h"

struct device_words {
	const char *path, *type;
	int64_t major, minor;
};

static int read_device(struct json_object *o, struct device_words *ret, struct err *err)
{
	int r;

	if (!json_object_is_type(o, json_type_object))
		return err_set(err, -EINVAL, "one is no object");
	r = json_get_string(o, "path", &ret->path, err);
	if (r == 0)
		r = json_get_string_opt(o, "type", "", &ret->type, err);
	if (r == 0)
		r = json_get_i64_opt(o, "major", -1, &ret->major, err);
	if (r == 0)
		r = json_get_i64_opt(o, "minor", -1, &ret->minor, err);
	return r;
}

/* The access that a rule gives to the device, "" for one about something else. */
static const char *rule_access(struct json_object *rule, const struct device_words *d)
{
	const char *type, *access;
	int64_t major, minor;
	bool allow;

	if (!json_object_is_type(rule, json_type_object) ||
		json_get_bool(rule, "allow", &allow, NULL) < 0 || !allow ||
		json_get_string(rule, "type", &type, NULL) < 0 ||
		strcmp(type, "b") != 0 || json_get_i64(rule, "major", &major, NULL) < 0 ||
		major != d->major || json_get_i64(rule, "minor", &minor, NULL) < 0 ||
		minor != d->minor || json_get_string(rule, "access", &access, NULL) < 0)
		return "";
	return access;
}

static void find_access(struct json_object *spec, const struct device_words *d,
	bool *ret_read, bool *ret_write)
{
	struct json_object *rules = json_at(spec, "linux.resources.devices");

	*ret_read = *ret_write = false;
	for (size_t i = 0; json_object_is_type(rules, json_type_array) &&
			   i < json_object_array_length(rules);
		i++) {
		const char *access = rule_access(json_object_array_get_idx(rules, i), d);

		*ret_read |= strchr(access, 'r') != NULL;
		*ret_write |= strchr(access, 'w') != NULL;
	}
}

struct taking {
	struct json_object *spec, *kept;
	struct spec_device *devices;
	unsigned int n, left;
};

static int take_device(struct taking *t, struct json_object *o, struct err *err)
{
	struct device_words d;
	bool reads, writes;
	int r = read_device(o, &d, err);

	if (r < 0)
		return r;
	find_access(t->spec, &d, &reads, &writes);
	if (strcmp(d.type, "b") != 0 ||
		spec_node_is_free_loop((unsigned int)d.major, (unsigned int)d.minor)) {
		json_object_array_add(t->kept, json_object_get(o));
		return 0;
	}
	if (!reads && !writes) {
		t->left++;
		return 0;
	}
	if (d.major < 0 || d.major > UINT32_MAX || d.minor < 0 || d.minor > UINT32_MAX)
		return err_set(err, -EINVAL, "%s has numbers that no device has",
			err_quote(d.path, 256));
	if (t->n == SPEC_DEVICES_MAX)
		return err_set(err, -E2BIG, "there are more than %d block devices",
			SPEC_DEVICES_MAX);
	t->devices[t->n++] = (struct spec_device){.path = xstrdup(d.path),
		.dev = makedev((unsigned int)d.major, (unsigned int)d.minor),
		.readonly = !writes};
	json_object_array_add(t->kept, json_object_get(o));
	return 0;
}

static int take_devices(struct taking *t, struct json_object *list, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
		r = take_device(t, json_object_array_get_idx(list, i), err);
	return r;
}

int spec_take_devices(struct json_object *spec, const char *cid, struct spec_device **ret,
	unsigned int *ret_n, struct err *err)
{
	struct json_object *linux_ = json_at(spec, "linux"), *list = NULL;
	struct taking t = {.spec = spec};
	int r;

	*ret = NULL;
	*ret_n = 0;
	r = linux_ ? json_get_array_opt(linux_, "devices", &list, err) : 0;
	if (r < 0 || !list)
		return r < 0 ? err_wrap(err, "linux") : 0;
	t.kept = json_object_new_array();
	t.devices = xreallocarray(NULL, SPEC_DEVICES_MAX, sizeof(*t.devices));
	r = take_devices(&t, list, err);
	if (r < 0) {
		json_put(t.kept);
		spec_devices_free(t.devices, t.n);
		return err_wrap(err, "linux.devices");
	}
	if (t.left > 0)
		log_info("container %s: %u of linux.devices are left out: block devices "
			 "are passed to the guest where a rule names their numbers",
			cid, t.left);
	json_object_object_add(linux_, "devices", t.kept);
	*ret = t.devices;
	*ret_n = t.n;
	return 0;
}

void spec_devices_free(struct spec_device *devices, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		free(devices[i].path);
	free(devices);
}
