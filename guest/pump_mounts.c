/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's mounts: their descriptors, which several threads use. */
#include "guest/pump_internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/util.h"

/* The path is left to who takes the number next: the up thread can't wait for who
 * allocates, and so frees nothing. */
static void close_mount(struct pump *p, struct pump_mount *m)
{
	close_fd(m->fuse_fd);
	close_fd(m->abort_fd);
	*m = (struct pump_mount){.at = m->at};
	pthread_cond_broadcast(&p->forgot);
}

int pump_pin(struct pump *p, unsigned int mount)
{
	struct pump_mount *m = &p->mounts[mount];
	int fd = -1;

	pthread_mutex_lock(&p->lock);
	if (m->used && !m->gone) {
		fd = m->fuse_fd;
		m->pins++;
	}
	pthread_mutex_unlock(&p->lock);
	return fd;
}

void pump_unpin(struct pump *p, unsigned int mount)
{
	struct pump_mount *m = &p->mounts[mount];

	pthread_mutex_lock(&p->lock);
	if (--m->pins == 0 && m->gone)
		close_mount(p, m);
	pthread_mutex_unlock(&p->lock);
}

void pump_forget(struct pump *p, unsigned int mount)
{
	struct pump_mount *m = &p->mounts[mount];

	pthread_mutex_lock(&p->lock);
	m->gone = true;
	p->n_changed -= m->changed;
	m->changed = false;
	if (m->pins == 0)
		close_mount(p, m);
	pthread_mutex_unlock(&p->lock);
}

/* The number can be used; p->lock is held, but not while this waits. */
static int wait_number(
	struct pump *p, unsigned int mount, int64_t deadline, struct err *err)
{
	int r = 0;

	if (mount >= FILES_MOUNTS_MAX)
		return err_set(err, -ERANGE, "mount %u, they end at %u", mount,
			FILES_MOUNTS_MAX);
	while (r == 0 && !p->broken && p->mounts[mount].used)
		r = cond_wait(&p->forgot, &p->lock, deadline);
	if (p->broken)
		return err_set(err, -ENOTCONN, "the file server has gone");
	return r < 0 ? err_set(err, -EBUSY, "mount %u is still in use", mount) : 0;
}

int pump_add(struct pump *p, unsigned int mount, const struct pump_source *source,
	int64_t deadline, struct err *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = mount};
	char *at = source->at ? xstrdup(source->at) : NULL;
	int r;

	pthread_mutex_lock(&p->lock);
	r = wait_number(p, mount, deadline, err);
	/* Within the lock: the up thread must find the mount as soon as there is a
	 * message, and pump_break() must not miss it. */
	if (r == 0 && epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, source->fuse_fd, &event) < 0)
		r = err_sys(err, errno, "watch the mount");
	if (r == 0) {
		char *last_at = p->mounts[mount].at;

		p->mounts[mount] = (struct pump_mount){.used = true,
			.fuse_fd = source->fuse_fd,
			.abort_fd = source->abort_fd,
			.at = at,
			.dev = source->dev};
		at = last_at;
	}
	pthread_mutex_unlock(&p->lock);
	free(at);
	return r;
}

unsigned int pump_abort_mounts(struct pump *p)
{
	unsigned int failed = 0;

	for (unsigned int i = 0; i < FILES_MOUNTS_MAX; i++)
		failed += p->mounts[i].used && write(p->mounts[i].abort_fd, "1", 1) < 0;
	return failed;
}

void pump_close_mounts(struct pump *p)
{
	for (unsigned int i = 0; i < FILES_MOUNTS_MAX; i++) {
		if (p->mounts[i].used)
			close_mount(p, &p->mounts[i]);
		free(p->mounts[i].at);
	}
}
