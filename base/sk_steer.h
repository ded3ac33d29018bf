/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that get what others send to addresses that they are not bound to. */
#pragma once

#include <stdint.h>

/* As many as one program has. */
#define SK_STEER_RULES_MAX 8

struct sk_steer_rule {
	int protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	int family;   /* AF_INET or AF_INET6 */
	/* As on the wire, where it was sent to. IPv4 has the first word, and only those
	 * bits count that are set in mask. */
	uint32_t address[4], mask;
	uint16_t port; /* 0: any */
	/* Gets it: a socket that listens, or a bound datagram socket. -1: it goes where
	 * it would have gone anyhow. Not taken. */
	int fd;
};

/*
 * Has a BPF program of type sk_lookup (Linux 5.9; CAP_BPF and CAP_NET_ADMIN) decide for
 * what arrives in the network namespace, by the first rule that fits. It does so until
 * *ret_link_fd is closed. 0 or a negative errno.
 */
int sk_steer(int netns_fd, const struct sk_steer_rule *rules, unsigned int n,
	int *ret_link_fd);
