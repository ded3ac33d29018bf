/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio-serial ports: see port.h. */
#include "guest/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "guest/uevent.h"

#define PORTS_DIR "/sys/class/virtio-ports"

static bool has_name(const char *port, const char *name)
{
	char path[300];
	_cleanup_free_ char *text = NULL;
	size_t len;

	snprintf(path, sizeof(path), PORTS_DIR "/%s/name", port);
	if (file_read(AT_FDCWD, path, 256, &text, &len, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, name) == 0;
}

/* The port's device file, or -ENOENT as long as there is none of that name. */
static int find_port(const char *name, char *ret_path, size_t size)
{
	_cleanup_closedir_ DIR *dir = opendir(PORTS_DIR);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && has_name(entry->d_name, name)) {
			snprintf(ret_path, size, "/dev/%s", entry->d_name);
			return 0;
		}
	}
	return -ENOENT;
}

/* The driver announces a port first and its name, which comes in a message of its own,
 * with a later change event. */
static int wait_port(const char *name, int64_t deadline, char *ret_path, size_t size)
{
	_cleanup_close_ int events = -1;
	int r;

	r = uevent_open(&events, NULL);
	if (r < 0)
		return r;
	while ((r = find_port(name, ret_path, size)) == -ENOENT) {
		r = uevent_wait(events, NULL, -1, deadline);
		if (r < 0)
			break;
	}
	return r;
}

int port_open(const char *name, int flags, int64_t deadline, int *ret_fd, struct err *err)
{
	char path[300];
	int fd, r;

	r = wait_port(name, deadline, path, sizeof(path));
	if (r < 0)
		return err_sys(err, r, "no virtio-serial port named %s", name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open %s", path);
	*ret_fd = fd;
	return 0;
}

/*
 * While nobody is at the host's end, reading the port gives 0 at once and poll(2) a
 * permanent POLLHUP. Edge-triggered epoll tells changes only: the driver wakes the port's
 * queue when the host connects or data comes.
 */
int port_watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	_cleanup_close_ int watch = epoll_create1(EPOLL_CLOEXEC);

	if (watch < 0 || epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return steal_fd(&watch);
}

static bool is_connected(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR));
}

int port_wait_connected(int fd, int64_t deadline, struct err *err)
{
	_cleanup_close_ int watch = port_watch(fd);
	struct epoll_event event;
	int n;

	if (watch < 0)
		return err_sys(err, watch, "watch the port");
	while (!is_connected(fd)) {
		n = epoll_wait(watch, &event, 1, deadline_poll_ms(deadline));
		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "wait for the host");
		if (n == 0)
			return err_set(err, -ETIMEDOUT, "nobody is at the host's end");
	}
	return 0;
}
