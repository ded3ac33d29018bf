/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port-forward: see pod_ports.h.
 *
 * How it works. The CRI dials a port of loopback in the pod's namespace, where with
 * others than VMs the container would listen. A connection is accepted before the guest
 * is asked for its half; where nobody listens there it is reset.
 */
#include "shim/pod_ports.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/pod_streams.h"
#include "shim/port_steer.h"

struct pod_ports {
	struct pod *pod;
	int listen_fd, link_fd, wake_fd;
	pthread_t thread;
	bool runs;
};

static void *run_accept(void *arg)
{
	struct pod_ports *ports = arg;
	struct pollfd fds[] = {
		{.fd = ports->listen_fd, .events = POLLIN},
		{.fd = ports->wake_fd, .events = POLLIN},
	};

	while (!fds[1].revents) {
		int fd;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 || !fds[0].revents)
			continue;
		fd = accept4(ports->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			pod_streams_add_host(ports->pod->streams, fd);
	}
	return NULL;
}

void pod_ports_open(struct pod *pod, struct pod_ports **ret)
{
	struct pod_ports *ports = xnew0(struct pod_ports);
	struct err err = ERR_INIT;
	int r;

	*ports = (struct pod_ports){
		.pod = pod, .listen_fd = -1, .link_fd = -1, .wake_fd = -1};
	ports->wake_fd = eventfd(0, EFD_CLOEXEC);
	r = ports->wake_fd < 0 ? err_sys(&err, errno, "cannot make an eventfd") : 0;
	if (r == 0)
		r = port_steer(pod->netns_fd, &ports->listen_fd, &ports->link_fd, &err);
	if (r < 0) {
		log_warn("port-forward does not reach this pod: %s", err.text);
		pod_ports_free(ports);
		ports = NULL;
	}
	*ret = ports;
}

int pod_ports_start(struct pod_ports *ports, struct err *err)
{
	int r;

	if (!ports)
		return 0;
	r = thread_start(run_accept, ports, 0, false, &ports->thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	ports->runs = true;
	return 0;
}

void pod_ports_free(struct pod_ports *ports)
{
	if (!ports)
		return;
	if (ports->runs) {
		thread_wake(ports->wake_fd);
		pthread_join(ports->thread, NULL);
	}
	close_fd(ports->link_fd);
	close_fd(ports->listen_fd);
	close_fd(ports->wake_fd);
	free(ports);
}
