/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of QEMU: see qemu_filter.h.
 *
 * The tables are from traces of QEMU 7.2 and 10 through all that is done with a VM here,
 * boot, save, clone, plugging and unplugging, disks, images, floods, under emulation and,
 * as far as KVM goes here, under KVM; and, for what a trace does not show, from their
 * source. `make check-filters` logs what they refuse while the tests run.
 *
 * Not restricted is memory that can be executed: the loader maps libraries, TCG's
 * translation buffer is writable and executable at once, and a filter can't tell these
 * from others.
 *
 * The kernel looks at the lower 32 bits of what is an int or an unsigned int to it (an
 * ioctl's number, a command of fcntl or prctl, a pid), libc may have extended the sign:
 * so no more of it is compared.
 */
#include "vm/qemu_filter.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/filter.h"
#include "base/util.h"

static const int allowed[] = {
	/* libc and its loader: memory, threads, time, the end */
	SCMP_SYS(brk),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(msync),
	SCMP_SYS(futex),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime), /* this and the next two: where the vDSO has no clock */
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	/* signals */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(signalfd4),
	/* what it is, and where */
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(uname),
	SCMP_SYS(sysinfo),
	/* files, of which its root has libraries and firmware */
	SCMP_SYS(access),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(readlink),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents64),
	SCMP_SYS(close),
	SCMP_SYS(lseek),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	/* the memory file of a template, disks: vectors, flushes, trimmed ranges */
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	/* its event loops */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(eventfd2),
	SCMP_SYS(pipe2),
	/* its sockets: QMP with descriptors, and the two channels */
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(shutdown),
};

/* Beside filter_add_ways_out() and filter_add_never(). */
static const int deadly[] = {
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(kcmp),
	SCMP_SYS(unshare),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(setfsuid),
	SCMP_SYS(setfsgid),
	SCMP_SYS(capset),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(swapoff),
	SCMP_SYS(syslog),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(modify_ldt),
};

/* ---- by their arguments ---- */

#define LOW_32_BITS(arg, value)                                                          \
	{                                                                                \
		(arg), SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value)                 \
	}

static const struct scmp_arg_cmp ioctls[] = {
	/* NICs: net/tap.c, net/tap-linux.c; each is a tap that comes open and named */
	LOW_32_BITS(1, TUNGETIFF),
	LOW_32_BITS(1, TUNGETFEATURES),
	LOW_32_BITS(1, TUNSETSNDBUF),
	LOW_32_BITS(1, TUNSETOFFLOAD),
	LOW_32_BITS(1, TUNGETVNETHDRSZ),
	LOW_32_BITS(1, TUNSETVNETHDRSZ),
	/* disks: block/file-posix.c */
	LOW_32_BITS(1, BLKROGET),
	LOW_32_BITS(1, BLKGETSIZE64),
	LOW_32_BITS(1, BLKSSZGET),
	LOW_32_BITS(1, BLKPBSZGET),
	LOW_32_BITS(1, BLKSECTGET),
	LOW_32_BITS(1, BLKDISCARD),
	LOW_32_BITS(1, BLKZEROOUT),
	LOW_32_BITS(1, HDIO_GETGEO),
};

/* All of KVM's, and nothing else's (Documentation/userspace-api/ioctl): a list of those
 * that one QEMU makes on one CPU would be another one on the next. */
#define IOCTL_TYPE 0xff00u
static const struct scmp_arg_cmp kvm_ioctl = {
	1, SCMP_CMP_MASKED_EQ, IOCTL_TYPE, (uint32_t)KVMIO << 8};

static const struct scmp_arg_cmp fcntls[] = {
	LOW_32_BITS(1, F_DUPFD),
	LOW_32_BITS(1, F_DUPFD_CLOEXEC),
	LOW_32_BITS(1, F_GETFD),
	LOW_32_BITS(1, F_SETFD),
	LOW_32_BITS(1, F_GETFL),
	LOW_32_BITS(1, F_SETFL),
};

static const struct scmp_arg_cmp prctls[] = {
	LOW_32_BITS(0, PR_SET_NAME),
	LOW_32_BITS(0, PR_SET_TIMERSLACK),
	LOW_32_BITS(0, PR_MCE_KILL),
};

#ifndef ARCH_GET_XCOMP_SUPP /* asm/prctl.h of Linux 5.16; guests': of 5.17 */
#define ARCH_GET_XCOMP_SUPP 0x1021
#endif
#ifndef ARCH_REQ_XCOMP_GUEST_PERM
#define ARCH_GET_XCOMP_GUEST_PERM 0x1024
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#endif

static const struct scmp_arg_cmp arch_prctls[] = {
	LOW_32_BITS(0, ARCH_SET_FS),
	/* AMX for a guest: target/i386/kvm/kvm-cpu.c */
	LOW_32_BITS(0, ARCH_GET_XCOMP_SUPP),
	LOW_32_BITS(0, ARCH_GET_XCOMP_GUEST_PERM),
	LOW_32_BITS(0, ARCH_REQ_XCOMP_GUEST_PERM),
};

/* Limits and CPUs of itself (pid 0). */
static const struct scmp_arg_cmp own_limits[] = {LOW_32_BITS(0, 0)};

#define THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define NO_THREAD                                                                        \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |   \
		CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE | CLONE_VFORK | CLONE_PARENT)

static const struct scmp_arg_cmp threads[] = {
	{0, SCMP_CMP_MASKED_EQ, (uint32_t)(THREAD | NO_THREAD), THREAD},
};

/* Read-only by any name. Its root is read-only: O_CREAT and O_TRUNC come to nothing. */
static const struct scmp_arg_cmp opens[] = {
	{2, SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDONLY},
};

static const struct condition {
	int call;
	const struct scmp_arg_cmp *args; /* one of them has to hold */
	size_t n_args;
} conditions[] = {
	{SCMP_SYS(ioctl), ioctls, ARRAY_SIZE(ioctls)},
	{SCMP_SYS(fcntl), fcntls, ARRAY_SIZE(fcntls)},
	{SCMP_SYS(prctl), prctls, ARRAY_SIZE(prctls)},
	{SCMP_SYS(arch_prctl), arch_prctls, ARRAY_SIZE(arch_prctls)},
	{SCMP_SYS(prlimit64), own_limits, ARRAY_SIZE(own_limits)},
	{SCMP_SYS(sched_getaffinity), own_limits, ARRAY_SIZE(own_limits)},
	{SCMP_SYS(clone), threads, ARRAY_SIZE(threads)},
	{SCMP_SYS(openat), opens, ARRAY_SIZE(opens)},
};

static int add_conditions(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		for (size_t k = 0; r == 0 && k < conditions[i].n_args; k++)
			r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
				conditions[i].call, 1, &conditions[i].args[k]);
	return r;
}

/* A fork, and a signal for somebody else. */
static int add_deadly_conditions(scmp_filter_ctx ctx, const struct qemu_filter *f)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)f->pid));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)f->pid));
	return r;
}

/*
 * QEMU opens for writing what its supervisor answers, and /dev/kvm: both by
 * openat(AT_FDCWD, …, O_RDWR), as libc's open(3) is. Nothing else is opened for writing.
 */
static int add_held(scmp_filter_ctx ctx, const struct qemu_filter *f)
{
	const struct scmp_arg_cmp exec[] = {
		{0, SCMP_CMP_EQ, (scmp_datum_t)f->exec_fd, 0},
		{1, SCMP_CMP_EQ, (uintptr_t)f->exec_path, 0},
		{4, SCMP_CMP_EQ, AT_EMPTY_PATH, 0},
	};
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(openat), 2,
		SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)AT_FDCWD),
		SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
	if (r == 0)
		r = seccomp_rule_add_array(
			ctx, SCMP_ACT_NOTIFY, SCMP_SYS(execveat), ARRAY_SIZE(exec), exec);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(exec); i++) {
		struct scmp_arg_cmp other = exec[i];

		other.op = SCMP_CMP_NE;
		r = seccomp_rule_add_array(
			ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execveat), 1, &other);
	}
	return r;
}

static int add_rules(scmp_filter_ctx ctx, const struct qemu_filter *f)
{
	int r = filter_add_calls(ctx, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));

	if (r == 0)
		r = filter_add_calls(
			ctx, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_SIZE(deadly));
	if (r == 0)
		r = filter_add_ways_out(ctx, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = filter_add_never(ctx, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = add_conditions(ctx);
	if (r == 0 && f->kvm)
		r = seccomp_rule_add_array(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &kvm_ioctl);
	if (r == 0)
		r = add_deadly_conditions(ctx, f);
	return r == 0 ? add_held(ctx, f) : r;
}

int qemu_filter_make(const struct qemu_filter *f, struct sock_fprog *ret)
{
	scmp_filter_ctx ctx = NULL;
	int r = filter_new(SCMP_ACT_ERRNO(ENOSYS), &ctx);

	/* A binary tree: ioctl, which KVM's vCPUs live in, is looked at each time. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = add_rules(ctx, f);
	if (r == 0)
		r = filter_export(ctx, ret);
	seccomp_release(ctx);
	return r;
}

int qemu_filter_allow_all(scmp_filter_ctx ctx)
{
	static const int others[] = {SCMP_SYS(tgkill), SCMP_SYS(execveat)};
	int r = filter_add_calls(ctx, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(conditions); i++)
		r = filter_add_calls(ctx, SCMP_ACT_ALLOW, &conditions[i].call, 1);
	return r == 0 ? filter_add_calls(ctx, SCMP_ACT_ALLOW, others, ARRAY_SIZE(others))
		      : r;
}
