/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that is watched through a mount of this machine's own FUSE,
 * and the agent that tells its watchers what others change. */
#pragma once

#include "tests/unit/files_cases.h"

#include <poll.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>

#include "guest/replay.h"
#include "tests/lib/inotify_words.h"

/*
 * A test changes m->folder as anybody on the host would, and watches m->at as a process
 * of the guest. Between the two it is the agent: it does again what it is told of.
 */

/* ---- the agent ---- */

static dev_t mount_dev(const struct files_mount *m)
{
	struct statx stx;

	assert_int_equal(statx(AT_FDCWD, m->at, AT_STATX_DONT_SYNC, 0, &stx), 0);
	return makedev(stx.stx_dev_major, stx.stx_dev_minor);
}

struct replaying {
	const struct files_mount *m;
	dev_t dev;
	struct replay_outcome outcome;
	unsigned int rounds, rests;
	int r;
	struct err err;
};

static void *replay_main(void *arg)
{
	struct replaying *replaying = arg;

	replaying->r = replay_enter_thread(&replaying->err);
	do {
		if (replaying->r == 0)
			replaying->r = replay_mount(replaying->m->at, replaying->dev,
				&replaying->outcome, &replaying->err);
		replaying->rounds += replaying->outcome.again;
		replaying->rests += replaying->outcome.rest_ms > 0;
	} while (replaying->r == 0 && replaying->outcome.again);
	return NULL;
}

/* How many rounds there were. */
static unsigned int replay_now(const struct files_mount *m)
{
	struct replaying replaying = {.m = m, .dev = mount_dev(m)};
	pthread_t thread;

	assert_int_equal(thread_start(replay_main, &replaying, 0, false, &thread), 0);
	pthread_join(thread, NULL);
	if (replaying.r < 0)
		fail_msg("%s", replaying.err.text);
	assert_int_equal(replaying.rests, replaying.rounds);
	return replaying.rounds;
}

static void wait_changed(const struct files_mount *m)
{
	struct pollfd fds = {.fd = m->changed_fd, .events = POLLIN};

	assert_int_equal(poll(&fds, 1, deadline_poll_ms(soon())), 1);
}

/* ---- who watches ---- */

struct watching {
	const struct files_mount *m;
	int fd;
	unsigned int fences;
	char text[65536]; /* "CREATE name, MODIFY name, " of all watches */
	size_t len;
};

static struct watching watch_begin(const struct files_mount *m)
{
	struct watching w = {.m = m, .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};

	assert_true(w.fd >= 0);
	return w;
}

static void watch_name(struct watching *w, const char *name, uint32_t mask)
{
	_cleanup_free_ char *path = mount_path(w->m, name);

	assert_true(inotify_add_watch(w->fd, path, mask) >= 0);
}

static void add_event(struct watching *w, const struct inotify_event *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(inotify_words); i++)
		if (e->mask & inotify_words[i].bit)
			w->len += (size_t)snprintf(w->text + w->len,
				sizeof(w->text) - w->len, "%s%s%s%s, ",
				inotify_words[i].name, e->mask & IN_ISDIR ? "/" : "",
				e->len ? " " : "", e->len ? e->name : "");
	assert_true(w->len < sizeof(w->text));
}

static void read_events(struct watching *w)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while ((n = read(w->fd, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (void *)at;

			add_event(w, e);
			at += sizeof(*e) + e->len;
		}
}

/* Until a text is there that comes last. */
static void wait_text(struct watching *w, const char *text)
{
	int64_t deadline = soon();
	eventfd_t n;

	for (;;) {
		struct pollfd fds[] = {{.fd = w->fd, .events = POLLIN},
			{.fd = w->m->changed_fd, .events = POLLIN}};

		read_events(w);
		if (strstr(w->text, text))
			return;
		if (poll(fds, 2, deadline_poll_ms(deadline)) == 0)
			fail_msg("no %s in: %s", text, w->text);
		if (fds[1].revents && eventfd_read(w->m->changed_fd, &n) == 0)
			replay_now(w->m);
	}
}

/* A folder that is made now comes last; what was told before it is left in the text. */
static void wait_fence(struct watching *w)
{
	_cleanup_free_ char *path = xasprintf("%s/fence-%u", w->m->folder, w->fences);
	_cleanup_free_ char *last = xasprintf("CREATE/ fence-%u, ", w->fences++);

	assert_int_equal(mkdir(path, 0755), 0);
	wait_text(w, last);
	*strstr(w->text, last) = '\0';
}

static void assert_told(struct watching *w, const char *wanted)
{
	wait_fence(w);
	assert_string_equal(w->text, wanted);
	w->len = 0;
	w->text[0] = '\0';
}

static void watch_end(struct watching *w)
{
	close(w->fd);
}

/* What was changed before is told before, to nobody. */
static void settle(const struct files_mount *m)
{
	struct watching w = watch_begin(m);

	watch_name(&w, ".", IN_CREATE);
	w.fences = 1000;
	wait_fence(&w);
	watch_end(&w);
}

/* ---- the host ---- */

static char *host_path(const struct files_mount *m, const char *name)
{
	return xasprintf("%s/%s", m->folder, name);
}

#define HOST(m, name) _cleanup_free_ char *name = host_path(m, #name)

static void host_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}
