/* SPDX-License-Identifier: Apache-2.0 */
/* vm/qemu_filter: what each system call comes to. That a real QEMU has the filter and
 * does without what it refuses is tried by the integration and system tests. */
#include "tests/unit/filter_rows.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "vm/confine.h"
#include "vm/qemu_filter.h"

#define HELD ENOSYS /* nobody has the listener */

#define EXEC_FD 77
#define THREAD  (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define HIGH    0xffffffff00000000ul

static const char exec_path[1];

static const struct filter_row rows[] = {
	{"getpid", SYS_getpid, {0}, OK},
	{"code that can be written", SYS_mmap,
		{0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			-1},
		OK},
	{"a limit of its own", SYS_prlimit64, {0, RLIMIT_NOFILE}, OK},
	{"a limit of another", SYS_prlimit64, {1, RLIMIT_NOFILE}, ENOSYS},
	{"its CPUs", SYS_sched_getaffinity, {0}, EINVAL},
	{"another's CPUs", SYS_sched_getaffinity, {1}, ENOSYS},
	/* prctl */
	{"a thread's name", SYS_prctl, {PR_SET_NAME, (long)"x"}, OK},
	{"the timers' slack", SYS_prctl, {PR_SET_TIMERSLACK, 1}, OK},
	{"being dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}, ENOSYS},
	{"another filter", SYS_prctl, {PR_SET_SECCOMP, 2}, ENOSYS},
	{"another filter, by seccomp", SYS_seccomp, {SECCOMP_SET_MODE_FILTER}, ENOSYS},
	{"an ambient capability", SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE},
		ENOSYS},
	{"securebits", SYS_prctl, {PR_SET_SECUREBITS, 0}, ENOSYS},
	{"rights for AMX", SYS_arch_prctl, {0x1021, 0}, EFAULT},
	{"a shadow stack", SYS_arch_prctl, {0x5001, 0}, ENOSYS},
	/* opening */
	{"open to read", SYS_openat, {AT_FDCWD, (long)"/", O_RDONLY}, OK},
	{"open to read, of a folder", SYS_openat, {-1, (long)"x", O_RDONLY}, EBADF},
	{"open to write", SYS_openat, {AT_FDCWD, (long)"/", O_WRONLY}, ENOSYS},
	{"open for either", SYS_openat, {AT_FDCWD, (long)"/", O_RDWR}, HELD},
	{"open for neither", SYS_openat, {AT_FDCWD, (long)"/", O_ACCMODE}, ENOSYS},
	{"open for either, of a folder", SYS_openat, {-1, (long)"x", O_RDWR}, ENOSYS},
	{"open, the old way", SYS_open, {(long)"/", O_RDONLY}, ENOSYS},
	{"openat2", SYS_openat2, {0}, ENOSYS},
	{"creat", SYS_creat, {(long)"/x"}, ENOSYS},
	/* ioctl: the number has 32 bits, and libc may extend its sign */
	{"a tap's offloads", SYS_ioctl, {-1, TUNSETOFFLOAD}, EBADF},
	{"the same, extended", SYS_ioctl, {-1, (long)(HIGH | TUNGETIFF)}, EBADF},
	{"another tap", SYS_ioctl, {-1, TUNSETIFF}, ENOSYS},
	{"a tap that stays", SYS_ioctl, {-1, TUNSETPERSIST}, ENOSYS},
	{"a disk's size", SYS_ioctl, {-1, BLKGETSIZE64}, EBADF},
	{"whether a disk is read-only", SYS_ioctl, {-1, BLKROGET}, EBADF},
	{"a disk's partitions", SYS_ioctl, {-1, BLKRRPART}, ENOSYS},
	{"a disk's write protection", SYS_ioctl, {-1, BLKROSET}, ENOSYS},
	{"a file's flags", SYS_ioctl, {-1, FS_IOC_SETFLAGS}, ENOSYS},
	/* fcntl */
	{"a descriptor's flags", SYS_fcntl, {-1, F_GETFL}, EBADF},
	{"a duplicate", SYS_fcntl, {-1, F_DUPFD_CLOEXEC, 3}, EBADF},
	{"whom to signal", SYS_fcntl, {-1, F_SETOWN, 1}, ENOSYS},
	{"a lease", SYS_fcntl, {-1, F_SETLEASE, F_WRLCK}, ENOSYS},
	/* processes */
	{"a signal for itself", SYS_tgkill, {SELF, SELF, 0}, OK},
	{"a signal for another", SYS_tgkill, {1, 1, 0}, KILLED},
	{"a thread in a namespace", SYS_clone, {THREAD | CLONE_NEWUSER}, ENOSYS},
	{"a process", SYS_clone, {SIGCHLD}, KILLED},
	{"a process that shares", SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD}, KILLED},
	{"clone3", SYS_clone3, {0}, ENOSYS},
	{"fork", SYS_fork, {0}, KILLED},
	{"kill", SYS_kill, {0, 0}, KILLED},
	{"ptrace", SYS_ptrace, {0}, KILLED},
	{"pidfd_open", SYS_pidfd_open, {1}, KILLED},
	/* execution */
	{"its own execution", SYS_execveat,
		{EXEC_FD, (long)exec_path, 0, 0, AT_EMPTY_PATH}, HELD},
	{"of another descriptor", SYS_execveat,
		{EXEC_FD + 1, (long)exec_path, 0, 0, AT_EMPTY_PATH}, KILLED},
	{"of another name", SYS_execveat, {EXEC_FD, (long)"", 0, 0, AT_EMPTY_PATH},
		KILLED},
	{"of a name", SYS_execveat, {EXEC_FD, (long)exec_path, 0, 0, 0}, KILLED},
	{"execve", SYS_execve, {0}, KILLED},
	/* the rest */
	{"io_uring_setup", SYS_io_uring_setup, {0}, ENOSYS},
	{"io_uring_enter", SYS_io_uring_enter, {-1}, KILLED},
	{"memfd_create", SYS_memfd_create, {(long)"x"}, ENOSYS},
	{"setsockopt", SYS_setsockopt, {-1}, ENOSYS},
	{"a call of tomorrow", 1000, {0}, ENOSYS},
	{"an x32 call", 0x40000000 | SYS_getpid, {0}, KILLED},
	{"socket", SYS_socket, {AF_UNIX, SOCK_STREAM}, KILLED},
	{"connect", SYS_connect, {-1}, KILLED},
	{"mount", SYS_mount, {0}, KILLED},
	{"unshare", SYS_unshare, {0}, KILLED},
	{"setns", SYS_setns, {-1}, KILLED},
	{"setuid", SYS_setuid, {0}, KILLED},
	{"capset", SYS_capset, {0}, KILLED},
	{"bpf", SYS_bpf, {0}, KILLED},
	{"keyctl", SYS_keyctl, {0}, KILLED},
	{"userfaultfd", SYS_userfaultfd, {0}, KILLED},
	{"perf_event_open", SYS_perf_event_open, {0}, KILLED},
	{"open_by_handle_at", SYS_open_by_handle_at, {-1}, KILLED},
	{"shmat", SYS_shmat, {-1}, KILLED},
	{"finit_module", SYS_finit_module, {-1}, KILLED},
	{"kexec_file_load", SYS_kexec_file_load, {-1}, KILLED},
	{"settimeofday", SYS_settimeofday, {0}, KILLED},
};

static bool install(bool kvm)
{
	const struct qemu_filter f = {
		.pid = getpid(), .kvm = kvm, .exec_fd = EXEC_FD, .exec_path = exec_path};
	struct sock_fprog program;
	const char *step;
	int listener;

	return qemu_filter_make(&f, &program) == 0 &&
	       confine_filter(&program, &listener, &step) == 0 && close(listener) == 0;
}

static bool enter(void)
{
	return install(false);
}

static bool enter_with_kvm(void)
{
	return install(true);
}

/* A wall's proof: docs/security.md. */
static void test_calls(void **state)
{
	(void)state;
	filter_check(rows, ARRAY_SIZE(rows), enter);
}

static void test_kvm(void **state)
{
	static const struct filter_row with[] = {
		{"KVM_RUN", SYS_ioctl, {-1, KVM_RUN}, EBADF},
		{"KVM_GET_CLOCK, extended", SYS_ioctl, {-1, (long)(HIGH | KVM_GET_CLOCK)},
			EBADF},
		{"TUNSETIFF", SYS_ioctl, {-1, TUNSETIFF}, ENOSYS},
	};
	static const struct filter_row without = {
		"KVM_RUN", SYS_ioctl, {-1, KVM_RUN}, ENOSYS};

	(void)state;
	filter_check(with, ARRAY_SIZE(with), enter_with_kvm);
	filter_check(&without, 1, enter);
}

static void *do_nothing(void *arg)
{
	return arg;
}

/* libc's own threads pass, by clone(2) after clone3(2). */
static void test_threads(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pthread_t thread;

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !enter())
			_exit(254);
		_exit(pthread_create(&thread, NULL, do_nothing, NULL) == 0 &&
					pthread_join(thread, NULL) == 0
				? 0
				: 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Two of the largest kind fit into what the child has room for. */
static void test_length(void **state)
{
	const struct qemu_filter f = {
		.pid = 1, .kvm = true, .exec_fd = EXEC_FD, .exec_path = exec_path};
	struct sock_fprog program;

	(void)state;
	assert_int_equal(qemu_filter_make(&f, &program), 0);
	assert_in_range(program.len, 100, CONFINE_FILTER_MAX / 2);
	free(program.filter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_kvm),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
