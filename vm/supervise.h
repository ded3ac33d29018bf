/* SPDX-License-Identifier: Apache-2.0 */
/* The open supervisor: answers QEMU's open of the template's memory. */
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * listener: QEMU's seccomp notification fd (taken, also on failure). memory_fd: not
 * taken, a duplicate is kept. The thread ends after the one answer, or with QEMU.
 */
int supervise_start(
	int listener, pid_t pid, int memory_fd, pthread_t *ret_thread, struct err *err);
