/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `start`: finds or makes the shim that serves a task,
 * and says where. */
#pragma once

#include "base/err.h"
#include "shim/cmdline.h"

/* Where the serving process finds its listening socket, and the socket by which it hears
 * that containerd was told of it. */
#define SHIM_LISTEN_FD 3
#define SHIM_TOLD_FD   4

/*
 * The serving process's libc keeps no stacks of threads that have ended: it would keep
 * up to 40 MB of them, with 16 KiB each of what they had touched. That can only be said
 * to a program that starts (tunables of glibc 2.34 and later); it forgets it then.
 */
#define TUNABLES_ENV  "GLIBC_TUNABLES"
#define SHIM_TUNABLES "glibc.pthread.stack_cache_size=0"

/*
 * containerd calls it in the bundle, with the runtime's options (a google.protobuf.Any,
 * or nothing) on standard input. A container of a pod that has a shim gets that shim's
 * address; else the state folder, the socket and a serving process are made. A bundle
 * without a config.json is that of a sandbox which the Sandbox API makes (sandbox.h).
 * The address ("unix:///…") is also in the bundle's file `address`, where a restarted
 * containerd looks. *ret_answer is what to print (bootstrap.h), the caller's. On
 * failure nothing stays.
 *
 * A serving process that nobody knows of would be there for ever: it ends, and removes
 * what was made, unless start_told() is called when the answer was printed. *ret_told_fd
 * is for that; -1: the shim served already.
 */
int start_shim(
	const struct cmdline *cmd, char **ret_answer, int *ret_told_fd, struct err *err);
int start_told(int told_fd, struct err *err);

/* For the serving process, before it serves: waits until it has been told of. -ENODATA:
 * `start` has ended before. */
int start_wait_told(struct err *err);
