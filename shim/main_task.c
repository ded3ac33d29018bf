/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stencil-task: a process of the host that stands for one of a guest, see standin.h.
 *
 * Its arguments are those of the process that it stands for, so that ps(1) shows what
 * runs. There is one for each process that containerd knows, so it is made without libc:
 * with it, 44 KiB of memory of its own and 640 of the program's instead of 8 and 8.
 */
#include <linux/capability.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/signalfd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "shim/standin.h"

#define MASK_BYTES    8 /* of a signal set, as the kernel has it */
#define SIGNAL_CHILD  17
#define FLAG_CLOEXEC  02000000
#define FLAG_NONBLOCK 04000
#define FLAG_NOSIGNAL 0x4000 /* of sendto(2) */
#define SET_MASK      2      /* of rt_sigprocmask(2) */

static long system_call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	register long r9 __asm__("r9") = 0;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* It needs no privilege any more, and nobody who comes by it should find one. */
static long drop_privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	long r = system_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0);

	return r < 0 ? r : system_call(SYS_capset, (long)&header, (long)none, 0, 0);
}

/* The name that programs show which don't show arguments. */
static void take_name(const char *arg)
{
	const char *name = arg;

	for (const char *p = arg; *p; p++)
		if (*p == '/' && p[1])
			name = p + 1;
	system_call(SYS_prctl, PR_SET_NAME, (long)name, 0, 0);
}

static long tell_shim(int code, int signal)
{
	struct standin_message message = {.code = code, .signal = signal};

	return system_call(
		SYS_sendto, STANDIN_FD, (long)&message, sizeof(message), FLAG_NOSIGNAL);
}

/* Told to the shim, which passes it on to the guest; SIGCHLD is nobody's here. */
static void pass_on(int signal_fd)
{
	struct signalfd_siginfo info;

	if (system_call(SYS_read, signal_fd, (long)&info, sizeof(info), 0) ==
			sizeof(info) &&
		info.ssi_signo != SIGNAL_CHILD)
		tell_shim(0, (int)info.ssi_signo);
}

/* Until the shim closes its end, as it does when the process has ended, or has ended
 * itself. */
static void await_end(int signal_fd)
{
	struct pollfd fds[] = {{.fd = STANDIN_FD, .events = POLLIN},
		{.fd = signal_fd, .events = POLLIN}};

	for (;;) {
		if (system_call(SYS_poll, (long)fds, 2, -1, 0) < 0)
			continue; /* it was stopped and continued */
		if (fds[0].revents)
			return;
		if (fds[1].revents)
			pass_on(signal_fd);
	}
}

/* The kernel's: the number of arguments, and behind it their addresses. */
static void __attribute__((noreturn, used)) start(long *stack)
{
	uint64_t all = ~0ul;
	long r, signal_fd;

	if (stack[0] > 0)
		take_name((const char *)stack[1]);
	system_call(SYS_rt_sigprocmask, SET_MASK, (long)&all, 0, MASK_BYTES);
	signal_fd = system_call(
		SYS_signalfd4, -1, (long)&all, MASK_BYTES, FLAG_CLOEXEC | FLAG_NONBLOCK);
	r = signal_fd < 0 ? signal_fd : drop_privileges();
	if (tell_shim((int)r, 0) > 0 && r == 0)
		await_end((int)signal_fd);
	for (;;)
		system_call(SYS_exit_group, r < 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n"
	"\tcall start\n");
