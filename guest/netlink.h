/* SPDX-License-Identifier: Apache-2.0 */
/* What the network files share: a socket, text to addresses. */
#pragma once

#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/socket.h>
#include <stdint.h>

#include "base/err.h"
#include "base/netlink.h"
#include "base/util.h"

DEFINE_CLEANUP(nl_sock, struct nl_sock *, nl_socket_free);
DEFINE_CLEANUP(nl_cache, struct nl_cache *, nl_cache_free);
DEFINE_CLEANUP(nl_addr, struct nl_addr *, nl_addr_put);

int net_open(struct nl_sock **ret, struct err *err);

/* "aa:bb:cc:dd:ee:ff" exactly. */
int net_parse_mac(const char *text, uint8_t ret[6], struct err *err);

/* An IPv4 or IPv6 address with a prefix length ("24", or NULL or "" for a host's).
 * family: AF_INET, AF_INET6. *ret: nl_addr_put(). */
int net_parse_address(int family, const char *address, const char *prefix,
	struct nl_addr **ret, struct err *err);
/* "10.0.0.0/8", "10.1.2.3"; "" and "default" are the whole address space. */
int net_parse_destination(
	int family, const char *text, struct nl_addr **ret, struct err *err);

/* The index of an interface, named in the error if there is none. */
int net_index(const char *name, int *ret, struct err *err);
