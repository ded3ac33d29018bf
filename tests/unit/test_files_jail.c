/* SPDX-License-Identifier: Apache-2.0 */
/* files/jail: what the file server's filter lets through. Its other walls are looked at
 * in test_files_client. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "files/jail.h"

#define OK       0
#define KILLED   -1
#define NO_ERROR 255

static const struct row {
	const char *what;
	long call, args[4];
	int outcome; /* an errno, OK or KILLED */
} rows[] = {
	{"getpid", SYS_getpid, {0}, OK},
	{"setfsuid", SYS_setfsuid, {-1}, OK},
	{"umask", SYS_umask, {0}, OK},
	{"unshare(CLONE_FS)", SYS_unshare, {CLONE_FS}, OK},
	{"mmap of data", SYS_mmap,
		{0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS}, OK},
	{"mmap of code", SYS_mmap,
		{0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS}, EPERM},
	{"mprotect of code", SYS_mprotect, {0, 4096, PROT_EXEC}, EPERM},
	{"unshare(CLONE_FS | CLONE_NEWUSER)", SYS_unshare, {CLONE_FS | CLONE_NEWUSER},
		EPERM},
	{"clone of a process", SYS_clone, {SIGCHLD}, EPERM},
	{"clone of a thread in a namespace", SYS_clone, {CLONE_THREAD | CLONE_NEWNS},
		EPERM},
	{"clone3", SYS_clone3, {0}, ENOSYS},
	{"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1}, EPERM},
	{"a signal for another process", SYS_tgkill, {1, 1, 0}, EPERM},
	{"ioctl", SYS_ioctl, {0}, EPERM},
	{"open", SYS_open, {0}, EPERM},
	{"kill", SYS_kill, {1, 0}, KILLED},
	{"execve", SYS_execve, {0}, KILLED},
	{"execveat", SYS_execveat, {0}, KILLED},
	{"fork", SYS_fork, {0}, KILLED},
	{"ptrace", SYS_ptrace, {0}, KILLED},
	{"setuid", SYS_setuid, {0}, KILLED},
	{"setresuid", SYS_setresuid, {0}, KILLED},
	{"setgroups", SYS_setgroups, {0}, KILLED},
	{"mount", SYS_mount, {0}, KILLED},
	{"setns", SYS_setns, {0}, KILLED},
	{"open_by_handle_at", SYS_open_by_handle_at, {0}, KILLED},
	{"socket", SYS_socket, {AF_INET, SOCK_STREAM}, KILLED},
	{"io_uring_setup", SYS_io_uring_setup, {0}, KILLED},
	{"bpf", SYS_bpf, {0}, KILLED},
};

/* In a child: what the call gives, as its exit status. */
static void __attribute__((noreturn)) run_row(const struct row *row)
{
	struct err err;
	long r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || jail_filter_enter(&err) < 0)
		syscall(SYS_exit_group, 254);
	r = syscall(
		row->call, row->args[0], row->args[1], row->args[2], row->args[3], -1, 0);
	syscall(SYS_exit_group, r == -1 && errno != 0 ? errno : NO_ERROR);
	for (;;)
		;
}

/* A wall's proof: docs/security.md. */
static void test_filter(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		int status, wanted = row->outcome == OK ? NO_ERROR : row->outcome;
		pid_t pid = fork();

		if (pid == 0)
			run_row(row);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (row->outcome == KILLED) {
			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
				fail_msg("%s does not kill: 0x%x", row->what, status);
		} else if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted) {
			fail_msg("%s: status 0x%x, errno %d is wanted", row->what, status,
				wanted);
		}
	}
}

static void test_close_others(void **state)
{
	struct err err = ERR_INIT;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		bool done = fcntl(0, F_DUPFD, 40) == 40 &&
			    jail_close_others(3, &err) == 0 && fcntl(2, F_GETFD) >= 0 &&
			    fcntl(40, F_GETFD) < 0;

		_exit(done ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_close_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
