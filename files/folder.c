/* SPDX-License-Identifier: Apache-2.0 */
/* Folders opened and listed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "files/call.h"
#include "files/wire.h"

/* The longest record of getdents64(2) of any file system, with a little more: names of
 * some are longer than NAME_MAX. */
#define RECORD_BYTES_MAX 1100u
#define READ_BYTES_MAX   (32u << 10)

int call_opendir(struct call *c)
{
	struct fuse_open_out out;
	int r = handle_check_room(c->tree);

	if (r < 0)
		return r;
	r = openat(c->inode->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	r = open_fill(c, c->inode, r, &out);
	return r < 0 ? r : call_put(c, &out, sizeof(out));
}

/* Entries from an offset on, as getdents64(2) has them: how many bytes. */
static ssize_t folder_read(struct handle *handle, off_t at, uint8_t *buf, size_t size)
{
	struct dirent64 *entry;
	ssize_t n = -1;

	pthread_mutex_lock(&handle->folder_lock);
	/* From the start is a rewinddir(3): what came since is to be seen. */
	if ((at > 0 && at == handle->folder_at) || lseek(handle->fd, at, SEEK_SET) >= 0)
		n = getdents64(handle->fd, buf, size);
	if (n < 0)
		n = -errno;
	handle->folder_at = -1;
	for (ssize_t i = 0; i < n; i += entry->d_reclen) {
		entry = (struct dirent64 *)(buf + i);
		handle->folder_at = entry->d_off;
	}
	pthread_mutex_unlock(&handle->folder_lock);
	return n;
}

static bool name_is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* An entry that cannot be looked up (it is gone, or there is no room) comes without:
 * nodeid 0 says so. "." and ".." are never looked up here, nor counted. */
static void plus_fill(
	struct call *c, const struct dirent64 *entry, struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){0};
	if (name_is_dots(entry->d_name) || room_is_crowded(c->tree->room))
		return;
	if (entry_look_up(c, entry->d_name, ret) < 0)
		*ret = (struct fuse_entry_out){0};
}

/* The answer as it grows. */
struct listing {
	uint8_t *at;
	size_t left;
	bool plus;
};

/* Adds an entry where it fits: only then it is looked up, and so counted. */
static bool listing_add(
	struct call *c, struct listing *list, const struct dirent64 *entry)
{
	size_t name_len = strlen(entry->d_name);
	size_t head = list->plus ? sizeof(struct fuse_entry_out) : 0;
	size_t size = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name_len);
	struct fuse_dirent out = {
		.ino = inode_number(c->tree, c->inode->key.dev, entry->d_ino),
		.off = entry->d_off,
		.namelen = name_len,
		.type = entry->d_type,
	};
	struct fuse_entry_out plus;

	if (size > list->left)
		return false;
	memset(list->at, 0, size);
	if (list->plus) {
		plus_fill(c, entry, &plus);
		memcpy(list->at, &plus, sizeof(plus));
	}
	memcpy(list->at + head, &out, FUSE_NAME_OFFSET);
	memcpy(list->at + head + FUSE_NAME_OFFSET, entry->d_name, name_len);
	list->at += size;
	list->left -= size;
	return true;
}

/* So many bytes of getdents64(2) fill an answer about, and seldom more: a record of ours
 * has 5 bytes more at its head, 133 more with attributes, where names of 8 to 16 bytes
 * make records of 32 and 40. What does not fit is read again. */
static size_t read_bytes(size_t answer_bytes, bool plus)
{
	size_t n = plus ? answer_bytes / 5 : answer_bytes / 8 * 7;

	return MIN(MAX(n, RECORD_BYTES_MAX), READ_BYTES_MAX);
}

static int folder_list(struct call *c, bool plus)
{
	size_t size = MIN(c->in.read.size, FILES_DATA_BYTES);
	struct listing list = {call_room(c, size), size, plus};
	size_t buf_size = read_bytes(size, plus);
	_cleanup_free_ uint8_t *buf = NULL;
	struct dirent64 *entry;
	ssize_t n;

	if (!list.at)
		return -ENOMEM;
	if (!S_ISDIR(c->inode->type))
		return -ENOTDIR;
	buf = xmalloc(buf_size);
	n = folder_read(c->handle, c->in.read.offset, buf, buf_size);
	if (n < 0)
		return n;
	for (ssize_t i = 0; i < n; i += entry->d_reclen) {
		entry = (struct dirent64 *)(buf + i);
		if (!listing_add(c, &list, entry))
			break;
	}
	c->out_len = size - list.left;
	/* Nothing at all would mean the end. */
	return n > 0 && c->out_len == 0 ? -EINVAL : 0;
}

int call_readdir(struct call *c)
{
	return folder_list(c, false);
}

int call_readdirplus(struct call *c)
{
	return folder_list(c, true);
}
