/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the other end of a virtio-serial port. */
#include <errno.h>
#include <sys/epoll.h>

#include "base/ttrpc/ttrpc.h"
#include "base/util.h"

/*
 * While the host's end is closed poll(2) returns at once with POLLHUP, so it cannot wait
 * for the opening. The driver wakes the port's wait queue when the host opens it, and
 * epoll's edge trigger tells of wake-ups instead of states.
 */
int ttrpc_port_wait(int fd, int64_t deadline)
{
	_cleanup_close_ int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	int n;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	do {
		ev.events = 0;
		n = epoll_wait(ep, &ev, 1, deadline_poll_ms(deadline));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
	} while (n < 0 || ev.events & (EPOLLHUP | EPOLLERR));
	return 0;
}
