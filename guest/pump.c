/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump's state: see pump.h.
 *
 * How it works. The up thread reads requests from all /dev/fuse and is the only one that
 * writes to the port (pump_up.c). The down thread reads the port and writes the answers
 * to /dev/fuse (pump_down.c); nothing that it does waits for an answer or for the port,
 * or the two sides could wait for each other. Notifications do wait: the kernel takes
 * locks for them that a process holds while it waits for an answer. They and the server's
 * wish that the kernel drop inodes have a third thread (pump_notes.c). What others have
 * changed a fourth one does once more (pump_changes.c): it is as any process that uses
 * the mounts.
 *
 * Memory. The kernel writes dirty pages to the server to get memory, so the pump must not
 * need any to go on. Up and down threads allocate nothing, their buffers and stacks are
 * locked, what they run lies in the initramfs, which is never evicted, and
 * PR_SET_IO_FLUSHER keeps what the kernel allocates for them (a buffer for each write to
 * the port) from waiting for write-back itself. Nor do they wait for who allocates: with
 * the lock held nobody does that, frees, or writes to the log. All are threads of process
 * 1, which the OOM killer never chooses.
 *
 * /dev/fuse can't be read into the window, nor written from it: FUSE takes the pages of
 * the user's buffer, and those of a BAR have no struct page (EFAULT, and the request is
 * lost). So what goes through the window is copied once more: 0.14 ms for 256 KiB,
 * emulated.
 */
#include "guest/pump_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

#define STACK_BYTES        (64u << 10)
#define STACK_LOCKED_BYTES (16u << 10)
#define MEMORY_BYTES                                                                     \
	(PUMP_PAGE + FILES_SLOT_BYTES + FILES_SLOT_BYTES + 2 * PUMP_PAGE +               \
		PUMP_NOTES_BYTES)

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* The part of the stack that will be used is there from now on. */
static int lock_stack(void)
{
	uintptr_t top = align_up((uintptr_t)__builtin_frame_address(0), PUMP_PAGE);

	return mlock((void *)(top - STACK_LOCKED_BYTES), STACK_LOCKED_BYTES);
}

void pump_enter_thread(void)
{
	if (lock_stack() < 0 || prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_warn("the pump of files may hang when memory is short: %s",
			strerror(errno));
}

void pump_wake_up_thread(struct pump *p)
{
	thread_wake(p->wake_fd);
}

uint8_t *pump_slot(struct pump *p, unsigned int slot)
{
	return p->window + (size_t)slot * FILES_SLOT_BYTES;
}

/* ---- the end ---- */

/* Never read: it stays readable for all threads. */
static void ring_stop(struct pump *p)
{
	thread_wake(p->stop_fd);
	pthread_cond_broadcast(&p->noted);
	pthread_cond_broadcast(&p->changed);
	pthread_cond_broadcast(&p->forgot);
}

/* Sets the flag and lets all go who wait; false: that was done before. */
static bool end_waits(struct pump *p, bool *flag)
{
	unsigned int stuck = 0;
	bool first;

	pthread_mutex_lock(&p->lock);
	first = !p->broken && !p->stopped;
	if (first) {
		*flag = true;
		stuck = pump_abort_mounts(p);
		ring_stop(p);
	}
	pthread_mutex_unlock(&p->lock);
	if (stuck)
		log_warn(
			"processes may hang in %u mounts, which can't be aborted", stuck);
	return first;
}

void pump_break(struct pump *p, const char *why)
{
	if (end_waits(p, &p->broken))
		log_error("the files of this pod are lost: %s", why);
}

bool pump_has_ended(struct pump *p)
{
	bool ended;

	pthread_mutex_lock(&p->lock);
	ended = p->broken || p->stopped;
	pthread_mutex_unlock(&p->lock);
	return ended;
}

static void stop_threads(struct pump *p)
{
	pthread_t threads[] = {p->up, p->down, p->notes, p->changes};

	end_waits(p, &p->stopped);
	for (unsigned int i = 0; i < p->n_threads; i++)
		pthread_join(threads[i], NULL);
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	stop_threads(p);
	pump_close_mounts(p);
	close_fd(p->port_fd);
	close_fd(p->epoll_fd);
	close_fd(p->wake_fd);
	close_fd(p->stop_fd);
	if (p->memory)
		munmap(p->memory, MEMORY_BYTES);
	pthread_cond_destroy(&p->forgot);
	pthread_cond_destroy(&p->changed);
	pthread_cond_destroy(&p->noted);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- the beginning ---- */

static int map_memory(struct pump *p, struct err *err)
{
	uint8_t *at = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return err_sys(err, errno, "map the pump's buffers");
	p->memory = at;
	if (mlock(at, MEMORY_BYTES) < 0)
		return err_sys(err, errno, "lock the pump's buffers");
	p->up_buf = at;
	p->down_buf = p->up_buf + PUMP_PAGE + FILES_SLOT_BYTES;
	p->in_buf = p->down_buf + FILES_SLOT_BYTES;
	p->notes_buf = p->in_buf + 2 * PUMP_PAGE;
	return 0;
}

static int watch_wake(struct pump *p, struct err *err)
{
	const int fds[] = {p->wake_fd, p->stop_fd};

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		struct epoll_event event = {
			.events = EPOLLIN, .data.u32 = FILES_MOUNTS_MAX + i};

		if (fds[i] < 0 || p->epoll_fd < 0 ||
			epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
			return err_sys(err, errno, "make the pump's descriptors");
	}
	return 0;
}

static int start_threads(struct pump *p, struct err *err)
{
	const struct {
		void *(*run)(void *);
		pthread_t *thread;
	} threads[] = {
		{pump_run_up, &p->up},
		{pump_run_down, &p->down},
		{pump_run_notes, &p->notes},
		{pump_run_changes, &p->changes},
	};

	for (; p->n_threads < ARRAY_SIZE(threads); p->n_threads++) {
		int r = thread_start(threads[p->n_threads].run, p, STACK_BYTES, false,
			threads[p->n_threads].thread);

		if (r < 0)
			return err_sys(err, r, "start the pump's threads");
	}
	return 0;
}

static int pump_init(struct pump *p, struct err *err)
{
	int r = watch_wake(p, err);

	if (r == 0)
		r = map_memory(p, err);
	if (r == 0 &&
		fcntl(p->port_fd, F_SETFL, fcntl(p->port_fd, F_GETFL) | O_NONBLOCK) < 0)
		r = err_sys(err, errno, "make the port non-blocking");
	return r == 0 ? start_threads(p, err) : r;
}

void pump_set_window(struct pump *p, void *window)
{
	pthread_mutex_lock(&p->lock);
	p->window = window;
	pthread_mutex_unlock(&p->lock);
}

int pump_new(int port_fd, struct pump **ret, struct err *err)
{
	struct pump *p = xnew0(struct pump);
	int r;

	pthread_mutex_init(&p->lock, NULL);
	cond_init(&p->noted);
	cond_init(&p->changed);
	cond_init(&p->forgot);
	p->credits = FILES_CREDITS;
	p->free_slots = (1u << FILES_GUEST_SLOTS) - 1;
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->port_fd = port_fd;
	r = pump_init(p, err);
	if (r < 0) {
		p->port_fd = -1; /* still the caller's */
		pump_free(p);
		return r;
	}
	*ret = p;
	return 0;
}
