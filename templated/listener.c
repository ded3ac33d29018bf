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

/* The next connection: 1 with *ret_fd, 0 if it is to stop, or a negative errno. */
static int listener_accept(const struct listener *l, int *ret_fd)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = l->stop_fd, .events = POLLIN},
			{.fd = l->listen_fd, .events = POLLIN},
		};
		int fd = poll(fds, 2, -1);

		if (fd >= 0 && fds[0].revents)
			return 0;
		if (fd >= 0)
			fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			*ret_fd = fd;
			return 1;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
	}
}

void listener_run(const struct listener *l)
{
	int failure = 0, fd = -1, r;

	while ((r = listener_accept(l, &fd)) != 0) {
		if (r > 0) {
			l->admit(l->user, fd);
			failure = 0;
			continue;
		}
		if (r != failure)
			log_error("the %s socket serves nobody new until this is over: "
				  "cannot accept a connection: %s",
				l->what, strerror(-r));
		failure = r;
		l->wait_for_room(l->user);
	}
}
