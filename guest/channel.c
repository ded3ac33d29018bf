/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's channel to the host: see channel.h. */
#include "guest/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "guest/port.h"

#define PORT_TIMEOUT_MS 60000

static struct {
	struct ttrpc_server *server;
	int port_fd, vsock_fd;
} channel = {.port_fd = -1, .vsock_fd = -1};

static void *serve_port(void *arg)
{
	int watch = port_watch(channel.port_fd);

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
	int r;

	channel.server = server;
	r = port_open(AGENT_SERIAL_PORT, O_RDWR, deadline_after_ms(PORT_TIMEOUT_MS),
		&channel.port_fd, err);
	if (r < 0)
		return r;
	r = thread_start(serve_port, NULL, 0, true, NULL);
	if (r < 0)
		return err_sys(err, r, "start the channel's thread");
	channel.vsock_fd = listen_vsock();
	if (channel.vsock_fd < 0)
		return 0;
	r = thread_start(serve_vsock, NULL, 0, true, NULL);
	return r < 0 ? err_sys(err, r, "start the vsock thread") : 0;
}
