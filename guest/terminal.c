/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A terminal's output: see terminal.h.
 *
 * How it works. The kernel wakes who reads a terminal for each write(2) to it, or each
 * line of one, of 2 KiB at most, and keeps 12 KiB of what was not read: 8 in the
 * buffers of a pty, 4 in that of the line discipline, which is the most that a read(2)
 * takes. If each were an answer to the host, a terminal's output would cost many times
 * a pipe's. So a thread of the lowest weight moves it into a pipe. It has its turn
 * when nobody else wants the CPU, that is when the writer waits for room or has
 * nothing more to say, and as soon as it reads the writer goes on: it finds nothing
 * left only when there is a pause. A single character is on its way at once; where
 * something else takes all of the CPU, after that one's turn of some milliseconds.
 */
#include "guest/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

/* What the pipe holds, and an answer takes. */
#define TAKE_MAX 65536
/* nice(2)'s; in Linux it is a thread's own. */
#define LOWEST 19

struct terminal {
	int master_fd, pipe_fd;
};

/* False: nobody reads the pipe any more. */
static bool wait_output(const struct terminal *t)
{
	struct pollfd fds[] = {{.fd = t->master_fd, .events = POLLIN},
		{.fd = t->pipe_fd}}; /* an error is told unasked */

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		if (errno != EINTR)
			return false;
	return !fds[1].revents;
}

/* All there is; *ret_ended: nothing comes behind it. */
static size_t take_output(int fd, uint8_t *buf, size_t size, bool *ret_ended)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, buf + have, size - have);

		if (n > 0) {
			have += (size_t)n;
			continue;
		}
		/* EIO: nobody has the other side open. */
		*ret_ended = n == 0 || (errno != EAGAIN && errno != EINTR);
		break;
	}
	return have;
}

static void *run_terminal(void *arg)
{
	struct terminal *t = arg;
	uint8_t *buf = xmalloc(TAKE_MAX);
	bool ended = false;

	if (setpriority(PRIO_PROCESS, 0, LOWEST) < 0)
		log_warn("a terminal's output comes in small pieces: %m");
	while (!ended && wait_output(t)) {
		size_t n = take_output(t->master_fd, buf, TAKE_MAX, &ended);

		if (write_full(t->pipe_fd, buf, n) < 0)
			break; /* EPIPE */
	}
	close(t->master_fd);
	close(t->pipe_fd);
	free(buf);
	free(t);
	return NULL;
}

int terminal_gather(int master_fd, int *ret_fd, struct err *err)
{
	struct terminal *t = xnew0(struct terminal);
	int fds[2] = {-1, -1}, r = 0;

	t->master_fd = fcntl(master_fd, F_DUPFD_CLOEXEC, 3);
	if (t->master_fd < 0 || pipe2(fds, O_CLOEXEC) < 0 ||
		fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		r = err_sys(err, errno, "a pipe for the terminal's output");
	t->pipe_fd = fds[1];
	if (r == 0) {
		r = thread_start(run_terminal, t, 0, true, NULL);
		if (r < 0)
			err_sys(err, r, "a thread for the terminal's output");
	}
	if (r < 0) {
		close_fd(t->master_fd);
		close_fd(fds[0]);
		close_fd(fds[1]);
		free(t);
		return r;
	}
	*ret_fd = fds[0];
	return 0;
}
