/* SPDX-License-Identifier: Apache-2.0 */
/* stencil-files UID: a pod's file server. Its descriptors are those of control.h. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "files/blanks.h"
#include "files/control.h"
#include "files/jail.h"
#include "files/keeper.h"
#include "files/room.h"
#include "files/watch.h"

/* Numbers of ids that are none. */
#define UID_MIN 1
#define UID_MAX 4294967294

static struct channel *channel;

/* How long a request waits for what the guest forgets:
 * it takes a busy one less than a second. */
#define ROOM_WAIT_MS 5000

/*
 * Each inode and each open file is a descriptor: five eighths for inodes, of which a
 * guest has most, two for open files; what is left is for trees, and for what a request
 * opens meanwhile. With jail.c's number that is 160 Ki inodes, each some 1.5 KiB of the
 * kernel's memory.
 */
static struct tree_options tree_limits(unsigned int descriptors, struct keeper *keeper)
{
	static struct room room;

	room_init(&room, descriptors / 8 * 5, descriptors / 4, ROOM_WAIT_MS);
	return (struct tree_options){.room = &room, .keeper = keeper};
}

/* Overlays would lose their marks without a word. */
static void on_keeper_ended(int sig)
{
	static const char text[] =
		"stencil-files: the keeper has ended: so does the server\n";

	(void)sig;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(EXIT_FAILURE);
}

static int start_keeper(uid_t uid, struct keeper **ret, struct err *err)
{
	struct sigaction action = {
		.sa_handler = on_keeper_ended, .sa_flags = SA_NOCLDSTOP};

	if (sigaction(SIGCHLD, &action, NULL) < 0)
		return err_sys(err, errno, "sigaction");
	return keeper_new(uid, ret, err);
}

/* The shim is gone, and with it the pod: nothing is left to be done in order. */
static void *control_main(void *arg)
{
	const struct tree_options *limits = arg;
	struct err err = ERR_INIT;

	if (control_run(FILES_FD_CONTROL, channel, limits, &err) < 0) {
		log_error("the file server ends: %s", err.text);
		_exit(EXIT_FAILURE);
	}
	_exit(EXIT_SUCCESS);
}

static int parse_uid(int argc, char **argv, uid_t *ret, struct err *err)
{
	unsigned long long uid;
	char *end;

	if (argc != 2 || *argv[1] < '0' || *argv[1] > '9')
		return err_set(err, -EINVAL, "a uid is wanted as the only argument");
	errno = 0;
	uid = strtoull(argv[1], &end, 10);
	if (errno || *end || uid < UID_MIN || uid > UID_MAX)
		return err_set(err, -EINVAL, "%s is no uid that it may have",
			err_quote(argv[1], 32));
	*ret = (uid_t)uid;
	return 0;
}

static int start_server(int argc, char **argv, struct err *err)
{
	static struct tree_options limits;
	static struct blanks blanks;
	struct keeper *keeper = NULL;
	unsigned int descriptors = 0;
	uid_t uid = 0;
	int r;

	umask(0);
	/* One arena for all threads: what they allocate is small and short-lived. */
	mallopt(M_ARENA_MAX, 1);
	r = parse_uid(argc, argv, &uid, err);
	if (r == 0)
		r = jail_close_others(FILES_FD_FIRST, err);
	if (r == 0)
		r = start_keeper(uid, &keeper, err);
	if (r == 0)
		r = tree_prepare(err);
	if (r == 0)
		r = blanks_open(&blanks, err);
	/* The keeper puts up its walls meanwhile. */
	if (r == 0)
		r = jail_enter(uid, &descriptors, err);
	if (r == 0)
		r = keeper_wait(keeper, err);
	/* What libseccomp has left behind. */
	malloc_trim(0);
	if (r == 0)
		r = channel_new(FILES_FD_CHANNEL, FILES_FD_WINDOW, &channel, err);
	if (r < 0)
		return r;
	limits = tree_limits(descriptors, keeper);
	limits.watch = watch_new();
	limits.blanks = &blanks;
	r = thread_start(control_main, &limits, CHANNEL_STACK_BYTES, true, NULL);
	return r < 0 ? err_sys(err, r, "cannot start a thread") : 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	int r;

	log_init("files", STDERR_FILENO, LOG_LEVEL_INFO);
	r = start_server(argc, argv, &err);
	if (control_answer(FILES_FD_CONTROL, CONTROL_ID_START, &err) < 0 || r < 0) {
		log_error("the file server cannot start: %s",
			r < 0 ? err.text : "nobody waits for it");
		return EXIT_FAILURE;
	}
	r = channel_run(channel, &err);
	if (r < 0)
		log_error("the file server ends, and with it the pod: %s", err.text);
	/* Requests may be waiting for a disk: they end with the process. */
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
