/* SPDX-License-Identifier: Apache-2.0 */
/* templated/activation: which of the passed sockets is taken, and what becomes of the
 * others. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "templated/activation.h"

static char *folder;

/* Passes `n` descriptors to a child that looks for `path`: its result, or 100 + the errno
 * and the text in `text`. */
static int in_child(const int *fds, int n, const char *path, bool for_it, char *text)
{
	int out[2], status;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		struct err err = ERR_INIT;
		char number[16];
		int r, fd;

		/* Out of the way of the places from 3 on. */
		out[1] = fcntl(out[1], F_DUPFD, 60);
		for (int i = 0; i < n; i++)
			fcntl(fds[i], F_DUPFD, 40 + i);
		for (int i = 0; i < n; i++)
			if (dup2(40 + i, 3 + i) < 0)
				_exit(99);
		snprintf(number, sizeof(number), "%d", for_it ? (int)getpid() : 1);
		setenv("LISTEN_PID", number, 1);
		snprintf(number, sizeof(number), "%d", n);
		setenv("LISTEN_FDS", number, 1);
		r = activation_take(path, SOCK_SEQPACKET, &fd, &err);
		if (getenv("LISTEN_FDS"))
			_exit(98);
		for (int i = 3; i < 3 + n && for_it; i++)
			if ((fcntl(i, F_GETFD) == FD_CLOEXEC) != (r == 1 && i == fd))
				_exit(97);
		if (write(out[1], err.text, strlen(err.text)) < 0)
			_exit(96);
		_exit(r < 0 ? 100 - r : r);
	}
	close(out[1]);
	memset(text, 0, 1024);
	assert_true(read(out[0], text, 1023) >= 0);
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_take(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/sock", folder),
			    *other = xasprintf("%s/other", folder);
	struct err err = ERR_INIT;
	int right, stream, connected[2];
	char text[1024];

	(void)state;
	assert_int_equal(unix_listen(path, SOCK_SEQPACKET, &right, &err), 0);
	assert_int_equal(unix_listen(other, SOCK_STREAM, &stream, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, connected), 0);
	assert_int_equal(in_child(&right, 1, path, true, text), 1);
	assert_int_equal(
		in_child((int[]){stream, connected[0], right}, 3, path, true, text), 1);
	/* Another process is meant, or none. */
	assert_int_equal(in_child(&right, 1, path, false, text), 0);
	assert_int_equal(in_child(NULL, 0, path, true, text), 0);
	/* None of them is it. */
	assert_int_equal(in_child(&right, 1, other, true, text), 100 + ENOTSOCK);
	assert_non_null(strstr(text, "wants ListenSequentialPacket="));
	assert_int_equal(in_child(&stream, 1, other, true, text), 100 + ENOTSOCK);
	assert_int_equal(in_child(connected, 1, path, true, text), 100 + ENOTSOCK);
	/* It was never removed. */
	assert_int_equal(access(path, F_OK), 0);
	close(right);
	close(stream);
	close(connected[0]);
	close(connected[1]);
}

static int set_up(void **state)
{
	(void)state;
	folder = test_folder_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_folder_free(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
