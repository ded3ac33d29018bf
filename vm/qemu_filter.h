/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that QEMU may make, from its execution to its end. */
#pragma once

#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Installed by the process that is to become QEMU, right before it executes it: so the
 * dynamic loader's calls are among those that are allowed, and there is no time without
 * the filter.
 */
struct qemu_filter {
	pid_t pid; /* QEMU's: signals go to its own threads alone */
	bool kvm;  /* KVM's ioctls are allowed */
	/* The one execveat(2) that is held, see below. */
	int exec_fd;
	const char *exec_path; /* its address; the flags are AT_EMPTY_PATH */
};

/*
 * Every call has one of these outcomes:
 *
 *   allowed   what QEMU 7.2 and 10, libc and its loader make here, with the arguments
 *             that they make it with
 *   held      for whoever has the filter's listener (vm/supervise.h): an
 *             openat(AT_FDCWD, …, O_RDWR), and the execution of QEMU. Without a listener
 *             it is ENOSYS
 *   deadly    what no QEMU makes and one that is broken into would: the process is
 *             killed (SIGSYS), and the kernel logs which call it was
 *   ENOSYS    all else, as if the kernel did not have it yet: what a libc or a QEMU of
 *             tomorrow tries first it has to do without on an old kernel, too
 *
 * ret->filter is the caller's to free(). 0 or a negative errno.
 */
int qemu_filter_make(const struct qemu_filter *f, struct sock_fprog *ret);

/* For the filter of a process that QEMUs are children of, and inherit it: allows all that
 * theirs allow or hold, whatever the arguments. */
int qemu_filter_allow_all(scmp_filter_ctx ctx);
