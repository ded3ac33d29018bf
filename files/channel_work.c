/* SPDX-License-Identifier: Apache-2.0 */
/* The channel: workers, which serve what is queued and answer it. */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/socket.h>

#include "base/thread.h"
#include "base/util.h"
#include "files/channel_internal.h"

struct worker {
	struct channel *channel;
	struct job *job;
	uint8_t slot; /* where the answer is, or FILES_NO_SLOT: in brief */
	bool waiting; /* it has left the pool */
	_Alignas(8) uint8_t brief[4096];
};

/* ---- jobs ---- */

struct job *channel_job_new(enum job_kind kind, unsigned int number, size_t len)
{
	struct job *job = xmalloc(sizeof(*job) + len);

	*job = (struct job){
		.kind = kind, .number = number, .slot = FILES_NO_SLOT, .len = len};
	return job;
}

void channel_jobs_init(struct job_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

void channel_jobs_add(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

struct job *channel_jobs_take(struct job_list *list)
{
	struct job *job = list->first;

	if (job)
		list->first = job->next;
	if (!list->first)
		list->end = &list->first;
	return job;
}

void channel_jobs_free(struct job_list *list)
{
	struct job *job;

	while ((job = channel_jobs_take(list)))
		free(job);
}

/* ---- the pool ---- */

static void *worker_main(void *arg);

/* A thread that nobody joins is counted instead. With the lock. */
static int pool_grow(struct channel *c)
{
	int r;

	c->threads++;
	c->pool++;
	r = thread_start(worker_main, c, CHANNEL_STACK_BYTES, true, NULL);
	if (r < 0) {
		c->threads--;
		c->pool--;
	}
	return r;
}

void channel_queue(struct channel *c, struct job *job)
{
	int r = 0;

	channel_jobs_add(&c->queue, job);
	c->queued++;
	if (c->queued > c->idle && c->pool < CHANNEL_WORKERS_MAX)
		r = pool_grow(c);
	else
		pthread_cond_signal(&c->work);
	/* Fewer than wished do as well; the ones that wait for locks serve nobody. */
	if (r < 0 && c->pool == 0 && !c->ended) {
		c->ended = true;
		err_sys(&c->err, r, "cannot start a thread for the guest's requests");
		pthread_cond_broadcast(&c->work);
		shutdown(c->fd, SHUT_RDWR);
	}
}

/* Out of the pool for as long as it waits for a lock,
 * if somebody else can serve meanwhile. */
static bool pool_leave(struct worker *w)
{
	struct channel *c = w->channel;

	if (w->waiting || c->waiters >= CHANNEL_WAITERS_MAX)
		return false;
	c->pool--;
	if (c->queued > c->idle && pool_grow(c) < 0 && c->pool == 0) {
		c->pool++;
		return false;
	}
	c->waiters++;
	w->waiting = true;
	return true;
}

/* Back into it; false: it is full. */
static bool pool_return(struct worker *w)
{
	struct channel *c = w->channel;

	if (!w->waiting)
		return true;
	w->waiting = false;
	c->waiters--;
	if (c->pool >= CHANNEL_WORKERS_MAX)
		return false;
	c->pool++;
	return true;
}

/* NULL: the worker ends, and is not in the pool any more. */
static struct job *worker_next(struct worker *w)
{
	struct channel *c = w->channel;

	if (!pool_return(w))
		return NULL;
	while (!c->queue.first && !c->ended) {
		c->idle++;
		pthread_cond_wait(&c->work, &c->lock);
		c->idle--;
	}
	if (c->ended) {
		c->pool--;
		return NULL;
	}
	c->queued--;
	return channel_jobs_take(&c->queue);
}

/* ---- answers ---- */

static uint8_t *worker_grow(void *user, size_t size)
{
	struct worker *w = user;

	if (size > FILES_SLOT_BYTES || w->slot != FILES_NO_SLOT)
		return NULL;
	w->slot = channel_slot_take(w->channel, w->job->mount);
	return w->slot == FILES_NO_SLOT ? NULL : channel_slot(w->channel, w->slot);
}

static void send_note(struct channel *c, enum files_kind kind, struct job *job)
{
	/* The data of a FUSE_WRITE stays in use until its answer. */
	uint8_t done = job->payload ? FILES_NO_SLOT : job->slot;

	if (done != FILES_NO_SLOT)
		job->slot = FILES_NO_SLOT;
	channel_send(c, &(struct outgoing){.kind = kind,
				.number = job->number,
				.slot = FILES_NO_SLOT,
				.done = done});
}

static void worker_waits(void *user)
{
	struct worker *w = user;
	struct channel *c = w->channel;
	bool left;

	pthread_mutex_lock(&c->lock);
	left = pool_leave(w);
	if (left) {
		w->job->credited = true;
		c->held--;
	}
	pthread_mutex_unlock(&c->lock);
	if (left)
		send_note(c, FILES_CREDIT, w->job);
}

static void give_credit(struct worker *w)
{
	struct channel *c = w->channel;

	pthread_mutex_lock(&c->lock);
	if (!w->job->credited)
		c->held--;
	pthread_mutex_unlock(&c->lock);
}

static void answer_error(struct worker *w, int error, struct tree_answer *answer)
{
	struct fuse_out_header out = {
		.len = sizeof(out), .error = error, .unique = w->job->unique};

	answer->data = w->brief;
	memcpy(answer->data, &out, sizeof(out));
	answer->len = sizeof(out);
}

/* A long one has to lie in a slot, a short one goes with its frame. */
static void place_answer(struct worker *w, struct tree_answer *answer)
{
	struct channel *c = w->channel;

	if (answer->len > FILES_INLINE_BYTES && w->slot == FILES_NO_SLOT) {
		w->slot = channel_slot_take(c, w->job->mount);
		if (w->slot == FILES_NO_SLOT)
			answer_error(w, -ENOTCONN, answer);
		else
			memcpy(channel_slot(c, w->slot), answer->data, answer->len);
	}
}

static void send_answer(struct worker *w, const struct tree_answer *answer)
{
	struct channel *c = w->channel;
	bool brief = answer->len <= FILES_INLINE_BYTES;
	struct outgoing o = {.kind = FILES_MESSAGE,
		.number = w->job->number,
		.data = answer->data,
		.len = answer->len,
		.slot = brief ? FILES_NO_SLOT : w->slot,
		.done = w->job->slot,
		.credited = w->job->credited};

	give_credit(w);
	if (answer->len > 0)
		channel_send(c, &o);
	else if (!w->job->credited)
		send_note(c, FILES_CREDIT, w->job);
	else if (w->job->slot != FILES_NO_SLOT)
		send_note(c, FILES_DONE, w->job);
	if (brief && w->slot != FILES_NO_SLOT)
		channel_slot_free(c, w->slot);
}

/* ---- serving ---- */

/* 0: it is to be served, and what the mount has of it is taken back by leave_mount(). */
static int refuse_job(struct worker *w)
{
	struct channel *c = w->channel;
	struct job *job = w->job;
	int error = 0;

	pthread_mutex_lock(&c->lock);
	if (!job->mount || job->mount->removing)
		error = -ENOTCONN;
	else if (job->opcode == FUSE_SETLKW && c->lockers >= CHANNEL_WAITERS_MAX)
		error = -ENOLCK;
	else if (job->opcode == FUSE_SETLKW)
		c->lockers++;
	pthread_mutex_unlock(&c->lock);
	return error;
}

/* The mount is not to be used after this. */
static void leave_mount(struct worker *w, bool served)
{
	struct channel *c = w->channel;
	struct mount *mount = w->job->mount;

	if (!mount)
		return;
	pthread_mutex_lock(&c->lock);
	if (served && w->job->opcode == FUSE_SETLKW)
		c->lockers--;
	channel_mount_leave(mount);
	pthread_mutex_unlock(&c->lock);
	w->job->mount = NULL;
}

/* Before it is answered, for which the guest has to read. */
static void tell_served(struct worker *w)
{
	if (w->job->opcode != FUSE_RELEASE || !w->job->mount)
		return;
	pthread_mutex_lock(&w->channel->lock);
	channel_mount_served(w->job->mount, w->job);
	pthread_mutex_unlock(&w->channel->lock);
}

static void serve_message(struct worker *w)
{
	struct channel *c = w->channel;
	struct job *job = w->job;
	struct tree_request request = {.message = job->message,
		.len = job->len,
		.payload = job->payload,
		.payload_len = job->payload_len};
	struct tree_answer answer = {.data = w->brief,
		.size = sizeof(w->brief),
		.grow = worker_grow,
		.waits = worker_waits,
		.user = w};
	int error = refuse_job(w), r = 0;
	struct err err;

	if (error == 0)
		r = tree_serve(job->mount->tree, &request, &answer);
	else
		answer_error(w, error, &answer);
	tell_served(w);
	/* Before the mount is left: answers to what was before an unmount come before
	 * those to what is behind it, where the kernel counts its requests anew. */
	if (r == 0) {
		place_answer(w, &answer);
		send_answer(w, &answer);
	}
	leave_mount(w, error == 0);
	if (r < 0) {
		err_set(&err, r,
			"mount %u: a message (opcode %u, %zu bytes) that no kernel sends",
			job->number, job->opcode, job->len + job->payload_len);
		channel_fail(c, &err);
	}
}

static void worker_serve(struct worker *w)
{
	w->slot = FILES_NO_SLOT;
	switch (w->job->kind) {
	case JOB_MESSAGE:
		serve_message(w);
		break;
	case JOB_DONE:
		send_note(w->channel, FILES_DONE, w->job);
		break;
	case JOB_CHANGED:
		send_note(w->channel, FILES_CHANGED, w->job);
		break;
	case JOB_RESET:
		channel_mount_reset(w->job->mount);
		break;
	case JOB_UNMOUNTED:
		break; /* never queued */
	}
	free(w->job);
}

static void *worker_main(void *arg)
{
	struct channel *c = arg;
	struct worker w = {.channel = c};

	pthread_mutex_lock(&c->lock);
	while ((w.job = worker_next(&w))) {
		pthread_mutex_unlock(&c->lock);
		worker_serve(&w);
		pthread_mutex_lock(&c->lock);
	}
	c->threads--;
	pthread_cond_broadcast(&c->left);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
