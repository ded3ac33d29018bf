/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes, with capabilities and ACLs among them. */
#include <errno.h>
#include <limits.h>
#include <sys/xattr.h>

#include "files/call.h"
#include "files/caller.h"
#include "files/keeper.h"

/* By the path of the inode's descriptor: that opens nothing, whatever it is of. Which
 * names there are, and who may set them, the host's kernel decides. The list has no
 * trusted names for who may not read them: overlayfs, which asks for its own, asks by
 * name. */

static bool is_keepers(const struct call *c)
{
	return c->tree->options.keeper && keeper_knows(c->names[0]);
}

static ssize_t ask_keeper(const struct call *c, const struct keeper_call *call)
{
	return keeper_call(c->tree->options.keeper, c->inode->fd, call);
}

static int value_set(const struct call *c)
{
	int flags = (int)c->in.setxattr.flags;

	if (is_keepers(c))
		return (int)ask_keeper(c, &(struct keeper_call){.kind = KEEPER_SET,
						  .name = c->names[0],
						  .flags = flags,
						  .value = (void *)(uintptr_t)c->data,
						  .size = c->data_len});
	if (setxattr(fd_path(c->inode->fd).text, c->names[0], c->data, c->data_len,
		    flags) < 0)
		return -errno;
	return 0;
}

int call_setxattr(struct call *c)
{
	bool kill = c->in.setxattr.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	if (kill)
		caller_drop_fsetid();
	r = value_set(c);
	if (kill)
		caller_regain_fsetid();
	return r;
}

int call_removexattr(struct call *c)
{
	int r = call_check_writable(c);

	if (r < 0)
		return r;
	if (is_keepers(c))
		return (int)ask_keeper(c, &(struct keeper_call){.kind = KEEPER_REMOVE,
						  .name = c->names[0]});
	return removexattr(fd_path(c->inode->fd).text, c->names[0]) < 0 ? -errno : 0;
}

static ssize_t value_read(const struct call *c, void *buf, size_t size)
{
	ssize_t n;

	if (is_keepers(c))
		return ask_keeper(c, &(struct keeper_call){.kind = KEEPER_GET,
					     .name = c->names[0],
					     .value = buf,
					     .size = size});
	n = getxattr(fd_path(c->inode->fd).text, c->names[0], buf, size);
	return n < 0 ? -errno : n;
}

static ssize_t names_read(const struct call *c, void *buf, size_t size)
{
	ssize_t n = listxattr(fd_path(c->inode->fd).text, buf, size);

	return n < 0 ? -errno : n;
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
		return n < 0 ? (int)n : call_put(c, &out, sizeof(out));
	}
	room = call_room(c, size);
	if (!room)
		return -ENOMEM;
	n = read(c, room, size);
	if (n < 0)
		return (int)n;
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
