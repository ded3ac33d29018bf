/* SPDX-License-Identifier: Apache-2.0 */
/* The channel: its mounts, who uses them, and how they end. */
#include <errno.h>
#include <linux/fuse.h>

#include "base/util.h"
#include "files/channel_internal.h"

/* What is being written when no process is there to write any more. */
#define FREEZE_WAIT_MS 10000

/* ---- turns ---- */

void channel_turns_init(struct turns *turns)
{
	*turns = (struct turns){0};
	turns->releases_end = &turns->releases;
	channel_jobs_init(&turns->locks);
}

void channel_turns_free(struct turns *turns)
{
	channel_jobs_free(&turns->locks);
}

static bool is_lock(const struct job *job)
{
	return job->opcode == FUSE_SETLK || job->opcode == FUSE_SETLKW ||
	       job->opcode == FUSE_GETLK;
}

/* True: it is kept until its turn comes. */
static bool turns_wait(struct turns *turns, struct job *job)
{
	if (job->opcode == FUSE_RELEASE) {
		job->turn = ++turns->last;
		job->next_release = NULL;
		*turns->releases_end = job;
		turns->releases_end = &job->next_release;
	}
	if (!is_lock(job) || !turns->releases)
		return false;
	job->turn = turns->last;
	channel_jobs_add(&turns->locks, job);
	return true;
}

static void turns_remove(struct turns *turns, struct job *release)
{
	struct job **at = &turns->releases;

	while (*at != release)
		at = &(*at)->next_release;
	*at = release->next_release;
	if (!*at)
		turns->releases_end = at;
}

void channel_mount_served(struct mount *mount, struct job *job)
{
	struct turns *turns = &mount->turns;

	if (job->opcode != FUSE_RELEASE)
		return;
	turns_remove(turns, job);
	while (turns->locks.first &&
		(!turns->releases || turns->locks.first->turn < turns->releases->turn))
		channel_queue(mount->channel, channel_jobs_take(&turns->locks));
}

/* ---- users ---- */

void channel_mount_leave(struct mount *mount)
{
	struct job *job;

	if (--mount->users > 0)
		return;
	if (mount->removing) {
		pthread_cond_broadcast(&mount->channel->left);
		return;
	}
	if (!mount->unmounting)
		return;
	job = channel_job_new(JOB_RESET, mount->number, 0);
	job->mount = mount;
	mount->users++;
	mount->resetting = true;
	channel_queue(mount->channel, job);
}

struct mount *channel_mount_enter(struct channel *c, unsigned int number)
{
	struct mount *mount = c->mounts[number];

	if (!mount || mount->unmounting)
		return NULL;
	mount->users++;
	return mount;
}

static void unuse_mount(struct mount *mount)
{
	struct channel *c = mount->channel;

	pthread_mutex_lock(&c->lock);
	channel_mount_leave(mount);
	pthread_mutex_unlock(&c->lock);
}

/* Of a mount that the caller uses; not any more after this. */
static void interrupt_and_leave(struct mount *mount)
{
	tree_interrupt_all(mount->tree);
	unuse_mount(mount);
}

void channel_mount_interrupt(struct mount *mount)
{
	struct channel *c = mount->channel;
	bool resetting;

	pthread_mutex_lock(&c->lock);
	resetting = mount->resetting;
	if (!resetting)
		mount->users++;
	pthread_mutex_unlock(&c->lock);
	if (!resetting)
		interrupt_and_leave(mount);
}

static void queue_message(struct mount *mount, struct job *job)
{
	mount->users++;
	job->mount = mount;
	if (!turns_wait(&mount->turns, job))
		channel_queue(mount->channel, job);
}

void channel_mount_message(struct channel *c, struct job *job)
{
	struct mount *mount = c->mounts[job->number];

	if (!mount) {
		channel_queue(c, job);
		return;
	}
	mount->used = true;
	if (mount->unmounting)
		channel_jobs_add(&mount->held, job);
	else
		queue_message(mount, job);
}

/* Twice without a message between is once,
 * so that no more of these are held than messages are. */
void channel_mount_unmounted(struct channel *c, unsigned int number)
{
	struct mount *mount;

	pthread_mutex_lock(&c->lock);
	mount = c->mounts[number];
	if (mount && !mount->used)
		mount = NULL;
	if (mount && mount->unmounting) {
		channel_jobs_add(&mount->held, channel_job_new(JOB_UNMOUNTED, number, 0));
		mount->used = false;
		mount = NULL;
	}
	if (mount) {
		mount->used = false;
		mount->unmounting = true;
		mount->users++;
	}
	pthread_mutex_unlock(&c->lock);
	if (mount)
		interrupt_and_leave(mount);
}

/* What was held goes on, up to the next end of the mount. With the lock. */
static void release_held(struct mount *mount)
{
	struct job *job;

	mount->unmounting = false;
	while (!mount->unmounting && (job = channel_jobs_take(&mount->held))) {
		if (job->kind == JOB_UNMOUNTED) {
			mount->unmounting = true;
			free(job);
		} else {
			queue_message(mount, job);
		}
	}
}

void channel_mount_reset(struct mount *mount)
{
	struct channel *c = mount->channel;
	bool again = false;

	tree_reset(mount->tree);
	pthread_mutex_lock(&c->lock);
	mount->resetting = false;
	if (!mount->removing) {
		release_held(mount);
		again = mount->unmounting;
	}
	pthread_mutex_unlock(&c->lock);
	if (again) {
		interrupt_and_leave(mount);
		return;
	}
	pthread_mutex_lock(&c->lock);
	channel_mount_leave(mount);
	pthread_mutex_unlock(&c->lock);
}

static void notify_guest(void *user, const void *message, size_t len)
{
	struct mount *mount = user;

	if (len > FILES_INLINE_BYTES)
		abort(); /* an invalidation has a header and a name */
	channel_send(mount->channel, &(struct outgoing){.kind = FILES_MESSAGE,
					     .number = mount->number,
					     .data = message,
					     .len = len,
					     .slot = FILES_NO_SLOT,
					     .done = FILES_NO_SLOT});
}

static void send_shrink(struct channel *c, unsigned int number)
{
	channel_send(c, &(struct outgoing){.kind = FILES_SHRINK,
				.number = number,
				.slot = FILES_NO_SLOT,
				.done = FILES_NO_SLOT});
}

void channel_shrink(struct channel *c)
{
	send_shrink(c, 0);
}

static void ask_to_forget(void *user)
{
	struct mount *mount = user;

	send_shrink(mount->channel, mount->number);
}

/* Not sent from here: who hears of changes must not wait for a guest that does not
 * read. */
static void queue_changed(void *user)
{
	struct mount *mount = user;
	struct channel *c = mount->channel;

	pthread_mutex_lock(&c->lock);
	channel_queue(c, channel_job_new(JOB_CHANGED, mount->number, 0));
	pthread_mutex_unlock(&c->lock);
}

int channel_add(struct channel *c, unsigned int number, int root_fd,
	const struct tree_options *options, struct err *err)
{
	struct tree_options own = *options;
	struct mount *mount;
	bool taken;
	int r;

	if (number >= FILES_MOUNTS_MAX)
		return err_set(err, -EINVAL, "mount %u; they are below %u", number,
			FILES_MOUNTS_MAX);
	pthread_mutex_lock(&c->lock);
	taken = c->mounts[number];
	pthread_mutex_unlock(&c->lock);
	if (taken)
		return err_set(err, -EEXIST, "mount %u has a tree", number);
	mount = xnew0(struct mount);
	mount->channel = c;
	mount->number = number;
	channel_jobs_init(&mount->held);
	channel_turns_init(&mount->turns);
	own.notify = notify_guest;
	own.crowded = ask_to_forget;
	own.changed = queue_changed;
	own.user = mount;
	r = tree_new(root_fd, &own, &mount->tree, err);
	if (r < 0) {
		free(mount);
		return r;
	}
	pthread_mutex_lock(&c->lock);
	c->mounts[number] = mount;
	c->mounts_end = MAX(c->mounts_end, number + 1);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static struct mount *use_mount(struct channel *c, unsigned int number)
{
	struct mount *mount;

	if (number >= FILES_MOUNTS_MAX)
		return NULL;
	pthread_mutex_lock(&c->lock);
	mount = channel_mount_enter(c, number);
	pthread_mutex_unlock(&c->lock);
	return mount;
}

int channel_freeze(struct channel *c, unsigned int number, struct err *err)
{
	struct mount *mount = use_mount(c, number);
	int r;

	if (!mount)
		return err_set(err, -ENOTCONN, "the guest has unmounted it");
	r = tree_freeze(mount->tree, deadline_after_ms(FREEZE_WAIT_MS));
	unuse_mount(mount);
	return r < 0 ? err_set(err, r, "the guest keeps files open for writing") : 0;
}

void channel_thaw(struct channel *c, unsigned int number)
{
	struct mount *mount = use_mount(c, number);

	if (!mount)
		return;
	tree_thaw(mount->tree);
	unuse_mount(mount);
}

/* From here on nobody finds it, and its requests end soon. With the lock. */
static void begin_removing(struct channel *c, struct mount *mount)
{
	struct job *job;

	c->mounts[mount->number] = NULL;
	mount->removing = true;
	pthread_cond_broadcast(&c->slot_freed);
	while ((job = channel_jobs_take(&mount->held))) {
		if (job->kind == JOB_MESSAGE)
			channel_queue(c, job);
		else
			free(job);
	}
}

void channel_remove(struct channel *c, unsigned int number)
{
	struct mount *mount;

	if (number >= FILES_MOUNTS_MAX)
		return;
	pthread_mutex_lock(&c->lock);
	mount = c->mounts[number];
	if (mount)
		begin_removing(c, mount);
	pthread_mutex_unlock(&c->lock);
	if (!mount)
		return;
	channel_mount_interrupt(mount);
	pthread_mutex_lock(&c->lock);
	/* Once the channel has ended nobody serves the queue: channel_free() waits for
	 * the workers and frees the rest. */
	while (mount->users > 0 && !c->ended)
		pthread_cond_wait(&c->left, &c->lock);
	if (mount->users > 0) {
		c->mounts[number] = mount;
		mount = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (!mount)
		return;
	tree_free(mount->tree);
	free(mount);
}
