/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting in a system call that another thread can end: see wait.h. */
#include "files/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "base/util.h"
#include "files/call.h"
#include "files/caller.h"

/*
 * How it works. A lock's wait ends by a signal, and a signal that comes a moment before
 * the system call would be lost. So the call gets a descriptor of its own, and who
 * interrupts it first puts an O_PATH descriptor in its place, and then sends the signal:
 * a call that is still to come fails with EBADF, one that waits with EINTR, and one that
 * is over has its result. The signal is blocked but around the call; its handler has
 * nothing to do.
 */
#define WAIT_SIGNAL SIGRTMIN

struct wait {
	uint64_t unique;
	pthread_t thread;
	int fd; /* a copy for this wait alone */
	bool interrupted;
	struct wait *next;
};

static pthread_mutex_t prepare_lock = PTHREAD_MUTEX_INITIALIZER;
static bool prepared;

static void signal_handle(int signal)
{
	(void)signal;
}

int waits_prepare(struct err *err)
{
	struct sigaction action = {.sa_handler = signal_handle}; /* not SA_RESTART */
	int r = 0;

	pthread_mutex_lock(&prepare_lock);
	sigemptyset(&action.sa_mask);
	if (!prepared && sigaction(WAIT_SIGNAL, &action, NULL) < 0)
		r = err_sys(err, errno, "sigaction");
	if (r == 0)
		prepared = true;
	pthread_mutex_unlock(&prepare_lock);
	return r;
}

static bool waits_was_early(const struct waits *waits, uint64_t unique)
{
	for (unsigned int i = 0; i < WAITS_EARLY; i++)
		if (waits->early[i] == unique)
			return true;
	return false;
}

static bool wait_begin(struct tree *tree, struct wait *wait)
{
	struct waits *waits = &tree->waits;
	bool may;

	pthread_mutex_lock(&tree->lock);
	may = !waits->ended && !waits_was_early(waits, wait->unique);
	if (may) {
		wait->next = waits->first;
		waits->first = wait;
	}
	pthread_mutex_unlock(&tree->lock);
	return may;
}

/* From here on nobody sends this thread the signal; was it sent? */
static bool wait_end(struct tree *tree, struct wait *wait)
{
	struct wait **at = &tree->waits.first;
	bool interrupted;

	pthread_mutex_lock(&tree->lock);
	while (*at != wait)
		at = &(*at)->next;
	*at = wait->next;
	interrupted = wait->interrupted;
	pthread_mutex_unlock(&tree->lock);
	return interrupted;
}

static int wait_block(int fd, int (*block)(int, const void *), const void *arg)
{
	sigset_t set, before;
	int r;

	sigemptyset(&set);
	sigaddset(&set, WAIT_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, &before);
	r = block(fd, arg);
	sigaddset(&before, WAIT_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/* One that was sent and did not arrive yet must not end the thread's next wait. */
static void signal_drain(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, WAIT_SIGNAL);
	sigtimedwait(&set, NULL, &(struct timespec){0});
}

int wait_for(
	struct call *c, int fd, int (*block)(int fd, const void *arg), const void *arg)
{
	struct wait wait = {.unique = c->header.unique, .thread = pthread_self()};
	int r;

	wait.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (wait.fd < 0)
		return -ENFILE;
	if (!wait_begin(c->tree, &wait)) {
		close(wait.fd);
		return -EINTR;
	}
	if (c->answer->waits)
		c->answer->waits(c->answer->user);
	r = wait_block(wait.fd, block, arg);
	if (wait_end(c->tree, &wait)) {
		signal_drain();
		r = r < 0 ? -EINTR : 0;
	}
	close(wait.fd);
	return r;
}

/* With the lock, by which the thread and its descriptor are still there. */
static void wait_spoil(struct wait *wait)
{
	if (wait->interrupted)
		return;
	wait->interrupted = true;
	dup3(caller_proc_fd(), wait->fd, O_CLOEXEC);
	pthread_kill(wait->thread, WAIT_SIGNAL);
}

void wait_interrupt(struct tree *tree, uint64_t unique)
{
	struct waits *waits = &tree->waits;
	struct wait *wait;

	pthread_mutex_lock(&tree->lock);
	wait = waits->first;
	while (wait && wait->unique != unique)
		wait = wait->next;
	if (wait) {
		wait_spoil(wait);
	} else {
		waits->early[waits->next_early] = unique;
		waits->next_early = (waits->next_early + 1) % WAITS_EARLY;
	}
	pthread_mutex_unlock(&tree->lock);
}

void waits_end(struct tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	tree->waits.ended = true;
	for (struct wait *wait = tree->waits.first; wait; wait = wait->next)
		wait_spoil(wait);
	pthread_mutex_unlock(&tree->lock);
}

void waits_clear(struct tree *tree)
{
	tree->waits = (struct waits){0};
}
