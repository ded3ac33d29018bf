/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of the file server.
 *
 * Three classes: what it makes is allowed, with the arguments that it makes it with; what
 * no file server ever makes, and one that is broken into would, kills it, and its pod
 * ends with a reason; anything else fails with EPERM, as a library may try it and do
 * without.
 */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/filter.h"
#include "base/util.h"
#include "files/jail.h"
#include "files/watch.h"

static const int allowed[] = {
	/* libc: memory, threads, the end */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	/* base/util, base/log: where the vDSO has no clock */
	SCMP_SYS(clock_gettime),
	/* base/io: wait_fd() */
	SCMP_SYS(poll),
	/* files/channel*, files/control, base/io */
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(shutdown),
	/* files/channel_frames: the window's size, by either call of libc's */
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	/* base/log */
	SCMP_SYS(write),
	/* files/watch: on inodes only, since who has no CAP_SYS_ADMIN may no more; a
	 * handle is compared, never opened */
	SCMP_SYS(read),
	SCMP_SYS(fanotify_mark),
	SCMP_SYS(name_to_handle_at),
	/* files/inode, files/handle, files/names */
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	/* files/caller */
	SCMP_SYS(fchdir),
	SCMP_SYS(umask),
	SCMP_SYS(setfsuid),
	SCMP_SYS(setfsgid),
	SCMP_SYS(capget),
	SCMP_SYS(capset),
	SCMP_SYS(geteuid),
	SCMP_SYS(getegid),
	/* files/attr */
	SCMP_SYS(statx),
	SCMP_SYS(fstatfs),
	SCMP_SYS(chmod),
	SCMP_SYS(fchownat),
	SCMP_SYS(utimensat),
	SCMP_SYS(truncate),
	SCMP_SYS(ftruncate),
	/* files/data */
	SCMP_SYS(pread64),
	SCMP_SYS(pwritev2),
	SCMP_SYS(lseek),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(fallocate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(syncfs),
	/* files/folder */
	SCMP_SYS(getdents64),
	/* files/names */
	SCMP_SYS(readlinkat),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknodat),
	SCMP_SYS(symlinkat),
	SCMP_SYS(linkat),
	SCMP_SYS(unlinkat),
	SCMP_SYS(renameat), /* glibc 2.36 and later: renameat2() without flags */
	SCMP_SYS(renameat2),
	/* files/xattr */
	SCMP_SYS(getxattr),
	SCMP_SYS(setxattr),
	SCMP_SYS(listxattr),
	SCMP_SYS(removexattr),
	/* files/lock */
	SCMP_SYS(flock),
	/* files/wait */
	SCMP_SYS(dup3),
	SCMP_SYS(rt_sigtimedwait),
};

/* Beside filter_add_ways_out() and filter_add_never(). */
static const int deadly[] = {
	SCMP_SYS(execveat),
	SCMP_SYS(memfd_create),
	SCMP_SYS(io_uring_setup),
};

#define NEW_NAMESPACES                                                                   \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |   \
		CLONE_NEWPID | CLONE_NEWNET)

/* Those that are allowed by what they are given. */
static int add_conditions(scmp_filter_ctx ctx)
{
	const struct {
		int call;
		struct scmp_arg_cmp arg;
	} rows[] = {
		/* libc: memory, never code */
		{SCMP_SYS(mmap), {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}},
		{SCMP_SYS(mprotect), {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}},
		/* libc: threads, and nothing else */
		{SCMP_SYS(clone), {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | NEW_NAMESPACES,
					  CLONE_THREAD}},
		/* files/caller: a thread's own umask and working folder */
		{SCMP_SYS(unshare), {0, SCMP_CMP_EQ, CLONE_FS, 0}},
		{SCMP_SYS(prctl), {0, SCMP_CMP_EQ, PR_GET_SECUREBITS, 0}},
		/* files/watch */
		{SCMP_SYS(fanotify_init), {0, SCMP_CMP_EQ, WATCH_GROUP, 0}},
		/* files/wait: a signal for one of our own threads */
		{SCMP_SYS(tgkill), {0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0}},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rows); i++)
		r = seccomp_rule_add_array(
			ctx, SCMP_ACT_ALLOW, rows[i].call, 1, &rows[i].arg);
	/* It hides its flags; libc does without. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return r;
}

static int add_rules(scmp_filter_ctx ctx)
{
	int r = filter_add_calls(ctx, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));

	if (r == 0)
		r = filter_add_calls(
			ctx, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_SIZE(deadly));
	if (r == 0)
		r = filter_add_ways_out(ctx, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = filter_add_never(ctx, SCMP_ACT_KILL_PROCESS);
	return r == 0 ? add_conditions(ctx) : r;
}

/* All that the keeper does once it serves. */
static int add_keeper_rules(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp socket = {0, SCMP_CMP_EQ, JAIL_KEEPER_FD, 0};
	static const int calls[] = {SCMP_SYS(getxattr), SCMP_SYS(setxattr),
		SCMP_SYS(removexattr), SCMP_SYS(close), SCMP_SYS(exit_group)};
	int r;

	r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1, &socket);
	if (r == 0)
		r = seccomp_rule_add_array(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1, &socket);
	return r < 0 ? r
		     : filter_add_calls(ctx, SCMP_ACT_ALLOW, calls, ARRAY_SIZE(calls));
}

static int install_filter(
	uint32_t otherwise, int (*add)(scmp_filter_ctx ctx), struct err *err)
{
	scmp_filter_ctx ctx = NULL;
	int r = filter_new(otherwise, &ctx);

	if (r == 0)
		r = add(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? err_sys(err, r, "cannot install the system call filter") : 0;
}

int jail_filter_enter(struct err *err)
{
	return install_filter(SCMP_ACT_ERRNO(EPERM), add_rules, err);
}

int jail_filter_enter_keeper(struct err *err)
{
	return install_filter(SCMP_ACT_KILL_PROCESS, add_keeper_rules, err);
}
