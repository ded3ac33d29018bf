/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's NICs, found as they are plugged, and their names. */
#pragma once

#include <netlink/route/link.h>
#include <stdint.h>

#include "base/ttrpc/ttrpc.h"
#include "guest/netlink.h"

DEFINE_CLEANUP(link, struct rtnl_link *, rtnl_link_put);

/* Waits for one until the request's deadline. */
int nic_wait(struct nl_sock *sock, const uint8_t mac[6], const char *mac_text,
	struct ttrpc_request *request, struct rtnl_link **ret, struct err *err);
/* Whoever has the name gets another one. */
int nic_rename(
	struct nl_sock *sock, struct rtnl_link *link, const char *name, struct err *err);
/* Changes what `set` sets of an interface; libnl's error. */
int nic_change(struct nl_sock *sock, int index,
	void (*set)(struct rtnl_link *, const void *), const void *arg);
/* -EINVAL: no interface can have that name. */
int nic_check_name(const char *name, struct err *err);
