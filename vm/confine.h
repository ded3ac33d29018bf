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
 *   filter    the system calls that QEMU makes, and no others (vm/qemu_filter.h); its own
 *             execution and the opens of the template's memory and of the window are
 *             user notifications, and nothing else is executed or opened for writing
 *
 * What QEMU has a descriptor of is its own (memfd, socket), or was opened through a
 * read-only mount: whatever it comes to, it changes no file's mode, owner or times.
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
	int qemu_fd; /* O_PATH of the program; this one and stdin_fd are high */
	int stdin_fd;
	int ctl_fd; /* the child's end of the talk with its parent; high, the caller's */
};

/* The path of the one execveat(2) that is let pass, by address. */
extern const char confine_exec_path[1];

/* Parent: works out binds. */
int confine_init(struct confine *c, const struct spawn *s, struct err *err);
void confine_done(struct confine *c);

/* Instructions of a filter, three times what it has. */
#define CONFINE_FILTER_MAX 1024

/* Parent: the filter of the child with that pid. ret->filter is the caller's to
 * free(). */
int confine_make_filter(
	const struct confine *c, pid_t pid, struct sock_fprog *ret, struct err *err);

/* A descriptor from CONFINE_FD_HIGH on, above those that the child lays over 0 to 5;
 * fd is closed. -1 with errno. */
#define CONFINE_FD_HIGH 64
int confine_fd_high(int fd);

/* Child: each returns 0 or a negative errno and names
 * the step that failed in *ret_step. */
int confine_enter(const struct confine *c, const char **ret_step);
/* Child, last: installs the filter; *ret_listener has what it holds. */
int confine_filter(
	const struct sock_fprog *filter, int *ret_listener, const char **ret_step);
