/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: see io.h. */
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

int loopback_raise(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int unix_address(const char *path, struct sockaddr_un *ret_addr, struct err *err)
{
	size_t len = strlen(path);

	if (len >= sizeof(ret_addr->sun_path))
		return err_set(err, -ENAMETOOLONG,
			"the socket path %s has %zu bytes; Linux allows %zu: choose a shorter one",
			err_quote(path, 256), len, sizeof(ret_addr->sun_path) - 1);
	*ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_addr->sun_path, path, len + 1);
	return 0;
}

int unix_listen(const char *path, int type, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr;
	struct stat st;
	mode_t mask;
	int r;

	r = unix_address(path, &addr, err);
	if (r < 0)
		return r;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, -EEXIST, "%s exists and is not a socket",
				err_quote(path, 256));
		if (unlink(path) < 0)
			return err_sys(err, errno, "cannot replace the socket %s",
				err_quote(path, 256));
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a socket");
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(fd, SOMAXCONN) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(err, r, "cannot listen on %s", err_quote(path, 256));
	*ret_fd = steal_fd(&fd);
	return 0;
}

int unix_connect(
	const char *path, int type, int64_t deadline, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr;
	int r, left;

	r = unix_address(path, &addr, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a socket");
	/* connect(2) on a unix socket waits only while the backlog is full, for
	 * SO_SNDTIMEO. */
	left = deadline_poll_ms(deadline);
	if (left >= 0) {
		struct timeval tv = {
			.tv_sec = left / 1000, .tv_usec = MAX(left % 1000 * 1000, 1)};

		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	}
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == EINTR)
			continue;
		return err_sys(err, errno == EAGAIN ? ETIMEDOUT : errno,
			"cannot connect to %s", err_quote(path, 256));
	}
	if (left >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0},
			sizeof(struct timeval));
	*ret_fd = steal_fd(&fd);
	return 0;
}

int unix_peer_credentials(int fd, uid_t *ret_uid, pid_t *ret_pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret_uid = cred.uid;
	*ret_pid = cred.pid;
	return 0;
}

union fd_control {
	struct cmsghdr header; /* for its alignment */
	char space[CMSG_SPACE(sizeof(int) * (SOCK_FDS_MAX + 1))];
};

int sock_send(int fd, const void *data, size_t len, const int *fds, unsigned int n_fds,
	int64_t deadline)
{
	union fd_control control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	if (n_fds > SOCK_FDS_MAX)
		return -E2BIG;
	if (n_fds > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
	}
	for (;;) {
		ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n >= 0) {
			/* The descriptors went with the first byte. */
			iov.iov_base = (char *)iov.iov_base + n;
			iov.iov_len -= (size_t)n;
			msg.msg_control = NULL;
			msg.msg_controllen = 0;
			if (iov.iov_len == 0)
				return 0;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_fd(fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
}

/* Moves the descriptors of a received message to fds; what finds no place is closed. */
static int take_fds(struct msghdr *msg, int *fds, unsigned int n_fds)
{
	unsigned int got = 0;
	int r = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (got < n_fds) {
				fds[got++] = one;
			} else {
				close(one);
				r = -EPROTO;
			}
		}
	}
	for (unsigned int i = 0; r < 0 && i < got; i++) {
		close(fds[i]);
		fds[i] = -1;
	}
	return r;
}

ssize_t sock_recv(
	int fd, void *buf, size_t size, int *fds, unsigned int n_fds, int64_t deadline)
{
	union fd_control control;
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n;
	int r;

	for (unsigned int i = 0; i < n_fds; i++)
		fds[i] = -1;
	for (;;) {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (n >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_fd(fd, POLLIN, deadline);
		if (r < 0)
			return r;
	}
	r = take_fds(&msg, fds, n_fds);
	if (r == 0 && msg.msg_flags & MSG_TRUNC) {
		for (unsigned int i = 0; i < n_fds; i++)
			if (fds[i] >= 0)
				close(steal_fd(&fds[i]));
		r = -EMSGSIZE;
	}
	return r < 0 ? r : n;
}
