/* SPDX-License-Identifier: Apache-2.0 */
/* What stands for files that are gone: see blanks.h. */
#include "files/blanks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/util.h"

static int mount_empty(int *ret_fd, struct err *err)
{
	*ret_fd = mount_nowhere(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return *ret_fd < 0 ? err_sys(err, *ret_fd, "cannot make an empty file system")
			   : 0;
}

static int make_readonly(int mount_fd, struct err *err)
{
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};

	return mount_setattr(mount_fd, "", AT_EMPTY_PATH, &readonly, sizeof(readonly)) < 0
		       ? err_sys(err, errno,
				 "cannot make what stands for files read-only")
		       : 0;
}

/* Each folder is the root of a mount: nothing is above it. */
int blanks_open(struct blanks *ret, struct err *err)
{
	int r = mount_empty(&ret->elsewhere, err);

	if (r == 0)
		r = mount_empty(&ret->folder, err);
	if (r < 0)
		return r;
	if (mknodat(ret->elsewhere, "file", S_IFREG | 0444, 0) < 0)
		return err_sys(err, errno, "cannot make what stands for a file");
	ret->file = openat(ret->elsewhere, "file", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (ret->file < 0)
		return err_sys(err, errno, "cannot open what stands for a file");
	r = make_readonly(ret->elsewhere, err);
	return r == 0 ? make_readonly(ret->folder, err) : r;
}
