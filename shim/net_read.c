/* SPDX-License-Identifier: Apache-2.0 */
/* A view of a network namespace, read from its kernel: see net_view.h. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <string.h>

#include "shim/net_internal.h"

/* A dump during which something changed may miss what was there all the time; it is made
 * again. Somebody who never stops would keep us from ever being done. */
#define DUMP_TRIES 64

/* ---- dumps ---- */

struct dump {
	struct net_view *view;
	int (*add)(struct net_view *view, struct nlmsghdr *dumped, struct err *err);
	struct nl_msg **kept; /* where there is no `add` */
	size_t n_kept;
	int r;
	struct err *err;
};

static void drop_kept(struct dump *d)
{
	for (size_t i = 0; i < d->n_kept; i++)
		nlmsg_free(d->kept[i]);
	free(d->kept);
	d->kept = NULL;
	d->n_kept = 0;
}

static int on_message(struct nl_msg *msg, void *user)
{
	struct dump *d = user;

	if (d->r < 0)
		return NL_SKIP;
	if (d->add) {
		d->r = d->add(d->view, nlmsg_hdr(msg), d->err);
		return NL_OK;
	}
	nlmsg_get(msg);
	d->kept = xreallocarray(d->kept, d->n_kept + 1, sizeof(struct nl_msg *));
	d->kept[d->n_kept++] = msg;
	return NL_OK;
}

static int dump_once(struct nl_sock *sock, int type, struct dump *d)
{
	struct rtgenmsg all = {.rtgen_family = AF_UNSPEC};
	int r;

	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, d);
	r = nl_send_simple(sock, type, NLM_F_DUMP, &all, sizeof(all));
	if (r >= 0)
		r = nl_recvmsgs_default(sock);
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
	return r < 0 ? r : 0;
}

/* What came of a dump that is made again is dropped. */
static void forget_from(struct net_view *view, size_t n)
{
	while (view->n_messages > n)
		free(view->messages[--view->n_messages].data);
}

static int dump_list(
	struct nl_sock *sock, int type, const char *what, struct dump *d, struct err *err)
{
	size_t before = d->view->n_messages;
	int r = -NLE_DUMP_INTR;

	for (int i = 0; i < DUMP_TRIES && r == -NLE_DUMP_INTR; i++) {
		forget_from(d->view, before);
		drop_kept(d);
		d->r = 0;
		r = dump_once(sock, type, d);
	}
	if (r < 0)
		return netlink_err(err, r, "cannot list its %s", what);
	return d->r;
}

static int read_links(struct net_view *view, struct nl_sock *sock, struct err *err)
{
	struct dump d = {.view = view, .err = err};
	int r = dump_list(sock, RTM_GETLINK, "interfaces", &d, err);

	if (r == 0)
		r = net_add_links(view, d.kept, d.n_kept, err);
	drop_kept(&d);
	return r;
}

/* ---- the order ---- */

static void take_rank(struct net_view *view, enum net_rank rank, bool is_reverse,
	struct net_message *to, size_t *at)
{
	for (size_t i = 0; i < view->n_messages; i++) {
		const struct net_message *m =
			&view->messages[is_reverse ? view->n_messages - 1 - i : i];

		if (m->rank == rank)
			to[(*at)++] = *m;
	}
}

/* By rank; those of one rank stay as the kernel has them. It has an interface's last IPv6
 * address first. */
static void sort_messages(struct net_view *view)
{
	struct net_message *sorted =
		xreallocarray(NULL, view->n_messages + 1, sizeof(*sorted));
	size_t n = 0;

	for (enum net_rank rank = NET_LINK_NEW; rank <= NET_RULE; rank++)
		take_rank(view, rank, rank == NET_ADDRESS_V6, sorted, &n);
	free(view->messages);
	view->messages = sorted;
}

int net_read(struct nl_sock *sock, struct net_view *view, struct err *err)
{
	static const struct {
		int type;
		const char *what;
		int (*add)(
			struct net_view *view, struct nlmsghdr *dumped, struct err *err);
	} lists[] = {
		{RTM_GETADDR, "addresses", net_add_address},
		{RTM_GETROUTE, "routes", net_add_route},
		{RTM_GETNEIGH, "neighbours", net_add_neighbour},
		{RTM_GETRULE, "rules", net_add_rule},
	};
	int r = read_links(view, sock, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++) {
		struct dump d = {.view = view, .add = lists[i].add, .err = err};

		r = dump_list(sock, lists[i].type, lists[i].what, &d, err);
	}
	if (r == 0)
		r = net_add_gone_prefixes(view, err);
	if (r == 0)
		sort_messages(view);
	return r;
}
