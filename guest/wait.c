/* SPDX-License-Identifier: Apache-2.0 */
/* The one way a request waits: see wait.h. */
#include "guest/wait.h"

#include <errno.h>

#include "base/util.h"

int wait_first(struct pollfd *fds, nfds_t n_fds, int64_t deadline)
{
	for (;;) {
		int n = poll(fds, n_fds, deadline_poll_ms(deadline));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			return fds[0].revents ? 0 : -ECONNRESET;
		if (n == 0 && now_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

int wait_either(int fd, short events, int closed_fd, int64_t deadline)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = events},
		{.fd = closed_fd, .events = POLLIN},
	};

	return wait_first(fds, ARRAY_SIZE(fds), deadline);
}
