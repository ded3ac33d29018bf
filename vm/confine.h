/* SPDX-License-Identifier: Apache-2.0 */
/* The walls around QEMU: what the forked child does to itself before it executes QEMU. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

#include "base/err.h"
#include "vm/spawn.h"

/*
 * Stages, in this order (the child is a fork of a process with threads: system calls
 * only, no allocation, no locks; all that needs more is prepared by the parent in struct
 * confine):
 *
 *   cgroup    into its own cgroups                     needs write access to cgroup.procs
 *   root      network, IPC and UTS namespaces of its   needs CAP_SYS_ADMIN
 *             own, empty (taps come as descriptors);
 *             own mount namespace; a 1 MiB tmpfs with
 *             the libraries and firmware QEMU reads (read-only binds), its kernel and
 *             initrd when it boots, /dev/kvm under KVM; all of it read-only; of /proc
 *             only its own /proc/self/fd, and that not for a template; the old root is
 *             gone
 *   limits    no core dumps, no transparent huge pages, descriptors 0-5 only
 *   uid       its uid and gid, no groups, no capability in any set; no_new_privs
 *   filter    no sockets, no tracing, no io_uring, no namespaces, no program but QEMU, …;
 *             the opens of the template's memory and of the window are user
 *             notifications, and nothing else is opened for writing
 *
 * What QEMU has a descriptor of is its own (memfd, socket), or was opened through a
 * read-only mount: whatever it comes to, it changes no file's mode, owner or times.
 *
 * After exec QEMU adds its own filter (-sandbox on,…,spawn=deny).
 */
struct confine_bind {
	char *source, *target; /* target relative to the jail */
	bool is_file;
};

#define CONFINE_BINDS_MAX 24

struct confine {
	const struct spawn *spawn;
	struct confine_bind binds[CONFINE_BINDS_MAX];
	unsigned int n_binds;
	struct confine_link {
		char *target, *path;
	} links[8];
	unsigned int n_links;
	struct sock_fprog filter;
	bool notifies;
	int qemu_fd; /* O_PATH of the program; this one and stdin_fd are 64 or higher */
	int stdin_fd;
	int ctl_fd; /* the child's end of the talk with its parent; high, the caller's */
};

/* The path of the one execveat(2) that is allowed, by address. */
extern const char confine_exec_path[1];

/* Parent: works out binds, compiles the filter. */
int confine_init(struct confine *c, const struct spawn *s, struct err *err);
void confine_done(struct confine *c);

/* A descriptor above those that the child lays over 0 to 5;
 * fd is closed. -1 with errno. */
int confine_fd_high(int fd);

/* Child: each returns 0 or a negative errno and names
 * the step that failed in *ret_step. */
int confine_enter(const struct confine *c, const char **ret_step);
/* Child, last: installs the filter; *ret_listener is the notification fd or -1. */
int confine_filter(const struct confine *c, int *ret_listener, const char **ret_step);
