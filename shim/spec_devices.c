/* SPDX-License-Identifier: Apache-2.0 */
/* The block devices that a spec gives to its container: see spec_devices.h. */
#include "shim/spec_devices.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/spec_entry.h"

/* The access that a rule gives to the device, "" for one about something else. */
static const char *rule_access(struct json_object *rule, dev_t dev)
{
	const char *type, *access;
	int64_t major_, minor_;
	bool allow;

	if (!json_object_is_type(rule, json_type_object) ||
		json_get_bool(rule, "allow", &allow, NULL) < 0 || !allow ||
		json_get_string(rule, "type", &type, NULL) < 0 ||
		strcmp(type, "b") != 0 ||
		json_get_i64(rule, "major", &major_, NULL) < 0 || major_ != major(dev) ||
		json_get_i64(rule, "minor", &minor_, NULL) < 0 || minor_ != minor(dev) ||
		json_get_string(rule, "access", &access, NULL) < 0)
		return "";
	return access;
}

static void find_access(
	struct json_object *spec, dev_t dev, bool *ret_read, bool *ret_write)
{
	struct json_object *rules = json_at(spec, "linux.resources.devices");

	*ret_read = *ret_write = false;
	for (size_t i = 0; json_object_is_type(rules, json_type_array) &&
			   i < json_object_array_length(rules);
		i++) {
		const char *access =
			rule_access(json_object_array_get_idx(rules, i), dev);

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
	struct spec_entry entry;
	bool reads, writes;
	int r = spec_entry_read(o, &entry, err);

	if (r < 0)
		return r;
	if (!spec_entry_is_disk(&entry)) {
		json_object_array_add(t->kept, json_object_get(o));
		return 0;
	}
	find_access(t->spec, entry.dev, &reads, &writes);
	if (!reads && !writes) {
		t->left++;
		return 0;
	}
	if (t->n == SPEC_DEVICES_MAX)
		return err_set(err, -E2BIG, "there are more than %d block devices",
			SPEC_DEVICES_MAX);
	t->devices[t->n++] = (struct spec_device){
		.path = xstrdup(entry.path), .dev = entry.dev, .readonly = !writes};
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
