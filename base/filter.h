/* SPDX-License-Identifier: Apache-2.0 */
/* System call filters (libseccomp): what they have in common. */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>

/* Set in a build that logs what filters refuse (`make check-filters`); without it the
 * kernel logs what is killed alone. For seccomp(2), and SCMP_FLTATR_CTL_LOG. */
#ifdef STENCIL_LOG_FILTERS
#define FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_LOG
#else
#define FILTER_FLAG_LOG 0
#endif

/* One to add rules to: what has none gets otherwise, a call of another ABI ends the
 * process. For seccomp_release(). 0 or a negative errno, as for all below. */
int filter_new(uint32_t otherwise, scmp_filter_ctx *ret);

/* One rule without conditions for each call. */
int filter_add_calls(
	scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n_calls);

/* The filter's program, for seccomp(2): ret->filter is the caller's to free().
 * ctx stays the caller's. */
int filter_export(scmp_filter_ctx ctx, struct sock_fprog *ret);

/* Refuses what no confined child of ours has use of: ways to other processes, files,
 * namespaces and the network, kernel interfaces with a history of holes, and names that
 * all of the host sees. Not io_uring_setup(2), which some try and do without. */
int filter_add_ways_out(scmp_filter_ctx ctx, uint32_t action);

/* What no program of ours does that serves a guest, beside those: other programs, other
 * processes, other ids, the network, the machine. Not execveat(2) and memfd_create(2). */
int filter_add_never(scmp_filter_ctx ctx, uint32_t action);
