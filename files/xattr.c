/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes, with capabilities and ACLs among them. */
#include <errno.h>
#include <limits.h>
#include <sys/xattr.h>

#include "files/call.h"
#include "files/caller.h"

/* By the path of the inode's descriptor: that opens nothing, whatever it is of. Which names
 * there are, and who may set them, the host's kernel decides. */

int call_setxattr(struct call *c)
{
	const struct fuse_setxattr_in *in = &c->in.setxattr;
	bool kill = in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	if (kill)
		caller_drop_fsetid();
	if (setxattr(fd_path(c->inode->fd).text, c->names[0], c->data, c->data_len,
		    in->flags) < 0)
		r = -errno;
	if (kill)
		caller_regain_fsetid();
	return r;
}

int call_removexattr(struct call *c)
{
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	return removexattr(fd_path(c->inode->fd).text, c->names[0]) < 0 ? -errno : 0;
}

static ssize_t value_read(const struct call *c, void *buf, size_t size)
{
	return getxattr(fd_path(c->inode->fd).text, c->names[0], buf, size);
}

static ssize_t names_read(const struct call *c, void *buf, size_t size)
{
	return listxattr(fd_path(c->inode->fd).text, buf, size);
}

/* Asked for 0 bytes, the answer is how many there are. */
static int xattr_answer(
	struct call *c, ssize_t (*read)(const struct call *, void *, size_t))
{
	size_t size = MIN(c->in.getxattr.size, (uint32_t)XATTR_SIZE_MAX);
	struct fuse_getxattr_out out = {0};
	uint8_t *room;
	ssize_t n;

	if (size == 0) {
		n = read(c, NULL, 0);
		out.size = n;
		return n < 0 ? -errno : call_put(c, &out, sizeof(out));
	}
	room = call_room(c, size);
	if (!room)
		return -ENOMEM;
	n = read(c, room, size);
	if (n < 0)
		return -errno;
	c->out_len = n;
	return 0;
}

int call_getxattr(struct call *c)
{
	return xattr_answer(c, value_read);
}

int call_listxattr(struct call *c)
{
	return xattr_answer(c, names_read);
}
