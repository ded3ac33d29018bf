/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Followers: see followers.h.
 *
 * A pidfd becomes readable when its process has ended, so one thread in epoll_wait(2)
 * does for all. It is started with the first one to follow: a templated that never
 * restarts has none.
 */
#include "templated/followers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/util.h"

struct follower {
	struct follower *next;
	int pidfd;
	void *what;
};

struct followers {
	void (*ended)(void *user, void *what);
	void *user;
	int epoll_fd, stop_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	bool started;
	struct follower *all;
};

struct followers *followers_new(void (*ended)(void *user, void *what), void *user)
{
	struct followers *f = xnew0(struct followers);

	f->ended = ended;
	f->user = user;
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

static void followers_remove(struct followers *f, struct follower *one)
{
	struct follower **p;

	pthread_mutex_lock(&f->lock);
	for (p = &f->all; *p != one;)
		p = &(*p)->next;
	*p = one->next;
	pthread_mutex_unlock(&f->lock);
	/* Closing it is not enough: a child on its way to exec may have a copy, and then
	 * the set would go on telling of one that is freed. */
	epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, one->pidfd, NULL);
	close(one->pidfd);
	free(one);
}

static void *followers_main(void *arg)
{
	struct followers *f = arg;

	for (;;) {
		struct epoll_event event;
		struct follower *one;

		if (epoll_wait(f->epoll_fd, &event, 1, -1) < 1)
			continue;
		one = event.data.ptr;
		if (!one)
			return NULL;
		f->ended(f->user, one->what);
		followers_remove(f, one);
	}
}

static int followers_watch_fd(struct followers *f, int fd, struct follower *one)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};

	return epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int followers_start_thread(struct followers *f)
{
	int r = followers_watch_fd(f, f->stop_fd, NULL);

	if (r == 0)
		r = thread_start(followers_main, f, 128 << 10, false, &f->thread);
	f->started = r == 0;
	return r;
}

int followers_add(struct followers *f, int pidfd, void *what)
{
	struct follower *one = xnew0(struct follower);
	int r = 0;

	*one = (struct follower){.pidfd = pidfd, .what = what};
	pthread_mutex_lock(&f->lock);
	one->next = f->all;
	f->all = one;
	if (!f->started)
		r = followers_start_thread(f);
	pthread_mutex_unlock(&f->lock);
	if (r == 0)
		r = followers_watch_fd(f, pidfd, one);
	if (r < 0)
		followers_remove(f, one);
	return r;
}

void followers_free(struct followers *f)
{
	if (!f)
		return;
	if (f->started) {
		thread_wake(f->stop_fd);
		pthread_join(f->thread, NULL);
	}
	while (f->all)
		followers_remove(f, f->all);
	close_fd(f->stop_fd);
	close_fd(f->epoll_fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
