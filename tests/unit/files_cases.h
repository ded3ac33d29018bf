/* SPDX-License-Identifier: Apache-2.0 */
/* What the cases on files share: each runs in a plain folder,
 * and in each kind of a tree. */
#pragma once

#include "tests/unit/files_mount.h"

static inline int setup(void **state)
{
	*state = mount_new(*state);
	umask(022);
	return 0;
}

static inline int teardown(void **state)
{
	mount_free(*state);
	return 0;
}

static inline int make_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

static inline void assert_reads(int fd, off_t at, const char *text)
{
	char buf[256] = {0};

	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, at), strlen(text));
	assert_string_equal(buf, text);
}

static inline void assert_fails(int result, int error)
{
	assert_int_equal(result, -1);
	assert_int_equal(errno, error);
}

/* Runs as uid and gid 1000, in a process of its own. */
static inline void as_user(const char *path, void (*fn)(const char *path))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgid(1000) < 0 || setuid(1000) < 0)
			_exit(9);
		fn(path);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static inline mode_t mode_of(const char *path)
{
	return stat_of(path).st_mode & 07777;
}

/* Not each program has cases for each kind. */
__attribute__((unused)) static struct mount_kind shared = {.cache = TREE_CACHE_SHARED},
						 own = {.cache = TREE_CACHE_OWN},
						 jailed = {.cache = TREE_CACHE_SHARED,
							 .jailed = true},
						 watched = {.cache = TREE_CACHE_SHARED,
							 .jailed = true,
							 .watched = true};

#define JAILED(fn)                                                                       \
	{                                                                                \
#fn " (jailed)", fn, setup, teardown, &jailed                            \
	}
#define CASE(fn)                                                                         \
	{#fn " (plain)", fn, setup, teardown, NULL},                                     \
		{#fn " (shared)", fn, setup, teardown, &shared},                         \
	{                                                                                \
#fn " (own)", fn, setup, teardown, &own                                  \
	}
