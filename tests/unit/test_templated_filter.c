/* SPDX-License-Identifier: Apache-2.0 */
/* templated/own_filter: what system calls come to. That templated and its children have
 * all that they need is tried by the integration and system tests. */
#include "tests/unit/filter_rows.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "templated/own_filter.h"
#include "vm/confine.h"
#include "vm/qemu_filter.h"

static const struct filter_row rows[] = {
	{"getpid", SYS_getpid, {0}, OK},
	{"open to write", SYS_openat, {AT_FDCWD, (long)"/dev/null", O_RDWR}, OK},
	{"a Unix socket", SYS_socket, {AF_UNIX, SOCK_STREAM}, OK},
	{"an Internet socket", SYS_socket, {AF_INET, SOCK_STREAM}, ENOSYS},
	{"a packet socket", SYS_socket, {AF_PACKET, SOCK_RAW}, ENOSYS},
	{"a netlink socket", SYS_socket, {AF_NETLINK, SOCK_RAW}, ENOSYS},
	{"a mount", SYS_mount, {0, (long)"/none"}, ENOENT},
	{"ptrace", SYS_ptrace, {0}, ENOSYS},
	{"process_vm_writev", SYS_process_vm_writev, {0}, ENOSYS},
	{"pidfd_getfd", SYS_pidfd_getfd, {0}, ENOSYS},
	{"setns", SYS_setns, {-1}, ENOSYS},
	{"chroot", SYS_chroot, {(long)"/none"}, ENOSYS},
	{"open_by_handle_at", SYS_open_by_handle_at, {-1}, ENOSYS},
	{"bpf", SYS_bpf, {0}, ENOSYS},
	{"perf_event_open", SYS_perf_event_open, {0}, ENOSYS},
	{"userfaultfd", SYS_userfaultfd, {0}, ENOSYS},
	{"io_uring_setup", SYS_io_uring_setup, {0}, ENOSYS},
	{"keyctl", SYS_keyctl, {0}, ENOSYS},
	{"finit_module", SYS_finit_module, {-1}, ENOSYS},
	{"kexec_load", SYS_kexec_load, {0}, ENOSYS},
	{"reboot", SYS_reboot, {0}, ENOSYS},
	{"settimeofday", SYS_settimeofday, {0}, ENOSYS},
	{"shmget", SYS_shmget, {0}, ENOSYS},
	{"clone3", SYS_clone3, {0}, ENOSYS},
	{"an x32 call", 0x40000000 | SYS_getpid, {0}, KILLED},
};

static bool enter(void)
{
	struct err err;

	return own_filter_enter(&err) == 0;
}

/* A wall's proof: docs/security.md. */
static void test_calls(void **state)
{
	(void)state;
	filter_check(rows, ARRAY_SIZE(rows), enter);
}

/* A QEMU's own filter has its listener also below this one, and kills as ever. */
static void test_qemu(void **state)
{
	const struct qemu_filter f = {.exec_fd = -1, .exec_path = ""};
	struct sock_fprog program;
	const char *step;
	int status, listener;
	pid_t pid;

	(void)state;
	assert_int_equal(qemu_filter_make(&f, &program), 0);
	pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !enter() ||
			confine_filter(&program, &listener, &step) < 0)
			_exit(1);
		_exit(syscall(SYS_mount, 0, "/none", 0, 0, 0) == -1 ? 2 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	free(program.filter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_qemu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
