/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that QEMU opens by the name of their set. See plug_internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

static void set_path(struct plug_fdset *set)
{
	snprintf(set->path, sizeof(set->path), "/dev/fdset/%" PRIu64, set->id);
}

/* The same file opened with another access mode, by way of procfs. */
static int reopen(int fd, int access, int *ret_fd, struct err *err)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret_fd = open(path, access | O_CLOEXEC | O_NOCTTY);
	if (*ret_fd < 0)
		return err_sys(err, errno, "cannot open descriptor %d again", fd);
	return 0;
}

int plug_fdset_add(struct qmp *q, const char *name, int fd, int access,
	struct plug_fdset *ret, int64_t deadline, struct err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	_cleanup_close_ int reopened = -1;
	struct json_object *args;
	struct plug_fdset set;
	int flags, r;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return err_sys(err, errno, "cannot hand over descriptor %d", fd);
	if ((flags & O_ACCMODE) != access) {
		r = reopen(fd, access, &reopened, err);
		if (r < 0)
			return r;
		fd = reopened;
	}
	args = json_object_new_object();
	json_set_string(args, "opaque", name);
	r = qmp_command(q, "add-fd", args, fd, deadline, &answer, err);
	if (r < 0)
		return r;
	r = json_get_u64(answer, "fdset-id", &set.id, err);
	if (r < 0) {
		err_wrap(err, "QMP add-fd");
		return r;
	}
	set_path(&set);
	*ret = set;
	return 0;
}

int plug_fdset_remove(
	struct qmp *q, const struct plug_fdset *set, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_u64(args, "fdset-id", set->id);
	return qmp_command(q, "remove-fd", args, -1, deadline, NULL, err);
}

static bool has_label(struct json_object *set, const char *name)
{
	struct json_object *fds, *fd;
	const char *opaque;

	if (json_get_array(set, "fds", &fds, NULL) < 0)
		return false;
	for (size_t i = 0; i < json_object_array_length(fds); i++) {
		fd = json_object_array_get_idx(fds, i);
		if (json_get_string(fd, "opaque", &opaque, NULL) == 0 &&
			strcmp(opaque, name) == 0)
			return true;
	}
	return false;
}

int plug_fdset_find(struct qmp *q, const char *name, struct plug_fdset *ret,
	int64_t deadline, struct err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct plug_fdset set;
	int r;

	r = qmp_command(q, "query-fdsets", NULL, -1, deadline, &answer, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(answer, json_type_array))
		return err_set(
			err, -EBADMSG, "QMP query-fdsets: the answer is not an array");
	for (size_t i = 0; i < json_object_array_length(answer); i++) {
		struct json_object *one = json_object_array_get_idx(answer, i);

		if (has_label(one, name) &&
			json_get_u64(one, "fdset-id", &set.id, NULL) == 0) {
			set_path(&set);
			*ret = set;
			return 0;
		}
	}
	return err_set(
		err, -ENOENT, "QEMU has no descriptor named \"%s\"", err_quote(name, 64));
}
