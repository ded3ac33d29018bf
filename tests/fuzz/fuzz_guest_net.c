/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of the guest's interfaces and routes, as the host writes them; an m
 * before it makes it a hardware address. What is accepted is written as itself. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/util.h"
#include "guest/netlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mac(const char *text)
{
	char again[18];
	uint8_t m[6];

	if (net_parse_mac(text, m, NULL) < 0)
		return;
	snprintf(again, sizeof(again), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
		m[3], m[4], m[5]);
	if (strcasecmp(again, text) != 0)
		abort();
}

static void check_destination(int family, const char *text)
{
	_cleanup_(nl_addr) struct nl_addr *a = NULL, *again = NULL;
	char found[64];

	if (net_parse_destination(family, text, &a, NULL) < 0)
		return;
	if (nl_addr_get_prefixlen(a) > (family == AF_INET ? 32u : 128u))
		abort();
	/* libnl has other words for some. */
	nl_addr2str(a, found, sizeof(found));
	if (!isxdigit((unsigned char)found[0]) && found[0] != ':')
		return;
	if (net_parse_destination(family, found, &again, NULL) < 0 ||
		nl_addr_cmp(a, again) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);

	if (text[0] == 'm')
		check_mac(text + 1);
	check_destination(AF_INET, text);
	check_destination(AF_INET6, text);
	return 0;
}
