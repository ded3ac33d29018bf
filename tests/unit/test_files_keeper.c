/* SPDX-License-Identifier: Apache-2.0 */
/* files/keeper: what it does, what it refuses, its walls, its end. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/proc.h"
#include "files/jail.h"
#include "files/keeper_internal.h"

#define KEEPER_UID 1879100002u
#define ATTRIBUTE  "trusted.overlay.opaque"

/*
 * A sanitizer's memory and system calls are none of the keeper's, and would end it: there
 * its code is looked at without its walls. (gcc says which sanitizer by a macro of its
 * own.)
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_WALLS false

int jail_enter_keeper(uid_t uid, pid_t parent, struct err *err)
{
	(void)uid;
	(void)parent;
	if (chdir("/proc/self/fd") < 0 ||
		syscall(SYS_close_range, JAIL_KEEPER_FD + 1, ~0u, 0) < 0)
		return err_sys(err, errno, "/proc/self/fd");
	return 0;
}
#else
#define HAS_WALLS true
#endif

struct fixture {
	struct keeper *keeper;
	char *folder, *file;
	int fd; /* O_PATH, of the file */
};

static int setup(void **state)
{
	struct fixture *f = xnew0(struct fixture);
	struct err err = ERR_INIT;

	f->folder = test_folder_new();
	f->file = test_file(f->folder, "file", "");
	f->fd = open(f->file, O_PATH | O_CLOEXEC);
	if (keeper_new(KEEPER_UID, &f->keeper, &err) < 0 ||
		keeper_wait(f->keeper, &err) < 0)
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	keeper_free(f->keeper);
	close(f->fd);
	free(f->file);
	test_folder_free(f->folder);
	free(f);
	return 0;
}

static ssize_t get(struct fixture *f, int fd, char *value, size_t size)
{
	struct keeper_call call = {
		.kind = KEEPER_GET, .name = ATTRIBUTE, .value = value, .size = size};

	return keeper_call(f->keeper, fd, &call);
}

static ssize_t set(struct fixture *f, int fd, const char *value, int flags)
{
	struct keeper_call call = {.kind = KEEPER_SET,
		.name = ATTRIBUTE,
		.flags = flags,
		.value = (void *)(uintptr_t)value,
		.size = strlen(value)};

	return keeper_call(f->keeper, fd, &call);
}

static void test_values(void **state)
{
	struct fixture *f = *state;
	struct keeper_call gone = {.kind = KEEPER_REMOVE, .name = ATTRIBUTE};
	char value[8] = "";

	assert_int_equal(get(f, f->fd, NULL, 0), -ENODATA);
	assert_int_equal(set(f, f->fd, "abc", XATTR_CREATE), 0);
	assert_int_equal(set(f, f->fd, "d", XATTR_CREATE), -EEXIST);
	assert_int_equal(get(f, f->fd, NULL, 0), 3);
	assert_int_equal(get(f, f->fd, value, 2), -ERANGE);
	assert_int_equal(get(f, f->fd, value, sizeof(value)), 3);
	assert_string_equal(value, "abc");
	assert_int_equal(getxattr(f->file, ATTRIBUTE, value, sizeof(value)), 3);
	assert_int_equal(set(f, f->fd, "", 0), 0);
	assert_int_equal(get(f, f->fd, value, sizeof(value)), 0);
	assert_int_equal(keeper_call(f->keeper, f->fd, &gone), 0);
	assert_int_equal(keeper_call(f->keeper, f->fd, &gone), -ENODATA);
}

/* Not of what it leads to. */
static void test_symlink(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/link", f->folder);
	_cleanup_close_ int fd = -1;

	assert_int_equal(symlink("file", path), 0);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	assert_int_equal(set(f, fd, "y", 0), 0);
	assert_int_equal(lgetxattr(path, ATTRIBUTE, NULL, 0), 1);
	assert_int_equal(getxattr(f->file, ATTRIBUTE, NULL, 0), -1);
}

/* A wall's proof: docs/security.md. */
static void test_names(void **state)
{
	static const char *const others[] = {"trusted.overlay.", "trusted.overlay",
		"trusted.overlayx.y", "trusted.x", "user.trusted.overlay.x", "",
		"security.capability"};
	struct fixture *f = *state;

	assert_true(keeper_knows(ATTRIBUTE));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct keeper_call call = {.kind = KEEPER_REMOVE, .name = others[i]};

		assert_false(keeper_knows(others[i]));
		assert_int_equal(keeper_call(f->keeper, f->fd, &call), -EPERM);
	}
}

static void test_bounds(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *value = xzalloc(KEEPER_VALUE_MAX + 1);
	char name[300] = KEEPER_PREFIX;
	struct keeper_call call = {.kind = KEEPER_SET,
		.name = ATTRIBUTE,
		.value = value,
		.size = KEEPER_VALUE_MAX + 1};

	assert_int_equal(keeper_call(f->keeper, f->fd, &call), -E2BIG);
	memset(name + strlen(name), 'x', 255 - strlen(name));
	call = (struct keeper_call){.kind = KEEPER_GET, .name = name};
	assert_int_equal(keeper_call(f->keeper, f->fd, &call), -ENODATA);
	name[255] = 'x';
	assert_int_equal(keeper_call(f->keeper, f->fd, &call), -ERANGE);
}

/* ---- a server that is not itself: by a socket to a keeper of this test's ---- */

struct raw {
	int fd;
	pid_t pid;
};

static struct raw raw_new(void)
{
	struct keeper_answer answer;
	struct raw raw;
	int pair[2];
	pid_t parent = getpid();

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	raw.fd = pair[0];
	raw.pid = fork();
	if (raw.pid == 0)
		keeper_run(pair[1], KEEPER_UID, parent);
	close(pair[1]);
	assert_true(sock_recv(raw.fd, &answer, sizeof(answer), NULL, 0, soon()) > 0);
	assert_int_equal(answer.code, 0);
	return raw;
}

/* It ends, with this status, and answers nothing. */
static void raw_expect_end(struct raw *raw, int wanted)
{
	char byte;
	int status;

	assert_int_equal(sock_recv(raw->fd, &byte, 1, NULL, 0, soon()), 0);
	assert_int_equal(waitpid(raw->pid, &status, 0), raw->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), wanted);
	close(raw->fd);
}

static const struct wrong {
	const char *what;
	struct keeper_request request;
	size_t less, more; /* than its length */
	unsigned int n_fds;
} wrongs[] = {
	{"no descriptor", {KEEPER_GET, 0, 0, ATTRIBUTE, {0}}, 0, 0, 0},
	{"two descriptors", {KEEPER_GET, 0, 0, ATTRIBUTE, {0}}, 0, 0, 2},
	{"another name", {KEEPER_GET, 0, 0, "security.capability", {0}}, 0, 0, 1},
	{"only a prefix", {KEEPER_GET, 0, 0, KEEPER_PREFIX, {0}}, 0, 0, 1},
	{"a short message", {KEEPER_GET, 0, 0, ATTRIBUTE, {0}}, 1, 0, 1},
	{"a byte too many", {KEEPER_GET, 0, 0, ATTRIBUTE, {0}}, 0, 1, 1},
	{"no value", {KEEPER_SET, 0, 1, ATTRIBUTE, {0}}, 0, 0, 1},
	{"a huge room", {KEEPER_GET, 0, KEEPER_VALUE_MAX + 1, ATTRIBUTE, {0}}, 0, 0, 1},
};

static void test_wrong_requests(void **state)
{
	struct fixture *f = *state;
	const int fds[] = {f->fd, f->fd};

	for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
		const struct wrong *w = &wrongs[i];
		size_t len = offsetof(struct keeper_request, value) - w->less + w->more;
		struct raw raw = raw_new();

		print_message("# %s\n", w->what);
		assert_int_equal(
			sock_send(raw.fd, &w->request, len, fds, w->n_fds, soon()), 0);
		raw_expect_end(&raw, 1);
	}
	assert_int_equal(getxattr(f->file, "security.capability", NULL, 0), -1);
}

/* The whole field, and no end of it. */
static void test_endless_name(void **state)
{
	struct fixture *f = *state;
	struct keeper_request request = {.kind = KEEPER_GET, .name = KEEPER_PREFIX};
	struct raw raw = raw_new();

	memset(request.name + strlen(KEEPER_PREFIX), 'x',
		sizeof(request.name) - strlen(KEEPER_PREFIX));
	assert_int_equal(
		sock_send(raw.fd, &request, offsetof(struct keeper_request, value),
			&f->fd, 1, soon()),
		0);
	raw_expect_end(&raw, 1);
}

static void test_no_such_kind(void **state)
{
	struct fixture *f = *state;
	struct keeper_request request = {.kind = 4, .name = ATTRIBUTE};
	struct keeper_answer answer;
	struct raw raw = raw_new();

	assert_int_equal(
		sock_send(raw.fd, &request, offsetof(struct keeper_request, value),
			&f->fd, 1, soon()),
		0);
	assert_int_equal(sock_recv(raw.fd, &answer, sizeof(answer), NULL, 0, soon()),
		sizeof(answer.code));
	assert_int_equal(answer.code, -EINVAL);
	shutdown(raw.fd, SHUT_WR);
	raw_expect_end(&raw, 0);
}

/* ---- walls ---- */

static void assert_status(pid_t pid, const char *line)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)pid);
	_cleanup_free_ char *whole = xasprintf("\n%s\n", line);
	_cleanup_free_ char *text = NULL;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, path, 65536, &text, &len, NULL), 0);
	if (!strstr(text, whole))
		fail_msg("\"%s\" is not in:\n%s", line, text);
}

/* A wall's proof: docs/security.md. */
static void test_walls(void **state)
{
	static const char *const namespaces[] = {"mnt", "net", "ipc", "uts"};
	struct raw raw;
	_cleanup_free_ char *root = NULL, *fds = NULL;

	(void)state;
	if (!HAS_WALLS) {
		print_message("# a sanitizer: no walls to look at\n");
		return;
	}
	raw = raw_new();
	root = xasprintf("/proc/%d/root/", (int)raw.pid);
	fds = xasprintf("/proc/%d/fd", (int)raw.pid);
	assert_status(raw.pid, "Uid:\t1879100002\t1879100002\t1879100002\t1879100002");
	assert_status(raw.pid, "Groups:\t ");
	/* SYS_ADMIN */
	assert_status(raw.pid, "CapInh:\t0000000000000000");
	assert_status(raw.pid, "CapPrm:\t0000000000200000");
	assert_status(raw.pid, "CapEff:\t0000000000200000");
	assert_status(raw.pid, "CapBnd:\t0000000000200000");
	assert_status(raw.pid, "CapAmb:\t0000000000000000");
	assert_status(raw.pid, "NoNewPrivs:\t1");
	assert_status(raw.pid, "Seccomp:\t2");
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		test_other_namespace(raw.pid, namespaces[i]);
	assert_int_equal(test_entries(root), 0);
	assert_int_equal(test_entries(fds), 1);
	shutdown(raw.fd, SHUT_WR);
	raw_expect_end(&raw, 0);
}

/* A wall's proof: docs/security.md. */
static void test_filter(void **state)
{
	static const long calls[] = {SYS_getpid, SYS_openat, SYS_mount, SYS_setns,
		SYS_unshare, SYS_execve, SYS_fork, SYS_clone, SYS_clone3, SYS_socket,
		SYS_bpf, SYS_kill, SYS_ptrace, SYS_open_by_handle_at, SYS_listxattr,
		SYS_fsetxattr, SYS_lsetxattr, SYS_ioctl, SYS_mmap, SYS_read, SYS_write,
		SYS_prctl};
	struct err err = ERR_INIT;
	int status;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (jail_filter_enter_keeper(&err) == 0)
				syscall(calls[i], 0, 0, 0, 0, 0, 0);
			syscall(SYS_exit_group, 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("call %ld does not kill: 0x%x", calls[i], status);
	}
}

/* On another descriptor than its socket it may not even do what it does all the time. */
static void test_filter_socket(void **state)
{
	struct err err = ERR_INIT;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (jail_filter_enter_keeper(&err) == 0)
			syscall(SYS_sendmsg, JAIL_KEEPER_FD + 1, NULL, 0);
		syscall(SYS_exit_group, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* ---- ends ---- */

/* Its parent is killed while another has the socket, too: it ends all the same. */
static void test_parent_killed(void **state)
{
	int pair[2], status;
	char byte;
	pid_t pid;

	(void)state;
	if (!HAS_WALLS) {
		print_message("# a sanitizer: nothing that ends it with its parent\n");
		return;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		pid_t parent = getpid();

		if (fork() == 0) {
			close(pair[0]);
			keeper_run(pair[1], KEEPER_UID, parent);
		}
		close(pair[1]);
		for (;;)
			pause();
	}
	close(pair[1]);
	assert_int_equal(recv(pair[0], &byte, 1, MSG_TRUNC), sizeof(int32_t));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(sock_recv(pair[0], &byte, 1, NULL, 0, soon()), 0);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_symlink),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_wrong_requests),
		cmocka_unit_test(test_endless_name),
		cmocka_unit_test(test_no_such_kind),
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_filter_socket),
		cmocka_unit_test(test_parent_killed),
	};

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
