/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol, client side: asking templated for a template. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "mm/manifest.h"

/*
 * SOCK_SEQPACKET on template_endpoint; a message is one JSON object of at most
 * LEASE_MESSAGE_MAX bytes, with descriptors beside it. The server answers only to uid 0
 * (SO_PEERCRED). The lease lasts as long as its connection: a shim that dies has returned
 * it.
 */
#define LEASE_MESSAGE_MAX (64u << 10)

enum lease_kind {
	LEASE_NONE,     /* nothing to be had: `reason` says why; boot cold */
	LEASE_TEMPLATE, /* memory_fd and state_fd, both opened read-only */
};

struct lease {
	enum lease_kind kind;
	int conn_fd; /* keeps the lease */
	int memory_fd, state_fd;
	struct manifest manifest;
	char generation[64];
	char reason[512]; /* LEASE_NONE: the field that differs, "templated does not
			     answer", … */
};

#define LEASE_INIT ((struct lease){.conn_fd = -1, .memory_fd = -1, .state_fd = -1})

/*
 * Asks for a template for `sandbox` under this configuration. A miss of any kind (also:
 * templated is not there) is success with LEASE_NONE and its reason; errors are for what
 * is broken on this side. Never waits longer than `deadline`.
 */
int lease_acquire(const struct config *c, const char *sandbox, int64_t deadline,
	struct lease *ret, struct err *err);
/* Closes everything; idempotent. */
void lease_release(struct lease *lease);
