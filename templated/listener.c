/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting connections: see listener.h.
 *
 * A socket that the service manager passed is the same one that it keeps for the next
 * templated, with its O_NONBLOCK and its end: shutdown(2) would end it for good. So one
 * that accepts is stopped by another descriptor.
 */
#include "templated/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

int listener_prepare(int listen_fd)
{
	int flags = fcntl(listen_fd, F_GETFL);

	return flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno
									      : 0;
}

int listener_accept(int listen_fd, int stop_fd)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = stop_fd, .events = POLLIN},
			{.fd = listen_fd, .events = POLLIN},
		};
		int fd = poll(fds, 2, -1);

		if (fd >= 0 && fds[0].revents)
			return -ECANCELED;
		if (fd >= 0)
			fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
	}
}

void listener_run(int listen_fd, int stop_fd, const char *what,
	void (*admit)(void *user, int fd), void (*wait_for_room)(void *user), void *user)
{
	int failure = 0;

	for (;;) {
		int fd = listener_accept(listen_fd, stop_fd);

		if (fd == -ECANCELED)
			return;
		if (fd >= 0) {
			admit(user, fd);
			failure = 0;
			continue;
		}
		if (fd != failure)
			log_error("the %s socket serves nobody new until this is over: "
				  "cannot accept a connection: %s",
				what, strerror(-fd));
		failure = fd;
		wait_for_room(user);
	}
}
