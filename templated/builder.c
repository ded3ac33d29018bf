/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder: see builder.h.
 *
 * A build is one thread that goes straight from the inputs to the published generation
 * (build.c). Whoever asked for it follows its steps by number: the ticket counts builds,
 * so that one who wakes up late sees that his has ended, and its result is kept until the
 * next one ends.
 *
 * Cancelling: the build can be anywhere in vm_boot(), which has no handle to stop it by.
 * Its VM writes its process down in its folder before QEMU is executed; whoever cancels
 * waits for that file with inotify and kills what it names. vm_boot() then fails as for
 * any QEMU that dies.
 */
#include "templated/builder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "templated/build.h"
#include "templated/daemon.h"
#include "vm/record.h"

struct builder {
	struct daemon *daemon;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool running, closed;
	uint64_t builds; /* the number of the one that runs, or ran last */
	enum build_step step;
	int64_t began_ms, ended_ms;
	struct build_result last; /* of build number `builds`, once it has ended */
	struct build
		build; /* of the thread; the builder looks at `cancelled` and `dir` */
	int ended_fd;  /* eventfd: a canceller that waits for inotify hears of the end */
};

static const char *const step_names[BUILD_STEPS] = {
	[BUILD_STARTING] = "starting",
	[BUILD_BOOTING] = "booting",
	[BUILD_AGENT_UP] = "agent up",
	[BUILD_COMPACTING] = "compacting",
	[BUILD_SAVED] = "saved",
};

const char *build_step_name(enum build_step step)
{
	return step_names[step];
}

struct builder *builder_new(struct daemon *d)
{
	struct builder *b = xnew0(struct builder);

	b->daemon = d;
	pthread_mutex_init(&b->lock, NULL);
	cond_init(&b->changed);
	b->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return b;
}

void builder_free(struct builder *b)
{
	if (!b)
		return;
	builder_cancel(b);
	close_fd(b->ended_fd);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ---- the thread ---- */

/* Called by the build between its steps: where it is, and whether it shall go on. */
static int at_step(void *user, enum build_step step)
{
	struct builder *b = user;
	int r;

	pthread_mutex_lock(&b->lock);
	b->step = step;
	r = b->build.cancelled ? -ECANCELED : 0;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	log_info("template: %s", step_names[step]);
	return r;
}

static void log_result(const struct build_result *result, int64_t ms)
{
	if (result->code < 0)
		log_error("no new template, what there was goes on serving: %s",
			result->err.text);
	else if (result->built)
		log_info("generation %s is published after %lld ms", result->id,
			(long long)ms);
	else
		log_info("generation %s is up to date", result->id);
}

static void *run(void *arg)
{
	struct builder *b = arg;
	struct build_result result = {0};

	result.code = build_run(&b->build, &result);
	pthread_mutex_lock(&b->lock);
	/* Whatever a killed QEMU looked like from inside. */
	if (result.code < 0 && b->build.cancelled)
		result.code = err_set(&result.err, -ECANCELED, "the build was cancelled");
	pthread_mutex_unlock(&b->lock);
	if (result.built || result.code < 0)
		stats_build(&b->daemon->stats, result.code);
	log_result(&result, now_ms() - b->began_ms);
	pthread_mutex_lock(&b->lock);
	b->last = result;
	b->ended_ms = now_ms();
	b->running = false;
	free(steal_ptr(b->build.dir));
	eventfd_write(b->ended_fd, 1);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

static int start(struct builder *b, bool force, struct err *err)
{
	eventfd_t drained;
	int r;

	b->build = (struct build){
		.daemon = b->daemon, .force = force, .at_step = at_step, .user = b};
	b->step = BUILD_STARTING;
	b->began_ms = now_ms();
	if (eventfd_read(b->ended_fd, &drained) < 0 && errno != EAGAIN)
		return err_sys(err, errno, "eventfd");
	r = thread_start(run, b, 512 << 10, true, NULL);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	b->running = true;
	b->builds++;
	return 0;
}

int builder_start(struct builder *b, bool force, uint64_t *ret_ticket, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&b->lock);
	/* One that only looks whether there is something to build is over in a moment,
	 * and may leave things as they are: not what was asked for. */
	while (force && b->running && !b->build.force && b->step == BUILD_STARTING)
		pthread_cond_wait(&b->changed, &b->lock);
	if (b->closed)
		r = err_set(err, -ECANCELED, "templated is ending");
	else if (!b->running)
		r = start(b, force, err);
	if (r == 0 && ret_ticket)
		*ret_ticket = b->builds;
	pthread_mutex_unlock(&b->lock);
	return r;
}

bool builder_follow(struct builder *b, uint64_t ticket, enum build_step *step,
	struct build_result *ret)
{
	bool goes_on;

	pthread_mutex_lock(&b->lock);
	while (b->running && b->builds == ticket && b->step <= *step)
		pthread_cond_wait(&b->changed, &b->lock);
	/* A step that was missed while the client was slow is told before the end. */
	goes_on = b->builds == ticket && b->step > *step;
	if (goes_on)
		*step = *step + 1;
	else
		*ret = b->last;
	pthread_mutex_unlock(&b->lock);
	return goes_on;
}

/* ---- cancelling ---- */

/* Kills the QEMU that is written down in dir: 0, or -EAGAIN if there is none yet. */
static int kill_recorded(const char *dir)
{
	_cleanup_close_ int pidfd = -1;
	struct vm_record record;
	int r;

	r = vm_record_read(dir, &record, NULL);
	if (r == -ENOENT || (r == 0 && record.qemu.pid == 0))
		return -EAGAIN;
	if (r == 0)
		r = proc_open(&record.qemu, &pidfd);
	if (r == 0)
		r = pidfd_kill(pidfd, SIGKILL);
	return r;
}

/* Kills the build's QEMU as soon as there is one, or returns when the build has ended. */
static void kill_vm(struct builder *b, const char *dir)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd fds[2] = {
		{.fd = watch, .events = POLLIN}, {.fd = b->ended_fd, .events = POLLIN}};
	char events[4096];

	if (watch < 0 || inotify_add_watch(watch, dir, IN_MOVED_TO | IN_DELETE_SELF) < 0)
		return;
	while (kill_recorded(dir) == -EAGAIN) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents ||
			(read(watch, events, sizeof(events)) < 0 && errno != EAGAIN))
			return;
	}
}

void builder_cancel(struct builder *b)
{
	_cleanup_free_ char *dir = NULL;

	pthread_mutex_lock(&b->lock);
	if (b->running) {
		b->build.cancelled = true;
		/* The folder's name is set before the step that makes a VM is announced,
		 * so either the build stops at that announcement or there is a folder to
		 * watch. */
		if (b->step >= BUILD_BOOTING)
			dir = xstrdup(b->build.dir);
	}
	pthread_mutex_unlock(&b->lock);
	if (dir)
		kill_vm(b, dir);
	pthread_mutex_lock(&b->lock);
	while (b->running)
		pthread_cond_wait(&b->changed, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

void builder_close(struct builder *b)
{
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	pthread_mutex_unlock(&b->lock);
	builder_cancel(b);
}

/* ---- what it says of itself ---- */

bool builder_excuse(struct builder *b, char *buf, size_t size)
{
	bool running;

	pthread_mutex_lock(&b->lock);
	running = b->running;
	if (running)
		snprintf(buf, size, "the template is being built (%s)",
			step_names[b->step]);
	else if (b->builds > 0 && b->last.code < 0)
		snprintf(buf, size, "there is no template, its last build failed: %.400s",
			b->last.err.text);
	else
		snprintf(buf, size, "there is no template; templatectl init makes one");
	pthread_mutex_unlock(&b->lock);
	return running;
}

static struct json_object *last_to_json(const struct builder *b)
{
	struct json_object *obj = json_object_new_object();

	json_set_bool(obj, "ok", b->last.code == 0);
	if (b->last.code < 0)
		json_set_string(obj, "error", b->last.err.text);
	else
		json_set_string(obj, "generation", b->last.id);
	json_set_i64(obj, "ms", b->ended_ms - b->began_ms);
	json_set_i64(obj, "age_s", (now_ms() - b->ended_ms) / 1000);
	return obj;
}

struct json_object *builder_status(struct builder *b)
{
	struct json_object *obj = json_object_new_object();

	pthread_mutex_lock(&b->lock);
	json_set_bool(obj, "running", b->running);
	if (b->running) {
		json_set_string(obj, "step", step_names[b->step]);
		json_set_i64(obj, "ms", now_ms() - b->began_ms);
	} else if (b->builds > 0) {
		json_object_object_add(obj, "last", last_to_json(b));
	}
	pthread_mutex_unlock(&b->lock);
	return obj;
}
