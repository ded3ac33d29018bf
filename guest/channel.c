/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's channel to the host: see channel.h. */
#include "guest/channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "guest/uevent.h"

#define PORTS_DIR       "/sys/class/virtio-ports"
#define PORT_TIMEOUT_MS 60000

static struct {
	struct ttrpc_server *server;
	int port_fd, vsock_fd;
} channel = {.port_fd = -1, .vsock_fd = -1};

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
static int wait_port(const char *name, char *ret_path, size_t size, struct err *err)
{
	int64_t deadline = deadline_after_ms(PORT_TIMEOUT_MS);
	_cleanup_close_ int events = -1;
	int r;

	r = uevent_open(&events, err);
	if (r < 0)
		return r;
	while ((r = find_port(name, ret_path, size)) == -ENOENT) {
		r = uevent_wait(events, NULL, -1, deadline);
		if (r < 0)
			break;
	}
	if (r < 0)
		return err_sys(err, r, "no virtio-serial port named %s", name);
	return 0;
}

/*
 * While nobody is at the host's end, reading the port gives 0 at once and poll(2) a
 * permanent POLLHUP. Edge-triggered epoll tells changes only: the driver wakes the port's
 * queue when the host connects or data comes.
 */
static int watch_port(int port_fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	_cleanup_close_ int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, port_fd, &event) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void *serve_port(void *arg)
{
	int watch = watch_port(channel.port_fd);

	(void)arg;
	if (watch < 0) {
		log_error("cannot watch the channel, the host can't reach the guest: %s",
			strerror(-watch));
		return NULL;
	}
	for (;;) {
		struct epoll_event event;
		int fd;

		if (epoll_wait(watch, &event, 1, -1) < 0 && errno != EINTR)
			log_warn("wait for the host: %s", strerror(errno));
		/* The port can be open once only: the server gets duplicates. */
		fd = fcntl(channel.port_fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			log_warn("duplicate the channel: %s", strerror(errno));
		else
			ttrpc_server_serve(channel.server, fd);
	}
}

static void *serve_vsock(void *arg)
{
	struct err err = ERR_INIT;

	(void)arg;
	if (ttrpc_server_accept_loop(channel.server, channel.vsock_fd, &err) < 0)
		log_warn("the host can't use vsock any more: %s", err.text);
	return NULL;
}

/* -1 if the kernel has no vsock, or no device for it. */
static int listen_vsock(void)
{
	struct sockaddr_vm addr = {.svm_family = AF_VSOCK,
		.svm_port = AGENT_VSOCK_PORT,
		.svm_cid = VMADDR_CID_ANY};
	_cleanup_close_ int dev = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	unsigned int cid;

	if (dev < 0 || ioctl(dev, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0 ||
		cid == VMADDR_CID_ANY || cid == VMADDR_CID_LOCAL)
		return -1;
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		listen(fd, 16) < 0)
		return -1;
	return steal_fd(&fd);
}

int channel_start(struct ttrpc_server *server, struct err *err)
{
	char path[300];
	int r;

	channel.server = server;
	r = wait_port(AGENT_SERIAL_PORT, path, sizeof(path), err);
	if (r < 0)
		return r;
	channel.port_fd = open(path, O_RDWR | O_CLOEXEC);
	if (channel.port_fd < 0)
		return err_sys(err, errno, "open %s", path);
	r = thread_start(serve_port, NULL, 0, true, NULL);
	if (r < 0)
		return err_sys(err, r, "start the channel's thread");
	channel.vsock_fd = listen_vsock();
	if (channel.vsock_fd < 0)
		return 0;
	r = thread_start(serve_vsock, NULL, 0, true, NULL);
	return r < 0 ? err_sys(err, r, "start the vsock thread") : 0;
}
