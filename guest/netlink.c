/* SPDX-License-Identifier: Apache-2.0 */
/* What the network files share: see netlink.h. */
#include "guest/netlink.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int net_open(struct nl_sock **ret, struct err *err)
{
	_cleanup_(nl_sock) struct nl_sock *sock = nl_socket_alloc();
	int r;

	if (!sock)
		return err_set(err, -ENOMEM, "no memory for a netlink socket");
	r = nl_connect(sock, NETLINK_ROUTE);
	if (r < 0)
		return netlink_err(err, r, "open a netlink socket");
	*ret = steal_ptr(sock);
	return 0;
}

int net_parse_mac(const char *text, uint8_t ret[6], struct err *err)
{
	bool good = strlen(text) == 17;

	/* Each character by itself: sscanf(3) takes signs and white space, too. */
	for (int i = 0; good && i < 17; i++)
		good = i % 3 == 2 ? text[i] == ':' : isxdigit((unsigned char)text[i]);
	if (!good)
		return err_set(err, -EINVAL, "%s is not a hardware address",
			err_quote(text, 64));
	for (int i = 0; i < 6; i++)
		ret[i] = (uint8_t)strtoul(text + 3 * i, NULL, 16);
	return 0;
}

static int parse_prefix(const char *text, unsigned int max, unsigned int *ret)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	n = strtoul(text, &end, 10);
	if (*end != '\0' || n > max)
		return -EINVAL;
	*ret = (unsigned int)n;
	return 0;
}

int net_parse_address(int family, const char *address, const char *prefix,
	struct nl_addr **ret, struct err *err)
{
	unsigned int max = family == AF_INET ? 32 : 128, len = max;
	uint8_t bytes[16];
	struct nl_addr *a;

	if (inet_pton(family, address, bytes) != 1)
		return err_set(err, -EINVAL, "%s is not an IPv%d address",
			err_quote(address, 64), family == AF_INET ? 4 : 6);
	if (prefix && *prefix && parse_prefix(prefix, max, &len) < 0)
		return err_set(err, -EINVAL, "%s is not a prefix length of 0 to %u",
			err_quote(prefix, 64), max);
	a = nl_addr_build(family, bytes, family == AF_INET ? 4 : 16);
	if (!a)
		return err_set(err, -ENOMEM, "no memory for an address");
	nl_addr_set_prefixlen(a, (int)len);
	*ret = a;
	return 0;
}

int net_parse_destination(
	int family, const char *text, struct nl_addr **ret, struct err *err)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (*text == '\0' || strcmp(text, "default") == 0)
		return net_parse_address(
			family, family == AF_INET ? "0.0.0.0" : "::", "0", ret, err);
	if (len >= sizeof(address) || (slash && slash[1] == '\0'))
		return err_set(
			err, -EINVAL, "%s is not a destination", err_quote(text, 64));
	memcpy(address, text, len);
	address[len] = '\0';
	return net_parse_address(family, address, slash ? slash + 1 : NULL, ret, err);
}

int net_index(const char *name, int *ret, struct err *err)
{
	unsigned int index =
		*name && strlen(name) < IF_NAMESIZE ? if_nametoindex(name) : 0;

	if (index == 0)
		return err_set(
			err, -ENOENT, "there is no interface %s", err_quote(name, 32));
	*ret = (int)index;
	return 0;
}
