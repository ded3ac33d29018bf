/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's network namespace: opening, hearing of changes, joining, leaving: see net.h. */
#include "shim/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netlink/errno.h>
#include <netlink/socket.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/thread.h"
#include "shim/namespaces.h"
#include "shim/net_internal.h"

/* ---- in the namespace ---- */

struct opener {
	int netns_fd;
	int (*open)(void *user, struct err *err);
	void *user;
	struct err err;
};

static void *open_inside(void *arg)
{
	struct opener *o = arg;

	if (setns(o->netns_fd, CLONE_NEWNET) < 0)
		err_sys(&o->err, errno, "cannot enter it");
	else
		o->open(o->user, &o->err);
	return NULL;
}

/*
 * Sockets and /dev/net/tun belong for ever to the namespace they were opened in, so that
 * is all that has to happen there: a thread that ends at once does it, and no thread of
 * ours ever changes its namespace and comes back.
 */
static int run_inside(int netns_fd, int (*open)(void *user, struct err *err), void *user,
	struct err *err)
{
	struct opener o = {.netns_fd = netns_fd, .open = open, .user = user};
	pthread_t thread;
	int r = thread_start(open_inside, &o, 0, false, &thread);

	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	pthread_join(thread, NULL);
	return o.err.code < 0 ? err_copy(err, &o.err) : 0;
}

/* Whatever a view is made of. */
static int join_groups(struct nl_sock *events)
{
	return nl_socket_add_memberships(events, RTNLGRP_LINK, RTNLGRP_NEIGH,
		RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE,
		RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE, RTNLGRP_NONE);
}

struct route_sockets {
	struct nl_sock *sock, *events; /* events: NULL is fine */
};

static int connect_sockets(void *user, struct err *err)
{
	struct route_sockets *s = user;
	int r = nl_connect(s->sock, NETLINK_ROUTE);

	if (r == 0 && s->events)
		r = nl_connect(s->events, NETLINK_ROUTE);
	if (r == 0 && s->events)
		r = join_groups(s->events);
	return r < 0 ? netlink_err(err, r, "cannot open a route socket in it") : 0;
}

static int open_sockets(int netns_fd, struct nl_sock **ret_sock,
	struct nl_sock **ret_events, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = nl_socket_alloc(), *events = NULL;
	int r;

	if (ret_events)
		events = nl_socket_alloc();
	if (!sock || (ret_events && !events))
		return err_set(err, -ENOMEM, "out of memory");
	r = run_inside(
		netns_fd, connect_sockets, &(struct route_sockets){sock, events}, err);
	if (r < 0)
		return r;
	*ret_sock = steal_ptr(sock);
	if (ret_events)
		*ret_events = steal_ptr(events);
	return 0;
}

/* QEMU gets it, and may have CAP_FOWNER: the device stays as it is. */
static int open_tun(void *user, struct err *err)
{
	int fd = open_readonly_mount("/dev/net/tun", O_RDWR);

	if (fd < 0)
		return err_sys(err, fd, "cannot open /dev/net/tun");
	*(int *)user = fd;
	return 0;
}

struct ip_socket {
	int family, fd;
};

static int open_socket(void *user, struct err *err)
{
	struct ip_socket *s = user;

	s->fd = socket(s->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return s->fd < 0 ? err_sys(err, errno, "cannot make a socket") : 0;
}

int net_open_socket(int netns_fd, int family, int *ret_fd)
{
	struct ip_socket s = {.family = family};
	struct err err = ERR_INIT;
	int r = run_inside(netns_fd, open_socket, &s, &err);

	if (r == 0)
		*ret_fd = s.fd;
	return r;
}

/* It tells of the namespace that it was opened in. */
static int open_datagram_list(void *user, struct err *err)
{
	int fd = open("/proc/thread-self/net/udp", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "cannot list its datagram sockets");
	*(int *)user = fd;
	return 0;
}

/* A line is "<n>: <address as the kernel has it in memory>:<port> …". */
int net_has_datagram_socket(int netns_fd, uint32_t address, bool *ret, struct err *err)
{
	_cleanup_fclose_ FILE *list = NULL;
	_cleanup_free_ char *line = NULL;
	unsigned int bound;
	size_t size = 0;
	int fd, r;

	r = run_inside(netns_fd, open_datagram_list, &fd, err);
	if (r < 0)
		return r;
	list = fdopen(fd, "r");
	if (!list) {
		r = err_sys(err, errno, "cannot list its datagram sockets");
		close(fd);
		return r;
	}
	*ret = false;
	while (!*ret && getline(&line, &size, list) >= 0)
		*ret = sscanf(line, " %*u: %8X:", &bound) == 1 && bound == htonl(address);
	return 0;
}

/*
 * -ENOENT: there is no namespace (any more): no such file, or the file it was mounted on.
 * -EPERM: it is the host's, which is left alone: its interfaces would be the guest's.
 */
int net_open_path(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct statfs fs;
	struct stat st;

	if (fd < 0)
		return err_sys(err, errno, "cannot open it");
	if (fstatfs(fd, &fs) < 0)
		return err_sys(err, errno, "cannot stat it");
	if (fs.f_type != NSFS_MAGIC)
		return err_set(err, -ENOENT, "there is no namespace");
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot stat it");
	if (namespace_is_hosts("network", &st))
		return namespace_refuse("network", path, err);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* ---- looking at it ---- */

int net_new(int netns_fd, struct net **ret, struct err *err)
{
	struct net *net = xnew0(struct net);
	int r = 0;

	net->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
	if (net->netns_fd < 0)
		r = err_sys(err, errno, "cannot keep the network namespace");
	if (r == 0)
		r = open_sockets(net->netns_fd, &net->sock, &net->events, err);
	if (r < 0) {
		net_free(net);
		return r;
	}
	*ret = net;
	return 0;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	for (unsigned int i = 0; i < net->n_nics; i++)
		close_fd(net->nics[i].tap_fd);
	nl_socket_free(net->sock);
	nl_socket_free(net->events);
	close_fd(net->netns_fd);
	free(net);
}

int net_events_fd(const struct net *net)
{
	return nl_socket_get_fd(net->events);
}

void net_forget_events(struct net *net)
{
	char buf[16];

	/* What they say does not matter, nor that some were lost (ENOBUFS): all is read
	 * again. */
	while (recv(net_events_fd(net), buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC) >=
			0 ||
		errno == ENOBUFS)
		continue;
}

int net_scan(struct net *net, struct net_view **ret, struct err *err)
{
	_cleanup_(net_view) struct net_view *view = xnew0(struct net_view);
	int r = net_read(net->sock, view, err);

	if (r == 0)
		*ret = steal_ptr(view);
	return r;
}

/* ---- join and leave ---- */

struct net_nic *net_find_nic(struct net *net, int index)
{
	for (unsigned int i = 0; i < net->n_nics; i++)
		if (net->nics[i].index == index)
			return &net->nics[i];
	return NULL;
}

int net_join(struct net *net, const struct net_interface *i, struct net_nic **ret,
	struct err *err)
{
	struct net_nic *nic;
	int tun_fd = -1, r = 0;

	if (net->n_nics == NET_NICS_MAX)
		r = err_set(err, -E2BIG, "there are %d already", NET_NICS_MAX);
	if (r == 0)
		r = run_inside(net->netns_fd, open_tun, &tun_fd, err);
	nic = &net->nics[net->n_nics];
	if (r == 0)
		r = net_join_one(net->sock, i, tun_fd, nic, err);
	if (r < 0) {
		close_fd(tun_fd);
		return err_wrap(
			err, "cannot join interface %s to a tap", err_quote(i->name, 16));
	}
	nic->tap_fd = tun_fd;
	nic->port = NET_UNPLUGGED;
	net->n_nics++;
	*ret = nic;
	return 0;
}

int net_follow_mtu(struct net *net, struct net_nic *nic, uint32_t mtu, struct err *err)
{
	int r = nic->mtu == mtu ? 0 : net_set_tap_mtu(net->sock, nic->tap_name, mtu, err);

	if (r == 0)
		nic->mtu = mtu;
	return r;
}

int net_leave_nic(struct net *net, struct net_nic *nic, struct err *err)
{
	struct err first = ERR_INIT, e = ERR_INIT;

	if (net_unfilter(net->sock, nic->index, &e) < 0)
		err_keep_first(&first, &e);
	if (net_delete_tap(net->sock, nic->tap_name, &e) < 0)
		err_keep_first(&first, &e);
	close_fd(nic->tap_fd);
	*nic = net->nics[--net->n_nics];
	return first.code < 0 ? err_copy(err, &first) : 0;
}

int net_leave(struct net *net, struct err *err)
{
	struct err first = ERR_INIT, e = ERR_INIT;

	while (net->n_nics > 0)
		if (net_leave_nic(net, &net->nics[net->n_nics - 1], &e) < 0)
			err_keep_first(&first, &e);
	return first.code < 0 ? err_copy(err, &first) : 0;
}

static int cleanup_all(struct nl_sock *sock, struct err *err)
{
	_cleanup_(nl_cache) struct nl_cache *links = NULL;
	struct err first = ERR_INIT, e = ERR_INIT;
	int r;

	r = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);
	if (r < 0)
		return netlink_err(err, r, "cannot list its interfaces");
	for (struct nl_object *o = nl_cache_get_first(links); o;
		o = nl_cache_get_next(o)) {
		struct rtnl_link *link = (struct rtnl_link *)o;
		const char *name = rtnl_link_get_name(link);

		if (net_is_tap_name(name))
			r = net_delete_tap(sock, name, &e);
		else
			r = net_unfilter(sock, rtnl_link_get_ifindex(link), &e);
		if (r < 0)
			err_keep_first(&first, &e);
	}
	if (first.code < 0)
		return err_copy(err, &first);
	return 0;
}

int net_cleanup(const char *netns, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	int r;

	r = net_open_path(netns, &fd, &e);
	/* The host's: by a pid that is another process's now, say. Nothing was made
	 * there. */
	if (r == -ENOENT || r == -EPERM)
		return 0;
	if (r == 0)
		r = open_sockets(fd, &sock, NULL, &e);
	if (r == 0)
		r = cleanup_all(sock, &e);
	if (r < 0) {
		err_copy(err, &e);
		err_wrap(err, "network namespace %s", err_quote(netns, 256));
	}
	return r;
}
