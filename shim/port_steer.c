/* SPDX-License-Identifier: Apache-2.0 */
/* Steering a namespace's loopback connections: see port_steer.h. */
#include "shim/port_steer.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "agent-client/agent.h"
#include "base/sk_steer.h"
#include "base/util.h"
#include "shim/net.h"

/* As many as nobody dials at once before they are accepted. */
#define BACKLOG 1024

/* ---- the listener ---- */

/* At any address and port: nobody knows it. A socket of IPv6's is for both families. */
static int listen_anywhere(int netns_fd, sa_family_t family, int *ret_fd)
{
	const struct sockaddr_in6 any = {.sin6_family = family};
	socklen_t size = family == AF_INET6 ? sizeof(any) : sizeof(struct sockaddr_in);
	_cleanup_close_ int fd = -1;
	int r = net_open_socket(netns_fd, family, &fd), no = 0;

	if (r < 0)
		return r;
	if ((family == AF_INET6 &&
		    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) < 0) ||
		bind(fd, (const struct sockaddr *)&any, size) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* ---- the rules ---- */

static int steer_loopback(int netns_fd, int listen_fd, int *ret_link_fd)
{
	const struct sk_steer_rule rules[] = {
		/* Docker's name server is the namespace's own. */
		{.protocol = IPPROTO_TCP,
			.family = AF_INET,
			.address = {htonl(DOCKER_NAMES_ADDRESS)},
			.mask = htonl(INADDR_NONE),
			.fd = -1},
		{.protocol = IPPROTO_TCP,
			.family = AF_INET,
			.address = {htonl(INADDR_LOOPBACK)},
			.mask = htonl(IN_CLASSA_NET),
			.fd = listen_fd},
		{.protocol = IPPROTO_TCP,
			.family = AF_INET6,
			.address = {0, 0, 0, htonl(1)},
			.fd = listen_fd},
	};

	return sk_steer(netns_fd, rules, ARRAY_SIZE(rules), ret_link_fd);
}

int port_steer(int netns_fd, int *ret_listen_fd, int *ret_link_fd, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r = listen_anywhere(netns_fd, AF_INET6, &fd);

	if (r == -EAFNOSUPPORT)
		r = listen_anywhere(netns_fd, AF_INET, &fd);
	if (r < 0)
		return err_sys(err, r, "cannot listen in the network namespace");
	r = steer_loopback(netns_fd, fd, ret_link_fd);
	if (r < 0)
		return err_sys(err, r,
			"cannot steer connections by BPF (sk_lookup, Linux 5.9; "
			"CAP_BPF and CAP_NET_ADMIN)");
	*ret_listen_fd = steal_fd(&fd);
	return 0;
}
