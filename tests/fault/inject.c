/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs whose system calls can be told to fail: what the linker's --wrap puts between
 * them and libc.
 *
 * How it works: each call that the program or a static library of it makes (libc's own
 * are not seen) comes here first, with the way that led to it: the return addresses up to
 * the thread's start. If the board (board.h) names this way and it is come by for the
 * n-th time, the call is not made, and fails. A fork's child goes on with its parent's
 * board, so what it does before exec counts, too. Nothing in here makes a system call
 * once a program has begun, so that no filter and no jail can mind it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include "tests/fault/board.h"
#include "tests/fault/names.h"

/* Of the linker: the program's first byte, and the end of its code. */
extern const char __executable_start[], etext[];

long __real_syscall(long number, ...);

static struct board *board;
static uint16_t own_program;

/* ---- the way to a call ---- */

struct way {
	unsigned int n, skip;
	uint64_t frames[BOARD_FRAMES];
};

static _Unwind_Reason_Code way_add(struct _Unwind_Context *context, void *arg)
{
	struct way *way = arg;
	uintptr_t at = _Unwind_GetIP(context);

	if (way->skip) {
		way->skip--;
		return _URC_NO_REASON;
	}
	/* A library's place differs from run to run. */
	if (at < (uintptr_t)__executable_start || at >= (uintptr_t)etext)
		return _URC_NO_REASON;
	way->frames[way->n++] = at - (uintptr_t)__executable_start;
	return way->n == BOARD_FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* FNV-1a, by words. */
static uint64_t way_hash(const struct way *way, enum fault_call call)
{
	uint64_t hash = 0xcbf29ce484222325;

	hash = (hash ^ (own_program + 1u)) * 0x100000001b3;
	hash = (hash ^ (call + 1u)) * 0x100000001b3;
	for (unsigned int i = 0; i < way->n; i++) {
		hash = (hash ^ way->frames[i]) * 0x100000001b3;
		hash ^= hash >> 29;
	}
	return hash ? hash : 1;
}

/* The site's slot; NULL if the board is full. */
static struct board_site *site_find(
	uint64_t hash, enum fault_call call, const struct way *way)
{
	for (uint64_t i = hash, end = hash + BOARD_SITES; i != end; i++) {
		struct board_site *site = &board->sites[i % BOARD_SITES];
		uint64_t was = 0;

		if (atomic_compare_exchange_strong(&site->hash, &was, hash)) {
			site->program = own_program;
			site->call = (uint16_t)call;
			memcpy(site->frames, way->frames, sizeof(site->frames));
			site->ready = 1;
			return site;
		}
		if (was == hash)
			return site;
	}
	return NULL;
}

/* As by SIGKILL from outside, between two calls. Where a filter has no kill(2) the filter
 * ends the process. */
static void __attribute__((noreturn)) end_process(void)
{
	__real_syscall(SYS_kill, __real_syscall(SYS_getpid), SIGKILL);
	__builtin_trap();
}

/* What the call is to fail with; 0: it is to be made. */
static int __attribute__((noinline)) fault_of(enum fault_call call)
{
	struct way way = {.skip = 2}; /* this function, and the call's */
	struct board_site *site;
	int was = errno, error = 0;
	uint64_t hash;

	if (!board)
		return 0;
	_Unwind_Backtrace(way_add, &way);
	hash = way_hash(&way, call);
	site = site_find(hash, call, &way);
	if (site && atomic_fetch_add(&site->count, 1) + 1 == board->nth &&
		board->armed == hash) {
		board->fired = 1;
		error = board->error;
	}
	if (error == BOARD_KILL)
		end_process();
	errno = was;
	return error;
}

/* ---- the calls ---- */

#define CALL(type, name, failed, parameters, arguments, ...)                             \
	type __real_##name parameters;                                                   \
	type __wrap_##name parameters;                                                   \
	type __wrap_##name parameters                                                    \
	{                                                                                \
		int error = fault_of(FAULT_##name);                                      \
                                                                                         \
		if (!error)                                                              \
			return __real_##name arguments;                                  \
		errno = error;                                                           \
		return failed;                                                           \
	}

#define RETURNS(type, name, parameters, arguments, ...)                                  \
	type __real_##name parameters;                                                   \
	type __wrap_##name parameters;                                                   \
	type __wrap_##name parameters                                                    \
	{                                                                                \
		int error = fault_of(FAULT_##name);                                      \
                                                                                         \
		return error ? error : __real_##name arguments;                          \
	}

#define ANYWAY(type, name, failed, parameters, arguments, ...)                           \
	type __real_##name parameters;                                                   \
	type __wrap_##name parameters;                                                   \
	type __wrap_##name parameters                                                    \
	{                                                                                \
		int error = fault_of(FAULT_##name);                                      \
		type result = __real_##name arguments;                                   \
                                                                                         \
		if (!error)                                                              \
			return result;                                                   \
		errno = error;                                                           \
		return failed;                                                           \
	}

#define VARIADIC(type, name, failed, parameters, last, arguments, ...)                   \
	type __real_##name parameters;                                                   \
	type __wrap_##name parameters;                                                   \
	type __wrap_##name parameters                                                    \
	{                                                                                \
		int error = fault_of(FAULT_##name);                                      \
		va_list list;                                                            \
		long more;                                                               \
                                                                                         \
		va_start(list, last);                                                    \
		more = va_arg(list, long); /* a register, whether used or not */         \
		va_end(list);                                                            \
		if (!error)                                                              \
			return __real_##name arguments;                                  \
		errno = error;                                                           \
		return failed;                                                           \
	}

/* Calls by which a program ends itself, or that can't fail for one with its rights. */
static bool always_works(long number)
{
	return number == SYS_exit_group || number == SYS_gettid ||
	       number == SYS_pidfd_send_signal || number == SYS_futex;
}

#define SYSCALL(...)                                                                     \
	long __wrap_syscall(long number, ...);                                           \
	long __wrap_syscall(long number, ...)                                            \
	{                                                                                \
		int error = always_works(number) ? 0 : fault_of(FAULT_syscall);          \
		va_list list;                                                            \
		long a[6];                                                               \
                                                                                         \
		va_start(list, number);                                                  \
		for (int i = 0; i < 6; i++)                                              \
			a[i] = va_arg(list, long);                                       \
		va_end(list);                                                            \
		if (!error)                                                              \
			return __real_syscall(                                           \
				number, a[0], a[1], a[2], a[3], a[4], a[5]);             \
		errno = error;                                                           \
		return -1;                                                               \
	}

#include "tests/fault/calls.h"

/* ---- the board ---- */

/* Before main(), and so before any jail. */
static void __attribute__((constructor)) board_open(void)
{
	int fd = __real_open(BOARD_PATH, O_RDWR | O_CLOEXEC, 0);
	struct board *found;
	struct way way = {0};

	if (fd < 0)
		return;
	found = __real_mmap(
		NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	__real_close(fd);
	own_program = program_of(program_invocation_short_name);
	if (found == MAP_FAILED)
		return;
	/* What an unwinder does for the first time only. */
	_Unwind_Backtrace(way_add, &way);
	board = found;
}
