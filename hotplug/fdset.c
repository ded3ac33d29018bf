/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that QEMU opens by the name of their set. See plug_internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/util.h"
#include "hotplug/plug_internal.h"

/* The same file opened with another access mode, by way of procfs. */
static int reopen_with(int fd, int access, int *ret_fd, struct err *err)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret_fd = open(path, access | O_CLOEXEC | O_NOCTTY);
	if (*ret_fd < 0)
		return err_sys(err, errno, "cannot open descriptor %d again", fd);
	return 0;
}

int plug_fdset_add(struct qmp *q, const struct plug_file *file, struct plug_fdset *ret,
	int64_t deadline, struct err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	_cleanup_close_ int reopened = -1;
	struct json_object *args;
	struct plug_fdset set;
	int flags, r, fd = file->fd;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return err_sys(err, errno, "cannot hand over descriptor %d", fd);
	if ((flags & O_ACCMODE) != file->access) {
		r = reopen_with(fd, file->access, &reopened, err);
		if (r < 0)
			return r;
		fd = reopened;
	}
	args = json_object_new_object();
	json_set_string(args, "opaque", file->name);
	r = qmp_ask(q,
		&(struct qmp_request){
			.name = "add-fd", .args = args, .fd = &fd, .deadline = deadline},
		&answer, err);
	if (r < 0)
		return r;
	r = json_get_u64(answer, "fdset-id", &set.id, err);
	if (r == 0)
		r = json_get_u64(answer, "fd", &set.fd, err);
	if (r < 0) {
		err_wrap(err, "QMP add-fd");
		return r;
	}
	snprintf(set.path, sizeof(set.path), "/dev/fdset/%" PRIu64, set.id);
	*ret = set;
	return 0;
}

int plug_fdset_remove(
	struct qmp *q, const struct plug_fdset *set, int64_t deadline, struct err *err)
{
	struct json_object *args = json_object_new_object();

	json_set_u64(args, "fdset-id", set->id);
	return qmp_command(q, "remove-fd", args, deadline, err);
}
