/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's keeper: hears of the end of each QEMU that templated made for the cache,
 * and reaps it, also long after it was handed over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/util.h"
#include "templated/cache_internal.h"

int cache_add(struct cache *c, struct cached *vm, struct err *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = vm};
	struct cached **end = &c->all;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (c->cancelled || c->held > 0)
		r = CACHE_UNWANTED;
	else if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, vm_pidfd(vm->vm), &event) < 0)
		r = err_sys(err, errno, "epoll_ctl");
	if (r == 0) {
		while (*end)
			end = &(*end)->next;
		*end = vm;
		vm->state = CACHED_READY;
		vm->since_ms = now_ms();
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* Its VM and its lease. */
static void undo_cached(struct cache *c, struct cached *vm)
{
	vm_free(steal_ptr(vm->vm));
	if (vm->lease)
		store_release(c->daemon->store, steal_ptr(vm->lease));
}

void cached_free(struct cache *c, struct cached *vm)
{
	undo_cached(c, vm);
	settings_put(vm->settings);
	vm_handover_done(&vm->handover);
	manifest_done(&vm->want);
	free(vm);
}

void cache_remove(struct cache *c, struct cached *vm)
{
	struct cached **p;

	/* In the list until it is undone: who drains waits for that. */
	undo_cached(c, vm);
	pthread_mutex_lock(&c->lock);
	for (p = &c->all; *p != vm;)
		p = &(*p)->next;
	*p = vm->next;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cached_free(c, vm);
}

static void log_death(const struct cached *vm, const siginfo_t *info)
{
	char words[800], how[64];

	vm_handover_last_words(&vm->handover, words, sizeof(words));
	if (info->si_code == CLD_EXITED)
		snprintf(how, sizeof(how), "with status %d", info->si_status);
	else
		snprintf(how, sizeof(how), "by signal %d (%s)", info->si_status,
			sigdescr_np(info->si_status));
	log_warn(
		"the cached VM %s has died and is replaced; its QEMU (pid %d) ended %s%s",
		vm->id, vm_pid(vm->vm), how, words);
}

static void take_end(struct cache *c, struct cached *vm)
{
	siginfo_t info = {0};
	bool gone;

	/* vm_free() reaps it. */
	if (waitid(P_PIDFD, (id_t)vm_pidfd(vm->vm), &info, WEXITED | WNOHANG | WNOWAIT) <
		0)
		log_error("cannot learn how the QEMU of the cached VM %s ended: %s",
			vm->id, strerror(errno));
	pthread_mutex_lock(&c->lock);
	epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, vm_pidfd(vm->vm), NULL);
	vm->ended = true;
	if (vm->state == CACHED_READY) {
		log_death(vm, &info);
		stats_cache_died(&c->daemon->stats);
		vm->state = CACHED_ENDING;
		cache_note_event(c);
	}
	/* An offered one is looked after by its connection. */
	gone = vm->state != CACHED_OFFERED;
	pthread_mutex_unlock(&c->lock);
	if (gone)
		cache_remove(c, vm);
}

void *cache_keep_main(void *arg)
{
	struct cache *c = arg;
	struct epoll_event event;

	for (;;) {
		int n = epoll_wait(c->epoll_fd, &event, 1, -1);

		if (n < 0 && errno != EINTR) {
			log_error("cached VMs are not watched any more: epoll_wait: %s",
				strerror(errno));
			return NULL;
		}
		if (n == 1 && !event.data.ptr)
			return NULL;
		if (n == 1)
			take_end(c, event.data.ptr);
	}
}
