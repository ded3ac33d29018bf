/* SPDX-License-Identifier: Apache-2.0 */
/* The channel: its window, and frames to the guest. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/util.h"
#include "files/channel_internal.h"

/* Who could shrink it could end the server by SIGBUS. */
int channel_window_map(struct channel *c, int window_fd, struct err *err)
{
	int seals = fcntl(window_fd, F_GET_SEALS);
	struct stat st;
	void *window;

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return err_set(err, -EINVAL,
			"the window is no memfd that is sealed against shrinking");
	if (fstat(window_fd, &st) < 0)
		return err_sys(err, errno, "cannot look at the window");
	if (st.st_size != FILES_WINDOW_BYTES)
		return err_set(err, -EINVAL, "the window has %lld bytes, not %u",
			(long long)st.st_size, FILES_WINDOW_BYTES);
	window = mmap(NULL, FILES_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		window_fd, 0);
	if (window == MAP_FAILED)
		return err_sys(err, errno, "cannot map the window");
	c->window = window;
	return 0;
}

void channel_window_unmap(struct channel *c)
{
	if (c->window)
		munmap(c->window, FILES_WINDOW_BYTES);
}

void channel_fail(struct channel *c, const struct err *err)
{
	pthread_mutex_lock(&c->lock);
	if (!c->ended)
		c->err = *err;
	c->ended = true;
	pthread_mutex_unlock(&c->lock);
	channel_end(c);
}

static int send_all(int fd, struct msghdr *msg)
{
	while (msg->msg_iovlen > 0) {
		ssize_t n = sendmsg(fd, msg, MSG_NOSIGNAL);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		/* Whether it blocks is the business of who has it, too. */
		r = n < 0 ? wait_fd(fd, POLLOUT, DEADLINE_NONE) : 0;
		if (r < 0)
			return r;
		for (size_t left = (size_t)MAX(n, 0); msg->msg_iovlen > 0;) {
			struct iovec *iov = msg->msg_iov;
			size_t part = MIN(left, iov->iov_len);

			iov->iov_base = (uint8_t *)iov->iov_base + part;
			iov->iov_len -= part;
			left -= part;
			if (iov->iov_len > 0)
				break;
			msg->msg_iov++;
			msg->msg_iovlen--;
		}
	}
	return 0;
}

void channel_send(struct channel *c, const struct outgoing *o)
{
	struct files_frame frame = {.length = (uint32_t)o->len,
		.mount = (uint16_t)o->number,
		.kind = (uint8_t)o->kind,
		.slot = o->slot,
		.done = o->done,
		.credited = o->credited};
	struct iovec iov[] = {
		{&frame, sizeof(frame)}, {(void *)(uintptr_t)o->data, o->len}};
	bool follows = o->len > 0 && o->slot == FILES_NO_SLOT;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = follows ? 2 : 1};
	struct err err;
	int r;

	pthread_mutex_lock(&c->lock);
	if (o->slot != FILES_NO_SLOT)
		c->slots[o->slot] = SLOT_GUEST;
	if (o->done != FILES_NO_SLOT)
		c->slots[o->done] = SLOT_FREE;
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_lock(&c->send_lock);
	r = send_all(c->fd, &msg);
	pthread_mutex_unlock(&c->send_lock);
	if (r < 0) {
		err_sys(&err, r, "cannot write to the guest's channel");
		channel_fail(c, &err);
	}
}

static uint8_t find_free(const struct channel *c)
{
	for (unsigned int i = FILES_GUEST_SLOTS; i < FILES_SLOTS; i++)
		if (c->slots[i] == SLOT_FREE)
			return (uint8_t)i;
	return FILES_NO_SLOT;
}

uint8_t channel_slot_take(struct channel *c, const struct mount *mount)
{
	uint8_t slot;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		slot = find_free(c);
		if (slot != FILES_NO_SLOT || c->ended || (mount && mount->removing))
			break;
		pthread_cond_wait(&c->slot_freed, &c->lock);
	}
	if (c->ended)
		slot = FILES_NO_SLOT;
	if (slot != FILES_NO_SLOT)
		c->slots[slot] = SLOT_OURS;
	pthread_mutex_unlock(&c->lock);
	return slot;
}

void channel_slot_free(struct channel *c, uint8_t slot)
{
	pthread_mutex_lock(&c->lock);
	c->slots[slot] = SLOT_FREE;
	/* Who waits with a mount that is removed is not to take another's wakening. */
	pthread_cond_broadcast(&c->slot_freed);
	pthread_mutex_unlock(&c->lock);
}
