/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of the guest's channel: see channel.h. */
#include "files/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/thread.h"
#include "files/channel_internal.h"

/* A few frames with what they carry; each is taken out of it at once. */
#define READ_BYTES (16u << 10)

int channel_new(int fd, int window_fd, struct channel **ret, struct err *err)
{
	struct channel *c = xnew0(struct channel);
	int r;

	c->fd = fd;
	r = channel_window_map(c, window_fd, err);
	if (r < 0) {
		free(c);
		return r;
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->send_lock, NULL);
	cond_init(&c->work);
	cond_init(&c->slot_freed);
	cond_init(&c->left);
	channel_jobs_init(&c->queue);
	*ret = c;
	return 0;
}

static void wait_for_workers(struct channel *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->threads > 0)
		pthread_cond_wait(&c->left, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	channel_end(c);
	for (unsigned int i = 0; i < c->mounts_end; i++)
		if (c->mounts[i])
			channel_mount_interrupt(c->mounts[i]);
	wait_for_workers(c);
	for (unsigned int i = 0; i < c->mounts_end; i++) {
		if (!c->mounts[i])
			continue;
		tree_free(c->mounts[i]->tree);
		channel_jobs_free(&c->mounts[i]->held);
		channel_turns_free(&c->mounts[i]->turns);
		free(c->mounts[i]);
	}
	channel_jobs_free(&c->queue);
	channel_window_unmap(c);
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->slot_freed);
	pthread_cond_destroy(&c->left);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->send_lock);
	free(c);
}

/* Everybody who waits for the guest goes on: the reader, writers, who wants a slot. */
void channel_end(struct channel *c)
{
	pthread_mutex_lock(&c->lock);
	c->ended = true;
	pthread_cond_broadcast(&c->work);
	pthread_cond_broadcast(&c->slot_freed);
	pthread_cond_broadcast(&c->left);
	pthread_mutex_unlock(&c->lock);
	shutdown(c->fd, SHUT_RDWR);
}

/* 1: some bytes more, 0: the end. */
static int read_some(
	const struct channel *c, uint8_t *data, size_t *have, struct err *err)
{
	for (;;) {
		ssize_t n = recv(c->fd, data + *have, READ_BYTES - *have, 0);
		int r = n < 0 ? -errno : 0;

		if (n >= 0) {
			*have += (size_t)n;
			return n > 0;
		}
		if (r == -EAGAIN)
			r = wait_fd(c->fd, POLLIN, DEADLINE_NONE);
		if (r == -ECONNRESET)
			return 0;
		if (r < 0 && r != -EINTR)
			return err_sys(err, r, "cannot read the guest's channel");
	}
}

static int read_frames(struct channel *c, struct err *err)
{
	uint8_t data[READ_BYTES];
	size_t have = 0, used;
	int r;

	while ((r = read_some(c, data, &have, err)) > 0) {
		r = channel_take_frames(c, data, have, &used, err);
		if (r < 0)
			return r;
		have -= used;
		memmove(data, data + used, have);
	}
	if (r == 0 && have > 0)
		r = err_set(err, -EPROTO, "the guest's channel ended within a frame");
	return r;
}

int channel_run(struct channel *c, struct err *err)
{
	struct err own = ERR_INIT;
	int r;

	if (read_frames(c, &own) < 0)
		channel_fail(c, &own);
	else
		channel_end(c);
	/* What ended it may be another thread's failure. */
	pthread_mutex_lock(&c->lock);
	r = c->err.code < 0 ? err_copy(err, &c->err) : 0;
	pthread_mutex_unlock(&c->lock);
	return r;
}
