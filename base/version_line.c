/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a program for its version: see version_line.h. */
#include "base/version_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

#define VERSION_TIMEOUT_MS 10000
#define VERSION_BYTES_MAX  4096

static int spawn_version(const char *path, int out, pid_t *ret_pid)
{
	char *const argv[] = {(char *)(uintptr_t)path, (char[]){"--version"}, NULL};
	char *const env[] = {(char[]){"LC_ALL=C"}, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(ret_pid, path, &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Everything it prints, bounded in bytes and time. */
static int read_output(int fd, char *buf, size_t size)
{
	int64_t deadline = deadline_after_ms(VERSION_TIMEOUT_MS);
	size_t len = 0;

	for (;;) {
		ssize_t n;
		int r = wait_fd(fd, POLLIN, deadline);

		if (r < 0)
			return r;
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		buf[len] = '\0';
		if (n == 0)
			return 0;
		if (len == size - 1)
			return -EFBIG;
	}
}

int version_line_of(const char *path, char **ret_line)
{
	char text[VERSION_BYTES_MAX] = "";
	int fds[2], r, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	r = spawn_version(path, fds[1], &pid);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return r;
	}
	r = read_output(fds[0], text, sizeof(text));
	close(fds[0]);
	if (r < 0)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	*ret_line = xstrdup(text);
	return 0;
}
