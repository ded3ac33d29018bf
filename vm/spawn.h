/* SPDX-License-Identifier: Apache-2.0 */
/* Starting QEMU confined: its own uid, mount namespace, cgroup and system call filter. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* What QEMU opens O_RDWR by a name that leads nowhere: its open is answered with a
 * duplicate of fd, whatever that one's access is (vm/supervise.h). */
struct spawn_open {
	const char *path;
	int fd;
};
#define SPAWN_OPENS_MAX 2

struct spawn {
	const char *qemu_path; /* absolute */
	char *const *argv;
	/* An existing empty folder; QEMU's root is mounted on it, in its namespace. */
	const char *jail;
	uid_t uid;     /* also its gid */
	bool kvm;      /* gets a /dev/kvm */
	bool fd_names; /* gets its /proc/self/fd: its descriptors have names */
	const char *kernel, *initrd; /* NULL for a clone */
	int qmp_fd, agent_fd, files_fd, stderr_fd;
	struct spawn_open opens[SPAWN_OPENS_MAX];
	unsigned int n_opens;
	/* cgroup.procs files open for writing; -1: none. */
	const int *cgroup_fds;
	/* Called in the parent with the child's process before QEMU is executed; a
	 * failure ends the start. */
	int (*record)(void *user, pid_t pid, int pidfd, struct err *err);
	void *user;
};

struct spawned {
	pid_t pid;
	int pidfd;
	bool foreign; /* adopted: not a child of ours, so there is no status to reap */
	bool supervised;
	/* Answers those opens; ends with QEMU at the latest. */
	pthread_t supervisor;
};

/* No descriptor of *s is taken. Returns when QEMU has been executed. *ret is for
 * spawned_end() also where it fails. */
int spawn_qemu(const struct spawn *s, struct spawned *ret, struct err *err);
/* SIGKILL; its connections end, threads that wait on them go on. */
void spawned_kill(struct spawned *s);
/* SIGKILL, wait, reap, join the supervisor. Idempotent. */
void spawned_end(struct spawned *s);
/* Lets a QEMU that runs for another process go on, and reaps one that has ended. */
void spawned_forget(struct spawned *s);
