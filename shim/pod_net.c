/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's network: see pod_net.h.
 *
 * How it works. The kernel tells of changes in the namespace (net_events_fd()), but what
 * it tells is only taken for a reason to look. A look is compared with what the guest has
 * been told, and the difference is made (guest_net.h). So it does no harm that messages
 * are lost, that our own taps cause some, or that a change is undone before it is seen.
 * One thread does this, and nobody else does after the start.
 */
#include "shim/pod_net.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/guest_net.h"
#include "shim/pod_names.h"

/* libnl and QMP need more than the smallest stack. */
#define STACK_BYTES (256u * 1024)

struct pod_net {
	struct pod *pod;
	/* Of whoever starts it, then of the thread. */
	struct guest_net guest;
	struct net_view *seen; /* by pod_net_join() */

	int wake_fd;
	pthread_t thread;
	bool runs;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool ending;
	uint64_t asked, done; /* how many have asked for a look, and have had one */
	struct err err;       /* what came of the last one; code 0: done well */
};

/* ---- the start ---- */

static struct pod_net *new_pod_net(struct pod *pod)
{
	struct pod_net *n = xnew0(struct pod_net);

	n->pod = pod;
	n->wake_fd = -1;
	pthread_mutex_init(&n->lock, NULL);
	cond_init(&n->changed);
	return n;
}

/* All of them, so that pod_net_nics() is right: one that has gone meanwhile is told. */
static int join_all(struct pod_net *n, struct err *err)
{
	struct net_nic *nic;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < n->seen->n_interfaces; i++)
		if (n->seen->interfaces[i].is_nic)
			r = net_join(n->guest.net, &n->seen->interfaces[i], &nic, err);
	return r;
}

int pod_net_join(struct pod *pod, struct pod_net **ret, struct err *err)
{
	struct pod_net *n = new_pod_net(pod);
	int r;

	n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = n->wake_fd < 0 ? err_sys(err, errno, "cannot make an eventfd") : 0;
	if (r == 0)
		r = net_new(pod->netns_fd, &n->guest.net, err);
	if (r == 0)
		r = net_scan(n->guest.net, &n->seen, err);
	if (r == 0)
		r = join_all(n, err);
	if (r < 0) {
		pod_net_end(n);
		return r;
	}
	*ret = n;
	return 0;
}

unsigned int pod_net_nics(const struct pod_net *n)
{
	return n->guest.net->n_nics;
}

/* ---- the thread ---- */

/* view: taken. */
static int give_view(struct pod_net *n, struct net_view *view, struct err *err)
{
	struct pod_use use;
	int r = pod_use_begin(n->pod, &use, err);

	if (r < 0) {
		net_view_free(view);
		return r;
	}
	r = guest_net_follow(&n->guest, view, &use, err);
	if (r != -ETIMEDOUT)
		pod_names_look(n->pod->names, &use);
	pod_use_end(&use);
	return r;
}

static int look_and_follow(struct pod_net *n, struct err *err)
{
	struct net_view *view;
	int r;

	net_forget_events(n->guest.net);
	r = net_scan(n->guest.net, &view, err);
	return r < 0 ? r : give_view(n, view, err);
}

static uint64_t count_asked(struct pod_net *n, bool *ret_ending)
{
	eventfd_t woken;
	uint64_t asked;

	(void)!eventfd_read(n->wake_fd, &woken); /* EAGAIN: the kernel woke us */
	pthread_mutex_lock(&n->lock);
	asked = n->asked;
	*ret_ending = n->ending;
	pthread_mutex_unlock(&n->lock);
	return asked;
}

static void tell_done(struct pod_net *n, uint64_t asked, const struct err *err)
{
	pthread_mutex_lock(&n->lock);
	n->done = asked;
	n->err = *err;
	pthread_cond_broadcast(&n->changed);
	pthread_mutex_unlock(&n->lock);
}

static void wait_for_reason(struct pod_net *n)
{
	struct pollfd fds[] = {
		{.fd = net_events_fd(n->guest.net), .events = POLLIN},
		{.fd = n->wake_fd, .events = POLLIN},
	};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		continue; /* EINTR */
}

/* A guest that does not answer is asked again: each time takes as long as a call may. One
 * that has ended is nobody's to tell. */
static void *run_thread(void *arg)
{
	struct pod_net *n = arg;
	bool ending = false;
	int r = 0;

	for (;;) {
		struct err err = ERR_INIT;
		uint64_t asked;

		if (r != -ETIMEDOUT)
			wait_for_reason(n);
		asked = count_asked(n, &ending);
		if (ending)
			return NULL;
		r = look_and_follow(n, &err);
		if (r < 0 && r != -ECONNRESET)
			log_error(
				"the guest's network is not as the pod's: %s", err.text);
		tell_done(n, asked, &err);
	}
}

int pod_net_start(struct pod_net *n, struct err *err)
{
	int r = give_view(n, steal_ptr(n->seen), err);

	if (r < 0)
		return r;
	r = thread_start(run_thread, n, STACK_BYTES, false, &n->thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	n->runs = true;
	return 0;
}

/* ---- from other threads ---- */

static uint64_t ask_look(struct pod_net *n, bool end)
{
	uint64_t asked;

	pthread_mutex_lock(&n->lock);
	asked = ++n->asked;
	n->ending |= end;
	pthread_mutex_unlock(&n->lock);
	thread_wake(n->wake_fd);
	return asked;
}

int pod_net_catch_up(struct pod_net *n, int64_t deadline, struct err *err)
{
	uint64_t asked;
	int r = 0;

	if (!n)
		return 0;
	asked = ask_look(n, false);
	pthread_mutex_lock(&n->lock);
	while (r == 0 && n->done < asked)
		r = cond_wait(&n->changed, &n->lock, deadline);
	if (r < 0)
		err_set(err, r, "the guest does not take the pod's network");
	else if (n->err.code < 0)
		r = err_copy(err, &n->err);
	pthread_mutex_unlock(&n->lock);
	return r < 0 ? err_wrap(err, "network") : 0;
}

int pod_net_end(struct pod_net *n)
{
	struct err err = ERR_INIT;
	int r = 0;

	if (!n)
		return 0;
	if (n->runs) {
		ask_look(n, true);
		pthread_join(n->thread, NULL);
	}
	if (n->guest.net)
		r = net_leave(n->guest.net, &err);
	if (r < 0)
		log_error("the pod's network namespace is not as it was: %s", err.text);
	net_free(n->guest.net);
	net_view_free(n->guest.told);
	net_view_free(n->seen);
	close_fd(n->wake_fd);
	pthread_cond_destroy(&n->changed);
	pthread_mutex_destroy(&n->lock);
	free(n);
	return r;
}
