/* SPDX-License-Identifier: Apache-2.0 */
/* Views of a network namespace compared: see net_view.h. */
#include "shim/net_view.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

void net_view_free(struct net_view *view)
{
	if (!view)
		return;
	for (size_t i = 0; i < view->n_messages; i++)
		free(view->messages[i].data);
	free(view->messages);
	free(view->interfaces);
	free(view);
}

const struct net_interface *net_view_find(const struct net_view *view, int index)
{
	for (unsigned int i = 0; i < view->n_interfaces; i++)
		if (view->interfaces[i].index == index)
			return &view->interfaces[i];
	return NULL;
}

/* ---- which are in one view only ---- */

/* A view's messages in an order of their contents, to find one. */
struct sorted {
	const struct net_message **item;
	size_t n;
};

static int by_content(const void *a, const void *b)
{
	const struct net_message *x = *(const struct net_message *const *)a;
	const struct net_message *y = *(const struct net_message *const *)b;

	if (x->rank != y->rank)
		return (int)x->rank - (int)y->rank;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return memcmp(x->data, y->data, x->size);
}

static struct sorted sort_view(const struct net_view *view)
{
	struct sorted s = {.n = view ? view->n_messages : 0};

	s.item = xreallocarray(NULL, s.n + 1, sizeof(*s.item));
	for (size_t i = 0; i < s.n; i++)
		s.item[i] = &view->messages[i];
	qsort(s.item, s.n, sizeof(*s.item), by_content);
	return s;
}

static bool has_message(const struct sorted *s, const struct net_message *m)
{
	return bsearch(&m, s->item, s->n, sizeof(*s->item), by_content);
}

/* ---- which interfaces have changed ---- */

struct comparison {
	const struct net_comparison *asked;
	struct sorted in_from, in_to;
	int *changed; /* indices */
	size_t n_changed;
};

static bool is_changed(const struct comparison *c, int index)
{
	for (size_t i = 0; i < c->n_changed; i++)
		if (c->changed[i] == index)
			return true;
	return false;
}

/* Only what others of the same interface go away with. */
static void note_changed(struct comparison *c, const struct net_message *m)
{
	if (m->rank > NET_ADDRESS_V6 || is_changed(c, m->index))
		return;
	c->changed = xreallocarray(c->changed, c->n_changed + 1, sizeof(*c->changed));
	c->changed[c->n_changed++] = m->index;
}

/* ---- the requests ---- */

static void add_request(struct net_change *change, const struct net_message *m, bool undo)
{
	struct nlmsghdr *copy;

	copy = xmalloc(m->size);
	memcpy(copy, m->data, m->size);
	if (undo) {
		copy->nlmsg_type++; /* RTM_NEW… and RTM_DEL… are neighbours */
		copy->nlmsg_flags = NLM_F_REQUEST;
	}
	change->messages = xreallocarray(
		change->messages, change->n_messages + 1, sizeof(*change->messages));
	change->messages[change->n_messages++] =
		(ProtobufCBinaryData){.data = (uint8_t *)copy, .len = m->size};
}

static bool can_undo(const struct net_message *m)
{
	return m->rank != NET_LINK_SET && m->rank != NET_PREFIX_GONE;
}

static bool is_skipped(const struct comparison *c, const struct net_message *m)
{
	return c->asked->skip(c->asked->user, m->index);
}

static void undo_gone(
	struct comparison *c, const struct net_view *from, struct net_change *change)
{
	for (size_t i = from->n_messages; i-- > 0;) {
		const struct net_message *m = &from->messages[i];

		if (has_message(&c->in_to, m))
			continue;
		note_changed(c, m);
		if (can_undo(m) && !is_skipped(c, m))
			add_request(change, m, true);
	}
}

/* Every namespace has the rules that the kernel gives it; that of a VRF comes with it. */
static bool is_kernels_rule(const struct net_message *m)
{
	struct nlattr *protocol =
		nlmsg_find_attr(m->data, sizeof(struct fib_rule_hdr), FRA_PROTOCOL);

	return protocol && nla_get_u8(protocol) == RTPROT_KERNEL;
}

/* 127.0.0.1/8 or ::1/128: a loopback that is up has it, and the guest's is. */
static bool is_loopbacks_address(const struct net_message *m)
{
	const struct ifaddrmsg *a = nlmsg_data((struct nlmsghdr *)m->data);
	struct nlattr *address = nlmsg_find_attr(m->data, sizeof(*a), IFA_ADDRESS);
	const struct in_addr v4 = {.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_v4 = a->ifa_family == AF_INET;

	if (!address || a->ifa_prefixlen != (is_v4 ? 8 : 128))
		return false;
	return is_v4 ? nla_memcmp(address, &v4, sizeof(v4)) == 0
		     : nla_memcmp(address, &in6addr_loopback, sizeof(in6addr_loopback)) ==
			       0;
}

/* In a new namespace, and in the guest from its start. */
static bool is_there_anyhow(const struct net_view *view, const struct net_message *m)
{
	const struct net_interface *on;

	if (m->rank == NET_RULE)
		return is_kernels_rule(m);
	if (m->rank != NET_ADDRESS && m->rank != NET_ADDRESS_V6)
		return false;
	on = net_view_find(view, m->index);
	return on && strcmp(on->name, "lo") == 0 && is_loopbacks_address(m);
}

static void make_new(
	struct comparison *c, const struct net_view *to, struct net_change *change)
{
	for (size_t i = 0; i < to->n_messages; i++)
		if (!has_message(&c->in_from, &to->messages[i]))
			note_changed(c, &to->messages[i]);
	for (size_t i = 0; i < to->n_messages; i++) {
		const struct net_message *m = &to->messages[i];

		if ((is_changed(c, m->index) || !has_message(&c->in_from, m)) &&
			!is_skipped(c, m) && (c->asked->from || !is_there_anyhow(to, m)))
			add_request(change, m, false);
	}
}

void net_compare(const struct net_comparison *asked, struct net_change *ret_gone,
	struct net_change *ret_new)
{
	struct comparison c = {.asked = asked,
		.in_from = sort_view(asked->from),
		.in_to = sort_view(asked->to)};

	*ret_gone = *ret_new = (struct net_change){0};
	if (asked->from)
		undo_gone(&c, asked->from, ret_gone);
	make_new(&c, asked->to, ret_new);
	free(c.in_from.item);
	free(c.in_to.item);
	free(c.changed);
}

void net_change_done(struct net_change *change)
{
	for (size_t i = 0; i < change->n_messages; i++)
		free(change->messages[i].data);
	free(change->messages);
	*change = (struct net_change){0};
}
