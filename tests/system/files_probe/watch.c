/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells what inotify says, until the end of standard input: "watching", and a line for
 * each event, with the number of the path in the order of the arguments (from 1):
 *
 *	1 CREATE name
 *	2 MODIFY
 *
 * Of a path behind a "+" only what is made is told.
 */
#include "tests/system/files_probe/probe.h"

#include <poll.h>

#include "tests/lib/inotify_words.h"

#define WATCHED                                                                          \
	(IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE |      \
		IN_DELETE_SELF | IN_MOVE_SELF)

static void tell_event(const struct inotify_event *event)
{
	for (size_t i = 0; i < ARRAY_SIZE(inotify_words); i++)
		if (event->mask & inotify_words[i].bit)
			printf("%d %s%s%s%s\n", event->wd, inotify_words[i].name,
				event->mask & IN_ISDIR ? "/" : "", event->len ? " " : "",
				event->len ? event->name : "");
}

static void tell_events(int fd)
{
	char bytes[16384] __attribute__((aligned(8)));
	ssize_t size = must("read", read(fd, bytes, sizeof(bytes)));

	for (char *at = bytes; at < bytes + size;) {
		struct inotify_event *event = (struct inotify_event *)at;

		tell_event(event);
		at += sizeof(*event) + event->len;
	}
}

int mode_watch(char **args)
{
	int fd = must("inotify", inotify_init1(IN_CLOEXEC));
	struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};

	for (char **path = args; *path; path++)
		must("watch", **path == '+' ? inotify_add_watch(fd, *path + 1, IN_CREATE)
					    : inotify_add_watch(fd, *path, WATCHED));
	printf("watching\n");
	while (!fds[0].revents) {
		must("poll", poll(fds, ARRAY_SIZE(fds), -1));
		if (fds[1].revents)
			tell_events(fd);
	}
	return 0;
}
