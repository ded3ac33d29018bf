/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's device events: see uevent.h. */
#include "guest/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "guest/wait.h"

/* UEVENT_BUFFER_SIZE of the kernel (2048) and the header line. */
#define MESSAGE_MAX  4096
#define KERNEL_GROUP 1

int uevent_open(int *ret_fd, struct err *err)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
	_cleanup_close_ int fd = socket(AF_NETLINK,
		SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, errno, "listen to the kernel's device events");
	*ret_fd = steal_fd(&fd);
	return 0;
}

bool uevent_has_subsystem(const char *message, size_t len, const char *subsystem)
{
	static const char key[] = "SUBSYSTEM=";
	size_t key_len = sizeof(key) - 1, n = strlen(subsystem);

	for (const char *p = message; p < message + len;) {
		size_t l = strnlen(p, (size_t)(message + len - p));

		if (l == key_len + n && memcmp(p, key, key_len) == 0 &&
			memcmp(p + key_len, subsystem, n) == 0)
			return true;
		p += l + 1;
	}
	return false;
}

/* Takes all there is: 1 if one of it was of the subsystem. */
static int drain_events(int fd, const char *subsystem)
{
	char buf[MESSAGE_MAX];
	int found = 0;

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EAGAIN)
			return found;
		if (n < 0 && errno == ENOBUFS)
			found = 1;
		else if (n < 0 && errno != EINTR)
			return -errno;
		else if (n > 0 &&
			 (!subsystem || uevent_has_subsystem(buf, (size_t)n, subsystem)))
			found = 1;
	}
}

int uevent_wait(int fd, const char *subsystem, int closed_fd, int64_t deadline)
{
	for (;;) {
		int r = drain_events(fd, subsystem);

		if (r != 0)
			return r < 0 ? r : 0;
		r = wait_either(fd, POLLIN, closed_fd, deadline);
		if (r < 0)
			return r;
	}
}
