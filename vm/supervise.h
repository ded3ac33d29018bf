/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: lets QEMU be executed, once, and answers its opens of the memory that
 * it has from us. */
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "base/err.h"
#include "vm/spawn.h"

/*
 * listener: QEMU's seccomp notification fd (taken, also on failure). The descriptors of
 * spawn->opens are not taken, duplicates are kept. The thread ends when QEMU was executed
 * and each was answered once, or with QEMU.
 */
int supervise_start(int listener, pid_t pid, const struct spawn *spawn,
	pthread_t *ret_thread, struct err *err);
