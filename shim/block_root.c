/* SPDX-License-Identifier: Apache-2.0 */
/* A container's mounts as one file system on a block device: see block_root.h. */
#include "shim/block_root.h"

#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/util.h"
#include "shim/mount_options.h"

/* What the guest's kernel has, built in or among its packed modules (guest/mkguest). */
static const char *const guest_types[] = {
	"ext2", "ext3", "ext4", "xfs", "erofs", "squashfs"};

static bool is_guest_type(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(guest_types); i++)
		if (strcmp(type, guest_types[i]) == 0)
			return true;
	return false;
}

/* A file needs the word "loop": without it, or where there is nothing, what mount(2) says
 * of it is the answer. */
static bool is_source(const char *path, bool loop)
{
	struct stat st;

	return stat(path, &st) == 0 && (loop ? S_ISREG(st.st_mode) : S_ISBLK(st.st_mode));
}

/* Notes between containerd's parts, and what the host alone has. */
static bool is_for_guest(const char *option)
{
	return strcmp(option, "loop") != 0 && strncmp(option, "X-containerd.", 13) != 0;
}

static void take_options(const Containerd__Types__Mount *m, struct block_root *ret)
{
	ret->options = xreallocarray(NULL, m->n_options + 1, sizeof(*ret->options));
	for (size_t i = 0; i < m->n_options; i++)
		if (is_for_guest(m->options[i]))
			ret->options[ret->n_options++] = m->options[i];
}

bool block_root_parse(
	Containerd__Types__Mount *const *mounts, size_t n, struct block_root *ret)
{
	const Containerd__Types__Mount *m = n == 1 ? mounts[0] : NULL;
	struct mount_options o;
	bool good;

	*ret = (struct block_root){0};
	if (!m || *m->target || !is_guest_type(m->type) ||
		mount_options_parse(m->options, m->n_options, &o, NULL) < 0)
		return false;
	good = !o.propagation && !(o.flags & (MS_BIND | MS_REMOUNT)) &&
	       is_source(m->source, o.loop);
	if (good) {
		ret->source = (struct disk_source){
			m->source, o.loop, (o.flags & MS_RDONLY) != 0};
		ret->fstype = m->type;
		take_options(m, ret);
	}
	mount_options_done(&o);
	return good;
}

void block_root_done(struct block_root *root)
{
	free(root->options);
	*root = (struct block_root){0};
}
