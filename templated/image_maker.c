/* SPDX-License-Identifier: Apache-2.0 */
/* mkfs.erofs as a child that can do nothing but read its jail: see image_jail.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/filter.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/util.h"
#include "templated/image_jail.h"

#define NOBODY 65534

/* Of memory that mkfs.erofs may have: 4 million inodes take about 2 GiB. */
#define MAKER_MEMORY_BYTES (4096 * MiB)
/* Of CPU: some hundred times what 10 GiB take. */
#define MAKER_CPU_SECONDS 7200
#define MAKER_FDS         1024

/* Beside filter_add_ways_out(): by these it would come to other processes or files. */
static const int denied[] = {
	SCMP_SYS(socketpair),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(tgkill),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(unshare),
	SCMP_SYS(io_uring_setup),
};

static int add_rules(scmp_filter_ctx ctx)
{
	int r = filter_add_calls(ctx, SCMP_ACT_ERRNO(EPERM), denied, ARRAY_SIZE(denied));

	if (r == 0)
		r = filter_add_ways_out(ctx, SCMP_ACT_ERRNO(EPERM));
	/* Threads and no process: it ends as a whole by one signal. A new namespace is
	 * never a thread's. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return r;
}

/* *ret->filter is the caller's. */
static int compile_filter(struct sock_fprog *ret, struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? add_rules(ctx) : -ENOMEM;

	if (r == 0)
		r = filter_export(ctx, ret);
	seccomp_release(ctx);
	return r < 0 ? err_sys(err, r, "cannot make the filter of mkfs.erofs") : 0;
}

/* ---- the child: system calls only ---- */

static void __attribute__((noreturn)) fail(const char *step)
{
	const char *const parts[] = {step, ": ", strerrordesc_np(errno)};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i] && write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
			break;
	_exit(127);
}

static void fail_below_zero(long result, const char *step)
{
	if (result < 0)
		fail(step);
}

static void set_limit(__rlimit_resource_t which, uint64_t value)
{
	struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	fail_below_zero(setrlimit(which, &limit), "set limits");
}

static void set_limits(const struct image_maker *m)
{
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_FSIZE, m->max_bytes);
	set_limit(RLIMIT_AS, MAKER_MEMORY_BYTES);
	set_limit(RLIMIT_CPU, MAKER_CPU_SECONDS);
	set_limit(RLIMIT_NOFILE, MAKER_FDS);
	/* Less nice than templated itself it can't be made. */
	if (getpriority(PRIO_PROCESS, 0) < m->niceness)
		fail_below_zero(setpriority(PRIO_PROCESS, 0, m->niceness), "setpriority");
}

static void join_cgroup(const struct image_maker *m)
{
	for (int i = 0; i < CGROUP_MAX; i++)
		if (m->cgroup_fds[i] >= 0)
			fail_below_zero(
				write(m->cgroup_fds[i], "0", 1), "join the cgroup");
}

static void enter_root(const struct image_maker *m)
{
	/* Its own, or the thread would lose its root, too;
	 * the unit allows no other kind. */
	fail_below_zero(unshare(CLONE_NEWNS), "unshare");
	fail_below_zero(chdir(m->root), "enter the jail");
	fail_below_zero(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	fail_below_zero(umount2(".", MNT_DETACH), "leave the old root");
	fail_below_zero(chdir("/"), "chdir /");
}

static void drop_privileges(void)
{
	const uint64_t keep = 1ull << CAP_DAC_READ_SEARCH;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)keep, (uint32_t)keep, (uint32_t)keep}};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(keep >> cap & 1))
			fail_below_zero(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0),
				"drop the bounding set");
	/* The raw calls: glibc's would signal threads that
	 * a forked child does not have. */
	fail_below_zero(syscall(SYS_setgroups, 0, NULL), "setgroups");
	fail_below_zero(syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY), "setresgid");
	fail_below_zero(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities");
	fail_below_zero(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY), "setresuid");
	fail_below_zero(syscall(SYS_capset, &header, data), "capset");
	fail_below_zero(
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0),
		"raise the ambient capability");
	fail_below_zero(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

/* After the change of credentials, which clears it. The thread that we are a child of may
 * have ended before: then this is another process's child by now. */
static void end_with_parent(pid_t parent)
{
	fail_below_zero(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PDEATHSIG");
	if (getppid() != parent)
		_exit(127);
}

static void __attribute__((noreturn)) run_child(const struct image_maker *m,
	const struct sock_fprog *filter, int null, pid_t parent)
{
	char *const argv[] = {(char[]){"mkfs.erofs"}, (char[]){"-Enoinline_data"},
		(char[]){"/image"}, (char[]){"/lower"}, NULL};
	char *const env[] = {(char[]){"LC_ALL=C"}, (char[]){"TMPDIR=/tmp"},
		(char[]){"PATH=/usr/bin:/bin"}, NULL};

	proc_reset_signals();
	if (dup2(m->output_fd, STDERR_FILENO) < 0 ||
		dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || dup2(null, STDIN_FILENO) < 0)
		_exit(127);
	join_cgroup(m);
	fail_below_zero(syscall(SYS_close_range, 3, ~0u, 0), "close_range");
	fail_below_zero(setsid(), "setsid");
	enter_root(m);
	set_limits(m);
	drop_privileges();
	end_with_parent(parent);
	fail_below_zero(
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, FILTER_FLAG_LOG, filter),
		"seccomp");
	execve(m->program, argv, env);
	fail(m->program);
}

int image_maker_start(const struct image_maker *m, pid_t *ret_pid, struct err *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct sock_fprog filter;
	pid_t parent = getpid(), pid;
	int r;

	if (null < 0)
		return err_sys(err, errno, "cannot open /dev/null");
	r = compile_filter(&filter, err);
	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		run_child(m, &filter, null, parent);
	if (pid < 0)
		r = err_sys(err, errno, "fork");
	else
		*ret_pid = pid;
	free(filter.filter);
	return r;
}
