/* SPDX-License-Identifier: Apache-2.0 */
/* base/sock: listening, connecting, messages with descriptors, their bounds. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

static unsigned int open_fds(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	return n;
}

static int pair(int type, int sv[2])
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv);
}

static void test_listen_connect(void **state)
{
	char *folder = test_folder_new();
	_cleanup_free_ char *path = xasprintf("%s/s", folder);
	struct err err = ERR_INIT;
	struct stat st;
	int listener, client, server, again;
	uid_t uid = 1;
	pid_t pid = 0;

	(void)state;
	assert_int_equal(unix_listen(path, SOCK_SEQPACKET, &listener, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(unix_connect(path, SOCK_SEQPACKET, soon(), &client, &err), 0);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	assert_int_equal(unix_peer_credentials(server, &uid, &pid), 0);
	assert_int_equal(uid, getuid());
	assert_int_equal(pid, getpid());
	assert_int_equal(sock_send(client, "hello", 5, NULL, 0, DEADLINE_NONE), 0);
	close(client);
	close(server);
	/* A socket that was left there is replaced. */
	close(listener);
	assert_int_equal(unix_listen(path, SOCK_SEQPACKET, &again, &err), 0);
	close(again);
	assert_error_names(
		unix_connect(path, SOCK_SEQPACKET, DEADLINE_NONE, &client, &err),
		-ECONNREFUSED, path);
	test_folder_free(folder);
}

static void test_listen_refuses(void **state)
{
	char *folder = test_folder_new();
	_cleanup_free_ char *file = test_file(folder, "file", "keep me");
	struct err err = ERR_INIT;
	char path[200];
	int fd = -1;

	(void)state;
	assert_error_names(unix_listen(file, SOCK_STREAM, &fd, &err), -EEXIST,
		"exists and is not a socket");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	assert_error_names(unix_listen(path, SOCK_STREAM, &fd, &err), -ENAMETOOLONG,
		"has 108 bytes; Linux allows 107");
	assert_error_names(unix_connect(path, SOCK_STREAM, 0, &fd, &err), -ENAMETOOLONG,
		"Linux allows 107");
	assert_error_names(unix_connect("/nonexistent/s", SOCK_STREAM, 0, &fd, &err),
		-ENOENT, "/nonexistent/s");
	assert_error_names(unix_listen("/nonexistent/s", SOCK_STREAM, &fd, &err), -ENOENT,
		"/nonexistent/s");
	assert_int_equal(fd, -1);
	test_folder_free(folder);
}

static void test_messages(void **state)
{
	char buf[8];
	int sv[2];

	(void)state;
	assert_int_equal(pair(SOCK_SEQPACKET, sv), 0);
	assert_int_equal(sock_send(sv[0], "abc", 3, NULL, 0, 0), 0);
	assert_int_equal(sock_send(sv[0], "12345678", 8, NULL, 0, 0), 0);
	assert_int_equal(sock_send(sv[0], "123456789", 9, NULL, 0, 0), 0);
	assert_int_equal(sock_recv(sv[1], buf, 8, NULL, 0, 0), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(sock_recv(sv[1], buf, 8, NULL, 0, 0), 8);
	assert_int_equal(sock_recv(sv[1], buf, 8, NULL, 0, 0), -EMSGSIZE);
	assert_int_equal(
		sock_recv(sv[1], buf, 8, NULL, 0, deadline_after_ms(10)), -ETIMEDOUT);
	close(sv[0]);
	assert_int_equal(sock_recv(sv[1], buf, 8, NULL, 0, DEADLINE_NONE), 0);
	assert_int_equal(sock_send(sv[1], "x", 1, NULL, 0, DEADLINE_NONE), -EPIPE);
	close(sv[1]);
}

/* A peer that does not read: the send ends at its deadline. */
static void test_send_deadline(void **state)
{
	static char big[1 << 20];
	int sv[2];

	(void)state;
	assert_int_equal(pair(SOCK_STREAM, sv), 0);
	assert_int_equal(
		sock_send(sv[0], big, sizeof(big), NULL, 0, deadline_after_ms(20)),
		-ETIMEDOUT);
	close(sv[0]);
	close(sv[1]);
}

static void test_descriptors(void **state)
{
	unsigned int before = open_fds();
	int sv[2], fds[3], zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct stat sent, got;
	char buf[8];

	(void)state;
	assert_int_equal(pair(SOCK_SEQPACKET, sv), 0);
	assert_int_equal(sock_send(sv[0], "two", 3, (int[]){zero, sv[0]}, 2, 0), 0);
	assert_int_equal(sock_recv(sv[1], buf, 8, fds, 3, 0), 3);
	assert_int_equal(fstat(zero, &sent), 0);
	assert_int_equal(fstat(fds[0], &got), 0);
	assert_int_equal(got.st_rdev, sent.st_rdev);
	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	assert_true(fds[1] >= 0);
	assert_int_equal(fds[2], -1);
	close(fds[0]);
	close(fds[1]);
	close(zero);
	close(sv[0]);
	close(sv[1]);
	assert_int_equal(open_fds(), before);
}

/* More descriptors than wanted, or a message too long: none of them stays open. */
static void test_descriptors_refused(void **state)
{
	unsigned int before = open_fds();
	int many[SOCK_FDS_MAX + 1], fds[2], sv[2];
	char buf[4];

	(void)state;
	assert_int_equal(pair(SOCK_SEQPACKET, sv), 0);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = STDERR_FILENO;
	assert_int_equal(sock_send(sv[0], "x", 1, many, SOCK_FDS_MAX + 1, 0), -E2BIG);
	assert_int_equal(sock_send(sv[0], "x", 1, many, SOCK_FDS_MAX, 0), 0);
	assert_int_equal(sock_recv(sv[1], buf, 4, fds, 2, 0), -EPROTO);
	assert_int_equal(fds[0], -1);
	assert_int_equal(fds[1], -1);
	assert_int_equal(sock_send(sv[0], "x", 1, many, 1, 0), 0);
	assert_int_equal(sock_recv(sv[1], buf, 4, NULL, 0, 0), -EPROTO);
	assert_int_equal(sock_send(sv[0], "12345", 5, many, 2, 0), 0);
	assert_int_equal(sock_recv(sv[1], buf, 4, fds, 2, 0), -EMSGSIZE);
	assert_int_equal(fds[0], -1);
	close(sv[0]);
	close(sv[1]);
	assert_int_equal(open_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_connect),
		cmocka_unit_test(test_listen_refuses),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_send_deadline),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_descriptors_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
