/* SPDX-License-Identifier: Apache-2.0 */
/* The table of open files and folders: see handle.h. */
#include "files/handle.h"

#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "files/call.h"

void handles_init(struct tree *tree)
{
	slots_init(&tree->handles.slots, UINT32_MAX);
}

static void handle_free(struct tree *tree, struct handle *handle)
{
	close(handle->fd);
	if (handle->writes)
		tree_end_change(tree);
	room_give(tree->room, ROOM_HANDLES);
	inode_unuse(tree, handle->inode);
	pthread_mutex_destroy(&handle->folder_lock);
	free(handle);
}

void handles_clear(struct tree *tree)
{
	struct slots *slots = &tree->handles.slots;

	for (uint32_t i = 0; i < slots->n_slots; i++) {
		struct handle *handle = slots->slots[i].item;

		if (!handle)
			continue;
		slots_remove(slots, handle->fh);
		handle_free(tree, handle);
	}
}

void handles_done(struct tree *tree)
{
	handles_clear(tree);
	slots_done(&tree->handles.slots);
}

int handle_add(struct tree *tree, struct inode *inode, int fd, uint64_t *ret_fh)
{
	struct handle *handle;
	uint64_t fh;

	if (!room_take(tree->room, ROOM_HANDLES)) {
		close(fd);
		return -ENFILE;
	}
	handle = xnew0(struct handle);
	handle->inode = inode;
	handle->fd = fd;
	handle->uses = 1;
	handle->writes = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	pthread_mutex_init(&handle->folder_lock, NULL);
	pthread_mutex_lock(&tree->lock);
	fh = slots_add(&tree->handles.slots, handle);
	handle->fh = fh;
	/* What a failure gives back. */
	inode->uses++;
	tree->changes += handle->writes;
	pthread_mutex_unlock(&tree->lock);
	if (!fh) {
		handle_free(tree, handle);
		return -ENFILE;
	}
	*ret_fh = fh;
	return 0;
}

struct handle *handle_use(struct tree *tree, uint64_t fh, const struct inode *inode)
{
	struct handle *handle;

	pthread_mutex_lock(&tree->lock);
	handle = slots_get(&tree->handles.slots, fh);
	if (handle && handle->inode != inode)
		handle = NULL;
	if (handle)
		handle->uses++;
	pthread_mutex_unlock(&tree->lock);
	return handle;
}

void handle_unuse(struct tree *tree, struct handle *handle)
{
	bool last;

	if (!handle)
		return;
	pthread_mutex_lock(&tree->lock);
	last = --handle->uses == 0;
	pthread_mutex_unlock(&tree->lock);
	if (last)
		handle_free(tree, handle);
}

void handle_release(struct tree *tree, struct handle *handle)
{
	pthread_mutex_lock(&tree->lock);
	if (slots_get(&tree->handles.slots, handle->fh) == handle) {
		slots_remove(&tree->handles.slots, handle->fh);
		handle->uses--;
	}
	pthread_mutex_unlock(&tree->lock);
}

int handle_check_room(struct tree *tree)
{
	return room_has(tree->room, ROOM_HANDLES) ? 0 : -ENFILE;
}
