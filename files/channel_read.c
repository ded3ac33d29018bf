/* SPDX-License-Identifier: Apache-2.0 */
/* The channel: what the guest sends, checked. */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>

#include "base/util.h"
#include "files/channel_internal.h"

/* ---- frames ---- */

/* A slot that the server gave to the guest comes back. */
static int take_done(struct channel *c, unsigned int slot, struct err *err)
{
	bool given;

	if (slot == FILES_NO_SLOT)
		return 0;
	pthread_mutex_lock(&c->lock);
	given = slot >= FILES_GUEST_SLOTS && slot < FILES_SLOTS &&
		c->slots[slot] == SLOT_GUEST;
	pthread_mutex_unlock(&c->lock);
	if (!given)
		return err_set(err, -EPROTO,
			"slot %u is given back, which the guest does not have", slot);
	channel_slot_free(c, (uint8_t)slot);
	return 0;
}

/* A slot of the guest's is the server's from now on. */
static int take_slot(struct channel *c, unsigned int slot, struct err *err)
{
	bool was_free = false;

	if (slot == FILES_NO_SLOT)
		return 0;
	if (slot >= FILES_GUEST_SLOTS)
		return err_set(err, -EPROTO, "slot %u is not the guest's to fill", slot);
	pthread_mutex_lock(&c->lock);
	if (c->slots[slot] == SLOT_FREE) {
		c->slots[slot] = SLOT_OURS;
		was_free = true;
	}
	pthread_mutex_unlock(&c->lock);
	return was_free ? 0
			: err_set(err, -EPROTO,
				  "slot %u is filled, which the server still has", slot);
}

static int check_length(const struct files_frame *f, struct err *err)
{
	uint32_t max = f->slot == FILES_NO_SLOT ? FILES_INLINE_BYTES : FILES_SLOT_BYTES;

	if (f->kind == FILES_MESSAGE) {
		if (f->length < sizeof(struct fuse_in_header) || f->length > max)
			return err_set(err, -EPROTO,
				"a message of %u bytes; %zu to %u are possible",
				f->length, sizeof(struct fuse_in_header), max);
		return 0;
	}
	if (f->length != 0 || f->slot != FILES_NO_SLOT)
		return err_set(err, -EPROTO,
			"a frame of kind %u with a message of %u bytes", f->kind,
			f->length);
	return 0;
}

static int check_frame(const struct files_frame *f, struct err *err)
{
	if (f->kind != FILES_MESSAGE && f->kind != FILES_DONE &&
		f->kind != FILES_UNMOUNTED)
		return err_set(err, -EPROTO, "a frame of kind %u, which no guest sends",
			f->kind);
	if (f->credited || f->zero[0] || f->zero[1])
		return err_set(err, -EPROTO, "a frame whose last bytes are not zero");
	if (f->mount >= FILES_MOUNTS_MAX)
		return err_set(err, -EPROTO, "mount %u; they are below %u", f->mount,
			FILES_MOUNTS_MAX);
	if (f->kind == FILES_DONE && f->done == FILES_NO_SLOT)
		return err_set(err, -EPROTO, "a frame that gives nothing back");
	return check_length(f, err);
}

/* ---- messages ---- */

/*
 * The message as the server's own. From the window each byte is read once: first the
 * header, which says whether the rest is data that stays where it is.
 */
static int copy_message(const struct channel *c, const struct files_frame *f,
	const uint8_t *follows, struct job **ret, struct err *err)
{
	bool in_slot = f->slot != FILES_NO_SLOT;
	const uint8_t *from = in_slot ? channel_slot(c, f->slot) : follows;
	uint8_t head[TREE_WRITE_HEADER];
	size_t n = MIN((size_t)f->length, sizeof(head)), private = f->length;
	struct fuse_in_header in;
	struct job *job;

	memcpy(head, from, n);
	memcpy(&in, head, sizeof(in));
	if (in.len != f->length)
		return err_set(err, -EPROTO, "a message of %u bytes that says it has %u",
			f->length, in.len);
	if (in_slot && in.opcode == FUSE_WRITE)
	private = n;
	job = channel_job_new(JOB_MESSAGE, f->mount, private);
	memcpy(job->message, head, n);
	memcpy(job->message + n, from + n, private - n);
	if (private < f->length) {
		job->payload = from + n;
		job->payload_len = f->length - n;
	}
	job->slot = f->slot;
	job->opcode = in.opcode;
	job->unique = in.unique;
	*ret = job;
	return 0;
}

/* What has no answer and takes no credit. */
static bool is_one_way(const struct job *job)
{
	return job->opcode == FUSE_FORGET || job->opcode == FUSE_BATCH_FORGET ||
	       job->opcode == FUSE_INTERRUPT;
}

static uint8_t *grow_nothing(void *user, size_t size)
{
	(void)user;
	(void)size;
	return NULL;
}

static void wait_for_nothing(void *user)
{
	(void)user;
}

/* One that neither grows nor waits, as the reader can give it. */
static struct tree_answer answer_brief(uint8_t *data, size_t size)
{
	return (struct tree_answer){.data = data,
		.size = size,
		.grow = grow_nothing,
		.waits = wait_for_nothing};
}

/* A FUSE_FORGET comes after the answer that it is about, by the guest's kernel's own
 * order. A FUSE_INTERRUPT may overtake what it is for; the tree remembers it. */
static int serve_one_way(struct channel *c, const struct job *job)
{
	_Alignas(8) uint8_t unused[4096];
	struct tree_request request = {.message = job->message, .len = job->len};
	struct tree_answer answer = answer_brief(unused, sizeof(unused));
	struct mount *mount;
	int r;

	pthread_mutex_lock(&c->lock);
	mount = channel_mount_enter(c, job->number);
	pthread_mutex_unlock(&c->lock);
	if (!mount)
		return 0;
	r = tree_serve(mount->tree, &request, &answer);
	pthread_mutex_lock(&c->lock);
	channel_mount_leave(mount);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int take_one_way(struct channel *c, struct job *job, struct err *err)
{
	int r = serve_one_way(c, job);
	struct job *done;

	if (r < 0)
		err_set(err, r,
			"mount %u: a message (opcode %u, %zu bytes) that no kernel sends",
			job->number, job->opcode, job->len);
	/* Not sent from here: who reads must not wait for a guest that does not. */
	if (job->slot != FILES_NO_SLOT) {
		done = channel_job_new(JOB_DONE, job->number, 0);
		done->slot = job->slot;
		pthread_mutex_lock(&c->lock);
		channel_queue(c, done);
		pthread_mutex_unlock(&c->lock);
	}
	free(job);
	return r < 0 ? r : 0;
}

/* ---- requests ---- */

/*
 * What needs no waiting is served here: to wake a worker takes longer than to look up a
 * name that is in memory. 1: it is done. (That the guest does not read its answers is its
 * own affair: it has only this channel, and its own kernel waits for them.)
 */
static int serve_at_once(struct channel *c, const struct job *job)
{
	_Alignas(8) uint8_t brief[4096];
	struct tree_request request = {.message = job->message, .len = job->len};
	struct tree_answer answer = answer_brief(brief, sizeof(brief));
	struct mount *mount;
	int r;

	pthread_mutex_lock(&c->lock);
	mount = channel_mount_enter(c, job->number);
	if (mount)
		mount->used = true;
	pthread_mutex_unlock(&c->lock);
	if (!mount)
		return 0;
	r = tree_serve_at_once(mount->tree, &request, &answer);
	if (r > 0)
		channel_send(c, &(struct outgoing){.kind = FILES_MESSAGE,
					.number = job->number,
					.data = answer.data,
					.len = answer.len,
					.slot = FILES_NO_SLOT,
					.done = FILES_NO_SLOT});
	pthread_mutex_lock(&c->lock);
	channel_mount_leave(mount);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int check_request(struct channel *c, const struct job *job, struct err *err)
{
	unsigned int held;

	pthread_mutex_lock(&c->lock);
	held = c->held;
	pthread_mutex_unlock(&c->lock);
	if (held >= FILES_CREDITS)
		return err_set(
			err, -EPROTO, "more than %u messages at a time", FILES_CREDITS);
	if (job->unique == 0)
		return err_set(err, -EPROTO, "mount %u: a request without a number",
			job->number);
	return 0;
}

static int take_request(struct channel *c, struct job *job, struct err *err)
{
	int r = check_request(c, job, err);

	/* A wrong one is found out by who serves it. */
	if (r == 0 && job->slot == FILES_NO_SLOT && serve_at_once(c, job) > 0) {
		free(job);
		return 0;
	}
	if (r < 0) {
		free(job);
		return r;
	}
	pthread_mutex_lock(&c->lock);
	c->held++;
	channel_mount_message(c, job);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int take_message(struct channel *c, const struct files_frame *f,
	const uint8_t *follows, struct err *err)
{
	struct job *job = NULL;
	int r;

	r = take_slot(c, f->slot, err);
	if (r == 0)
		r = copy_message(c, f, follows, &job, err);
	if (r < 0)
		return r;
	return is_one_way(job) ? take_one_way(c, job, err) : take_request(c, job, err);
}

int channel_take_frames(struct channel *c, const uint8_t *data, size_t size,
	size_t *ret_used, struct err *err)
{
	struct files_frame f;
	size_t at = 0;
	int r = 0;

	while (r == 0 && size - at >= sizeof(f)) {
		size_t whole = sizeof(f);

		memcpy(&f, data + at, sizeof(f));
		r = check_frame(&f, err);
		if (r < 0)
			break;
		if (f.slot == FILES_NO_SLOT)
			whole += f.length;
		if (size - at < whole)
			break;
		r = take_done(c, f.done, err);
		if (r == 0 && f.kind == FILES_MESSAGE)
			r = take_message(c, &f, data + at + sizeof(f), err);
		else if (r == 0 && f.kind == FILES_UNMOUNTED)
			channel_mount_unmounted(c, f.mount);
		at += whole;
	}
	*ret_used = at;
	return r;
}
