/* SPDX-License-Identifier: Apache-2.0 */
/* Socket activation: see activation.h. */
#include "templated/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

#define FIRST_FD 3
#define FDS_MAX  16

/* How many descriptors are passed to this process. */
static int count_passed(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	long n = fds ? strtol(fds, NULL, 10) : 0;

	if (!pid || strtol(pid, NULL, 10) != getpid() || n < 0)
		return 0;
	return (int)MIN(n, (long)FDS_MAX);
}

static bool is_listener(int fd, const char *path, int type)
{
	struct sockaddr_un addr = {0};
	socklen_t len = sizeof(addr), size = sizeof(int);
	int is_type = 0, listens = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &is_type, &size) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 &&
	       getsockname(fd, (struct sockaddr *)&addr, &len) == 0 && is_type == type &&
	       listens && addr.sun_family == AF_UNIX &&
	       strncmp(addr.sun_path, path, sizeof(addr.sun_path)) == 0;
}

int activation_take(const char *path, int type, int *ret_fd, struct err *err)
{
	int n = count_passed(), found = -1;

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	for (int fd = FIRST_FD; fd < FIRST_FD + n; fd++) {
		if (found < 0 && is_listener(fd, path, type))
			found = fd;
		else
			close(fd);
	}
	if (n == 0)
		return 0;
	if (found < 0)
		return err_set(err, -ENOTSOCK,
			"none of the %d sockets that were passed listens at %s: "
			"templated.socket wants ListenSequentialPacket=%s",
			n, err_quote(path, 256), err_quote(path, 256));
	if (fcntl(found, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, errno, "fcntl");
	*ret_fd = found;
	return 1;
}
