/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of linux.devices: see spec_entry.h. */
#include "shim/spec_entry.h"

#include <errno.h>
#include <limits.h>
#include <linux/major.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/device.h"
#include "base/json.h"
#include "base/util.h"

static int read_number(
	struct json_object *entry, const char *key, unsigned int *ret, struct err *err)
{
	uint64_t n;
	int r = json_get_u64_opt(entry, key, 0, &n, err);

	if (r < 0)
		return r;
	if (n > UINT_MAX)
		return err_set(err, -EINVAL, "%s is too large", key);
	*ret = (unsigned int)n;
	return 0;
}

static int read_type(struct json_object *entry, char *ret, struct err *err)
{
	const char *type;
	int r = json_get_string(entry, "type", &type, err);

	if (r < 0)
		return r;
	if (strlen(type) != 1 || !strchr("bcpu", *type))
		return err_set(err, -EINVAL, "type is %s: b, c, u and p are known",
			err_quote(type, 32));
	*ret = *type;
	return 0;
}

int spec_entry_read(struct json_object *entry, struct spec_entry *ret, struct err *err)
{
	unsigned int major_ = 0, minor_ = 0;
	int r;

	if (!json_object_is_type(entry, json_type_object))
		return err_set(err, -EINVAL, "one is no object");
	r = json_get_string(entry, "path", &ret->path, err);
	if (r < 0)
		return r;
	r = read_type(entry, &ret->type, err);
	if (r == 0)
		r = read_number(entry, "major", &major_, err);
	if (r == 0)
		r = read_number(entry, "minor", &minor_, err);
	if (r < 0)
		return err_wrap(err, "%s", err_quote(ret->path, 256));
	ret->dev = makedev(major_, minor_);
	return 0;
}

bool spec_entry_is_disk(const struct spec_entry *entry)
{
	_cleanup_free_ char *backing = NULL;

	if (entry->type != 'b')
		return false;
	if (major(entry->dev) != LOOP_MAJOR)
		return true;
	backing = device_sysfs_path(true, entry->dev, "loop/backing_file");
	return access(backing, F_OK) == 0;
}
