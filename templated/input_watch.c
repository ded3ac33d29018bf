/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hearing of changed files: see input_watch.h.
 *
 * After each change all watches are made anew, in a new inotify instance: what a path
 * leads over may be something else by now. The new ones stand before anybody looks at the
 * files, and the former ones until then, so nothing can change unseen in between: what
 * they heard after reload() had begun is a change of its own.
 */
#include "templated/input_watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

#define LINKS_MAX 40 /* as the kernel's own limit */
#define WATCH_MASK                                                                       \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE |          \
		IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* What matters in a watched folder. */
struct interest {
	int wd;
	char *name; /* NULL: anything */
};

struct watches {
	int inotify_fd;
	struct interest *interests;
	size_t n;
};

struct input_watch {
	struct input_watch_options o;
	pthread_t thread;
	int timer_fd, poke_fd, stop_fd;
	struct watches now;
	int64_t first_ms; /* of the events that have not settled; 0: none */
	bool deaf;        /* it was said that watching fails */
};

/* ---- what is watched ---- */

static void watches_done(struct watches *old)
{
	for (size_t i = 0; i < old->n; i++)
		free(old->interests[i].name);
	free(old->interests);
	close_fd(old->inotify_fd);
}

static void watches_add_folder(
	struct input_watch *w, const char *folder, const char *name)
{
	struct watches *now = &w->now;
	int wd = inotify_add_watch(now->inotify_fd, *folder ? folder : "/", WATCH_MASK);

	if (wd < 0) {
		/* A folder that was there a moment ago: its parent's watch tells. */
		if (errno != ENOENT && errno != ENOTDIR && !w->deaf)
			log_warn("changes in %s will go unnoticed: %s",
				err_quote(folder, 256), strerror(errno));
		w->deaf = w->deaf || (errno != ENOENT && errno != ENOTDIR);
		return;
	}
	now->interests =
		xreallocarray(now->interests, now->n + 1, sizeof(*now->interests));
	now->interests[now->n++] =
		(struct interest){.wd = wd, .name = name ? xstrdup(name) : NULL};
}

/* Where a link in `folder` leads, with what follows behind it; NULL if it is none any
 * more. The caller's. */
static char *follow_link(const char *link, const char *folder, const char *rest)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	return *target == '/' ? xasprintf("%s/%s", target, rest)
			      : xasprintf("%s/%s/%s", folder, target, rest);
}

/* One step from *at, the path of a folder without links. 0: on; 1: the end; else as
 * errno. */
static int input_watch_take_step(struct input_watch *w, char **at, const char *name,
	const char *rest, char **ret_instead)
{
	char *next = xasprintf("%s/%s", *at, name);
	struct stat st;
	int r = 0;

	if (strcmp(name, "..") != 0)
		watches_add_folder(w, *at, name);
	if (lstat(next, &st) < 0)
		r = -errno;
	else if (S_ISLNK(st.st_mode))
		*ret_instead = follow_link(next, *at, rest);
	else if (!S_ISDIR(st.st_mode))
		r = 1;
	free(*at);
	*at = next;
	return r;
}

static void add_path(struct input_watch *w, const char *path, bool folder, int links)
{
	_cleanup_free_ char *at = xstrdup(""), *instead = NULL;
	int r = 0;

	while (r == 0 && *(path += strspn(path, "/"))) {
		_cleanup_free_ char *name = xstrndup(path, strcspn(path, "/"));

		path += strlen(name);
		if (strcmp(name, ".") != 0)
			r = input_watch_take_step(w, &at, name, path, &instead);
		if (!instead)
			continue;
		if (links < LINKS_MAX)
			add_path(w, instead, folder, links + 1);
		return;
	}
	if (r == 0 && folder)
		watches_add_folder(w, at, NULL);
}

void input_watch_add(struct input_watch *w, const char *path, bool folder)
{
	add_path(w, path, folder, 0);
}

/* ---- events ---- */

static bool watches_want_event(const struct watches *w, const struct inotify_event *e)
{
	if (e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
		return true;
	for (size_t i = 0; i < w->n; i++)
		if (w->interests[i].wd == e->wd && e->len > 0 &&
			(!w->interests[i].name ||
				strcmp(w->interests[i].name, e->name) == 0))
			return true;
	return false;
}

static bool read_events(const struct watches *w)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;
	ssize_t n;

	while ((n = read(w->inotify_fd, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const void *)p;

			any = any || watches_want_event(w, e);
			p += sizeof(*e) + e->len;
		}
	}
	return any;
}

static void set_timer(struct input_watch *w, int64_t at_ms)
{
	struct itimerspec spec = {
		.it_value = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000}};

	timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void note_event(struct input_watch *w)
{
	int64_t now = now_ms();

	if (w->first_ms == 0)
		w->first_ms = now;
	set_timer(w, MIN(now + w->o.settle_ms, w->first_ms + w->o.limit_ms));
}

/* ---- making them anew ---- */

static void input_watch_renew(struct input_watch *w)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct watches old = w->now;

	if (fd < 0) {
		log_warn("files that are changed may go unnoticed, until SIGHUP: "
			 "inotify: %s",
			strerror(errno));
		return;
	}
	w->now = (struct watches){.inotify_fd = fd};
	w->deaf = false;
	w->o.list(w->o.user, w);
	if (read_events(&old))
		note_event(w);
	watches_done(&old);
}

static void input_watch_settle(struct input_watch *w, bool asked)
{
	/* What was heard up to here is seen by reload(). */
	read_events(&w->now);
	w->first_ms = 0;
	set_timer(w, 0);
	w->o.reload(w->o.user);
	input_watch_renew(w);
	w->o.look(w->o.user, asked);
}

static void *input_watch_main(void *arg)
{
	struct input_watch *w = arg;
	uint64_t count;

	for (;;) {
		struct pollfd fds[] = {
			{.fd = w->stop_fd, .events = POLLIN},
			{.fd = w->poke_fd, .events = POLLIN},
			{.fd = w->timer_fd, .events = POLLIN},
			{.fd = w->now.inotify_fd, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents && read(w->poke_fd, &count, sizeof(count)) > 0)
			input_watch_settle(w, true);
		else if (fds[2].revents && read(w->timer_fd, &count, sizeof(count)) > 0)
			input_watch_settle(w, false);
		else if (fds[3].revents && read_events(&w->now))
			note_event(w);
	}
}

/* ---- life ---- */

static void input_watch_free(struct input_watch *w)
{
	watches_done(&w->now);
	close_fd(w->timer_fd);
	close_fd(w->poke_fd);
	close_fd(w->stop_fd);
	free(w);
}

int input_watch_start(const struct input_watch_options *options, struct input_watch **ret,
	struct err *err)
{
	struct input_watch *w = xnew0(struct input_watch);
	int r = 0;

	w->o = *options;
	w->now.inotify_fd = -1;
	w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	w->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (w->timer_fd < 0 || w->poke_fd < 0 || w->stop_fd < 0) {
		r = err_sys(err, errno, "cannot watch files");
	} else {
		input_watch_renew(w);
		/* What changed before there was a watch may lead elsewhere. */
		w->o.reload(w->o.user);
		input_watch_renew(w);
		r = thread_start(input_watch_main, w, 256 << 10, false, &w->thread);
		if (r < 0)
			err_sys(err, r, "cannot start a thread");
	}
	if (r < 0)
		input_watch_free(w);
	else
		*ret = w;
	return r;
}

void input_watch_poke(struct input_watch *w)
{
	thread_wake(w->poke_fd);
}

void input_watch_stop(struct input_watch *w)
{
	if (!w)
		return;
	thread_wake(w->stop_fd);
	pthread_join(w->thread, NULL);
	input_watch_free(w);
}
