/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `start`: finds or makes the shim that serves a task,
 * and says where. */
#pragma once

#include "base/err.h"
#include "shim/cmdline.h"

/* Where the serving process finds its listening socket. */
#define SHIM_LISTEN_FD 3
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
 */
int start_shim(const struct cmdline *cmd, char **ret_answer, struct err *err);
