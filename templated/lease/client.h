/* SPDX-License-Identifier: Apache-2.0 */
/* The lease protocol, client side: asking templated for a template or a VM. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "mm/manifest.h"
#include "vm/handover.h"

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
	LEASE_VM,       /* a VM that is ready, for vm_adopt() */
};

struct lease {
	enum lease_kind kind;
	int conn_fd; /* keeps the lease */
	int memory_fd, state_fd;
	struct manifest manifest;
	char generation[64];
	struct vm_handover vm;
	/* LEASE_NONE: the field that differs, "templated does not answer", …;
	 * LEASE_TEMPLATE: why there is no VM, or "". */
	char reason[512];
};

#define LEASE_INIT                                                                       \
	((struct lease){                                                                 \
		.conn_fd = -1, .memory_fd = -1, .state_fd = -1, .vm = VM_HANDOVER_INIT})

/*
 * Asks for a VM, if the configuration has a vm_cache_number, or a template, if it has
 * enable_template, for `sandbox` under this configuration. A miss of any kind (also:
 * templated is not there) is success with LEASE_NONE and its reason; errors are for what
 * is broken on this side. Never waits longer than `deadline`.
 */
int lease_acquire(const struct config *c, const char *sandbox, int64_t deadline,
	struct lease *ret, struct err *err);
/* The same without a VM. */
int lease_acquire_template(const struct config *c, const char *sandbox, int64_t deadline,
	struct lease *ret, struct err *err);
/* Says that the VM was adopted: from here on the connection keeps the lease. Without it
 * templated would withdraw the VM, and find that it can't. */
int lease_taken(struct lease *lease, int64_t deadline, struct err *err);
/* Closes everything; idempotent. */
void lease_release(struct lease *lease);
