/* SPDX-License-Identifier: Apache-2.0 */
/* How a running VM's memory grows: in which steps, and how far the host lets it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What the guest's kernel adds memory in; a DIMM is a multiple of it. The kernel of a VM
 * booted with `boot_bytes` of memory chooses it. */
uint64_t memory_block_bytes(uint64_t boot_bytes);

/* Where a VM stands while it grows. */
struct memory_growth {
	uint64_t boot_bytes;   /* what the VM was booted with */
	uint64_t fresh_bytes;  /* online since this growing began: nobody uses it yet */
	uint64_t wanted_bytes; /* still to be plugged, not 0 */
};

/* The bytes of the next DIMM: whole blocks, at least wanted_bytes if it is the last. */
uint64_t memory_next_step(const struct memory_growth *g);

/*
 * How much more memory the host would promise a process, from the text of
 * /proc/sys/vm/overcommit_memory and of /proc/meminfo: UINT64_MAX where it promises
 * whatever it is asked for, or where that can't be told.
 */
uint64_t memory_parse_room(const char *overcommit, const char *meminfo);
/* The same of this host, now. */
uint64_t memory_host_room(void);
