/* SPDX-License-Identifier: Apache-2.0 */
/* Starting QEMU confined: its own uid, mount namespace, cgroup and system call filter. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct spawn {
	const char *qemu_path; /* absolute */
	char *const *argv;
	const char *jail;  /* an existing empty folder; QEMU's root is mounted on it, in
			      its namespace */
	uid_t uid;         /* also its gid */
	bool serves_files; /* 9p: keeps the file capabilities */
	bool kvm;          /* gets a /dev/kvm */
	const char *kernel, *initrd; /* NULL for a clone */
	int qmp_fd, agent_fd, stderr_fd;
	/*
	 * The template's memory, -1: there is none. QEMU opens it as VM_PATH_MEMORY, a
	 * name that leads nowhere; its open is answered with a duplicate of this
	 * descriptor, whatever access it asked for. Or, memory_by_fd, it has the
	 * descriptor as VM_FD_MEMORY and opens VM_PATH_MEMORY_FD itself, which takes a
	 * QEMU that asks for O_RDONLY (8.2 and later) and the file capabilities.
	 */
	int memory_fd;
	bool memory_by_fd;
	/* cgroup.procs files open for writing; -1: none. */
	const int *cgroup_fds;
	/* Called in the parent with the child's process before QEMU is executed; a failure
	 * ends the start. */
	int (*record)(void *user, pid_t pid, int pidfd, struct err *err);
	void *user;
};

struct spawned {
	pid_t pid;
	int pidfd;
	bool foreign; /* adopted: not a child of ours, so there is no status to reap */
	bool supervised;
	/* Answers the open of the memory; ends with QEMU at the latest. */
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
