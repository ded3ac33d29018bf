/* SPDX-License-Identifier: Apache-2.0 */
/* A small machine for a test of the agent: namespaces of its own,
 * files where it looks. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/util.h"
#include "tests/lib/test.h"

/*
 * How it works. The agent's paths are those of a guest (/sys, /proc, /run, /etc), so a
 * test gives them contents instead of giving the agent other paths: it goes on as process
 * 1 of mount, network, pid, IPC and UTS namespaces, where /proc and the network are new
 * ones of the kernel's, and where a tmpfs may cover what the kernel does not have as a
 * guest would. Without root it is root in a user namespace.
 */

/* Says why to TAP and ends: none of the program's tests can run. */
static inline void world_skip(const char *what)
{
	printf("1..0 # SKIP %s: %s\n", what, strerror(errno));
	exit(0);
}

static inline void world_write(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write_full(fd, text, strlen(text)) < 0) {
		perror(path);
		exit(1);
	}
}

/* To be root here, as which everything of the outside belongs to nobody. */
static inline void world_map_ids(uid_t uid, gid_t gid)
{
	char map[32];

	snprintf(map, sizeof(map), "0 %u 1", uid);
	world_write("/proc/self/uid_map", map);
	world_write("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", gid);
	world_write("/proc/self/gid_map", map);
}

/* The caller goes on as process 1 within; outside, this waits and ends as that has. */
static inline void world_fork(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		world_skip("fork in a new pid namespace");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	/* No sanitizer's look for leaks: it would want a thread, for which there is no
	 * pid namespace any more. */
	if (waitpid(pid, &status, 0) != pid)
		_exit(1);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Root in a user namespace, to whom some of the kernel's files are closed. */
static bool world_in_user_namespace;

/* Whether a test can't do without the machine's root; says so to TAP. */
static inline bool world_lacks_root(const char *what)
{
	if (world_in_user_namespace)
		print_message("# SKIP %s: only root may\n", what);
	return world_in_user_namespace;
}

/* Before anything else; `more` are further CLONE_NEW… flags. */
static inline void world_enter(int more)
{
	int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC |
		    CLONE_NEWUTS | more;
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(flags | (uid ? CLONE_NEWUSER : 0)) < 0)
		world_skip("no namespaces can be made");
	world_in_user_namespace = uid != 0;
	if (uid)
		world_map_ids(uid, gid);
	world_fork();
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) <
			0)
		world_skip("no mount can be made");
}

/* Covers a folder of the machine's with an empty one, which ends with the program. */
static inline void world_tmpfs(const char *path)
{
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
		world_skip(path);
}

/* A file with this text, its folders made as needed. */
static inline void world_file(const char *path, const char *text)
{
	_cleanup_free_ char *dir =
		xasprintf("%.*s", (int)(strrchr(path, '/') - path), path);
	_cleanup_close_ int fd = -1;

	assert_int_equal(mkdir_parents(dir, 0755, NULL), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
}

static inline void assert_file(const char *path, const char *text)
{
	_cleanup_free_ char *found = NULL;
	size_t len;

	if (file_read(AT_FDCWD, path, 1 << 20, &found, &len, NULL) < 0)
		fail_msg("%s cannot be read", path);
	assert_string_equal(found, text);
}

static inline unsigned int count_fds(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}
