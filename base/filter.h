/* SPDX-License-Identifier: Apache-2.0 */
/* System call filters (libseccomp) for a child that installs
 * one between fork and exec. */
#pragma once

#include <linux/filter.h>
#include <seccomp.h>
#include <stddef.h>

/* One rule without conditions for each call. */
int filter_add_calls(
	scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n_calls);

/* The filter's program, for seccomp(2): ret->filter is the caller's to free().
 * ctx stays the caller's. */
int filter_export(scmp_filter_ctx ctx, struct sock_fprog *ret);

/* Refuses what no confined child of ours has use of: ways to other processes, files,
 * namespaces and the network, kernel interfaces with a history of holes, and names that
 * all of the host sees. */
int filter_add_ways_out(scmp_filter_ctx ctx, uint32_t action);
