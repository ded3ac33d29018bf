/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's network namespace: opening, joining, leaving. See net.h. */
#include "shim/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netlink/errno.h>
#include <netlink/socket.h>
#include <sched.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/thread.h"
#include "shim/namespaces.h"
#include "shim/net_internal.h"

/* ---- in the namespace ---- */

struct opener {
	int netns_fd;
	struct nl_sock *sock;
	int *tun_fds;
	unsigned int n_tuns;
	struct err err;
};

static void *open_inside(void *arg)
{
	struct opener *o = arg;
	int r;

	if (setns(o->netns_fd, CLONE_NEWNET) < 0) {
		err_sys(&o->err, errno, "cannot enter it");
		return NULL;
	}
	r = nl_connect(o->sock, NETLINK_ROUTE);
	if (r < 0) {
		netlink_err(&o->err, r, "cannot open a route socket in it");
		return NULL;
	}
	for (unsigned int i = 0; i < o->n_tuns; i++) {
		/* QEMU gets it, and may have CAP_FOWNER: the device stays as it is. */
		o->tun_fds[i] = open_readonly_mount("/dev/net/tun", O_RDWR);
		if (o->tun_fds[i] < 0) {
			err_sys(&o->err, o->tun_fds[i], "cannot open /dev/net/tun");
			return NULL;
		}
	}
	return NULL;
}

int net_open_inside(int netns_fd, struct nl_sock **ret_sock, int *tun_fds,
	unsigned int n_tuns, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = nl_socket_alloc();
	struct opener o = {
		.netns_fd = netns_fd, .sock = sock, .tun_fds = tun_fds, .n_tuns = n_tuns};
	pthread_t thread;
	int r;

	if (!sock)
		return err_set(err, -ENOMEM, "out of memory");
	r = thread_start(open_inside, &o, 0, false, &thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	pthread_join(thread, NULL);
	if (o.err.code < 0) {
		for (unsigned int i = 0; i < n_tuns; i++)
			close_fd(steal_fd(&tun_fds[i]));
		return err_copy(err, &o.err);
	}
	*ret_sock = steal_ptr(sock);
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

/* ---- scan ---- */

static int scan_namespace(struct net *net, const char *path, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	int r;

	r = net_open_path(path, &net->netns_fd, err);
	if (r == 0)
		r = net_open_inside(net->netns_fd, &sock, NULL, 0, err);
	if (r == 0)
		r = net_read(net, sock, err);
	return r;
}

int net_scan(const char *netns, struct net **ret, struct err *err)
{
	struct net *net = xnew0(struct net);
	int r;

	net->netns_fd = -1;
	for (unsigned int i = 0; i < NET_INTERFACES_MAX; i++)
		net->interfaces[i].tap_fd = -1;
	r = scan_namespace(net, netns, err);
	if (r < 0) {
		err_wrap(err, "network namespace %s", err_quote(netns, 256));
		net_free(net);
		return r;
	}
	*ret = net;
	return 0;
}

/* ---- join and leave ---- */

int net_join(struct net *net, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	int tun_fds[NET_INTERFACES_MAX], r;

	if (net->n_interfaces == 0)
		return 0;
	for (unsigned int i = 0; i < NET_INTERFACES_MAX; i++)
		tun_fds[i] = -1;
	r = net_open_inside(net->netns_fd, &sock, tun_fds, net->n_interfaces, err);
	for (unsigned int i = 0; i < net->n_interfaces && r == 0; i++) {
		r = net_join_one(sock, &net->interfaces[i], tun_fds[i], err);
		if (r == 0)
			net->interfaces[i].tap_fd = steal_fd(&tun_fds[i]);
		else
			err_wrap(err, "cannot join interface %s to a tap",
				err_quote(net->interfaces[i].name, 16));
	}
	for (unsigned int i = 0; i < net->n_interfaces; i++)
		close_fd(tun_fds[i]);
	if (r < 0) {
		struct err ignored; /* the first failure is the one to tell */

		net_leave(net, &ignored);
	}
	return r;
}

/* Goes on after a failure, so that one thing in the way leaves only itself; the first is
 * told. */
static void keep_first(struct err *first, const struct err *e)
{
	if (first->code == 0)
		*first = *e;
}

static void leave_one(struct nl_sock *sock, struct net_interface *i, struct err *first)
{
	struct err e = ERR_INIT;

	if (i->tap_fd < 0)
		return;
	if (net_unfilter(sock, i->index, &e) < 0)
		keep_first(first, &e);
	if (net_delete_tap(sock, i->tap_name, &e) < 0)
		keep_first(first, &e);
	close(steal_fd(&i->tap_fd));
}

int net_leave(struct net *net, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = NULL;
	struct err first = ERR_INIT;
	bool joined = false;
	int r;

	for (unsigned int i = 0; i < net->n_interfaces; i++)
		joined = joined || net->interfaces[i].tap_fd >= 0;
	if (!joined)
		return 0;
	r = net_open_inside(net->netns_fd, &sock, NULL, 0, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < net->n_interfaces; i++)
		leave_one(sock, &net->interfaces[i], &first);
	if (first.code < 0)
		return err_copy(err, &first);
	return 0;
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
			keep_first(&first, &e);
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
		r = net_open_inside(fd, &sock, NULL, 0, &e);
	if (r == 0)
		r = cleanup_all(sock, &e);
	if (r < 0) {
		err_copy(err, &e);
		err_wrap(err, "network namespace %s", err_quote(netns, 256));
	}
	return r;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	for (unsigned int i = 0; i < net->n_interfaces; i++) {
		close_fd(net->interfaces[i].tap_fd);
		if (net->agent_interfaces)
			types__interface__free_unpacked(net->agent_interfaces[i], NULL);
	}
	for (size_t i = 0; i < net->n_agent_routes; i++)
		types__route__free_unpacked(net->agent_routes[i], NULL);
	for (size_t i = 0; i < net->n_agent_neighbors; i++)
		types__arpneighbor__free_unpacked(net->agent_neighbors[i], NULL);
	free(net->agent_interfaces);
	free(net->agent_routes);
	free(net->agent_neighbors);
	close_fd(net->netns_fd);
	free(net);
}
