/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of templated: see own_filter.h.
 *
 * An allow-list; all else is ENOSYS. Nothing kills but another ABI: all pods of the host
 * start slower without templated. Of arguments those of socket(2) alone count: it mounts,
 * makes namespaces and becomes other users for the walls around its children, and what
 * that may come to its capabilities bound (privileges.h).
 *
 * `make check-filters` logs what the list refuses.
 */
#include "templated/own_filter.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "base/filter.h"
#include "base/util.h"
#include "vm/qemu_filter.h"

/* Beside what QEMU's allows. */
static const int allowed[] = {
	/* children: starting, waiting, ending */
	SCMP_SYS(execve),
	SCMP_SYS(vfork),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	SCMP_SYS(kill),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(setsid),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(getpriority),
	SCMP_SYS(setpriority),
	SCMP_SYS(setrlimit),
	SCMP_SYS(getrlimit),
	/* the walls around them: vm/confine.c, vm/supervise.c, image_maker.c */
	SCMP_SYS(unshare),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(open_tree),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(setgroups),
	SCMP_SYS(setresgid),
	SCMP_SYS(setresuid),
	SCMP_SYS(capget),
	SCMP_SYS(capset),
	SCMP_SYS(seccomp),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(memfd_create),
	/* sockets */
	SCMP_SYS(socketpair),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(setsockopt),
	/* waiting for inputs to change, and for time */
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	/* files: the tmpfs, generations, images, records, cgroups */
	SCMP_SYS(open),
	SCMP_SYS(openat2),
	SCMP_SYS(statx),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlinkat),
	SCMP_SYS(chdir),
	SCMP_SYS(fchdir),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(utimensat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(flock),
	SCMP_SYS(umask),
	SCMP_SYS(fgetxattr),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(fremovexattr),
	/* mkfs.erofs, reading layers */
	SCMP_SYS(lgetxattr),
	SCMP_SYS(llistxattr),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(fadvise64),
};

static int add_rules(scmp_filter_ctx ctx)
{
	int r = qemu_filter_allow_all(ctx);

	if (r == 0)
		r = filter_add_calls(ctx, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	return r;
}

int own_filter_enter(struct err *err)
{
	scmp_filter_ctx ctx = NULL;
	int r = filter_new(SCMP_ACT_ERRNO(ENOSYS), &ctx);

	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = add_rules(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? err_sys(err, r, "cannot install templated's system call filter")
		     : 0;
}
