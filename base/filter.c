/* SPDX-License-Identifier: Apache-2.0 */
/* System call filters: see filter.h. */
#include "base/filter.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

int filter_new(uint32_t otherwise, scmp_filter_ctx *ret)
{
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	int r;

	if (!ctx)
		return -ENOMEM;
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, FILTER_FLAG_LOG != 0);
	if (r < 0) {
		seccomp_release(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}

int filter_add_calls(
	scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n_calls)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_calls; i++)
		r = seccomp_rule_add(ctx, action, calls[i], 0);
	return r;
}

int filter_export(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
	_cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
	_cleanup_free_ struct sock_filter *filter = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	filter = xmalloc((size_t)st.st_size);
	r = read_full(fd, filter, (size_t)st.st_size);
	if (r < 0)
		return r;
	ret->len = (unsigned short)((size_t)st.st_size / sizeof(*filter));
	ret->filter = steal_ptr(filter);
	return 0;
}

int filter_add_ways_out(scmp_filter_ctx ctx, uint32_t action)
{
	static const int calls[] = {
		SCMP_SYS(socket),
		SCMP_SYS(ptrace),
		SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev),
		SCMP_SYS(process_madvise),
		SCMP_SYS(pidfd_getfd),
		SCMP_SYS(setns),
		SCMP_SYS(mount),
		SCMP_SYS(umount2),
		SCMP_SYS(pivot_root),
		SCMP_SYS(chroot),
		SCMP_SYS(open_tree),
		SCMP_SYS(move_mount),
		SCMP_SYS(fsopen),
		SCMP_SYS(fspick),
		SCMP_SYS(fsconfig),
		SCMP_SYS(fsmount),
		SCMP_SYS(mount_setattr),
		/* With CAP_DAC_READ_SEARCH it names any file of a file system. */
		SCMP_SYS(open_by_handle_at),
		SCMP_SYS(bpf),
		SCMP_SYS(perf_event_open),
		SCMP_SYS(userfaultfd),
		SCMP_SYS(io_uring_enter),
		SCMP_SYS(io_uring_register),
		SCMP_SYS(keyctl),
		SCMP_SYS(add_key),
		SCMP_SYS(request_key),
		SCMP_SYS(init_module),
		SCMP_SYS(finit_module),
		SCMP_SYS(kexec_load),
		/* There is not always an IPC namespace of its own. Its id is all that it
		 * takes to reach an object. */
		SCMP_SYS(shmget),
		SCMP_SYS(shmat),
		SCMP_SYS(shmdt),
		SCMP_SYS(shmctl),
		SCMP_SYS(msgget),
		SCMP_SYS(msgsnd),
		SCMP_SYS(msgrcv),
		SCMP_SYS(msgctl),
		SCMP_SYS(semget),
		SCMP_SYS(semop),
		SCMP_SYS(semtimedop),
		SCMP_SYS(semctl),
		SCMP_SYS(mq_open),
		SCMP_SYS(mq_unlink),
	};

	return filter_add_calls(ctx, action, calls, ARRAY_SIZE(calls));
}

int filter_add_never(scmp_filter_ctx ctx, uint32_t action)
{
	static const int calls[] = {
		SCMP_SYS(execve),
		SCMP_SYS(fork),
		SCMP_SYS(vfork),
		SCMP_SYS(pidfd_open),
		SCMP_SYS(pidfd_send_signal),
		SCMP_SYS(kill),
		SCMP_SYS(tkill),
		SCMP_SYS(setuid),
		SCMP_SYS(setgid),
		SCMP_SYS(setreuid),
		SCMP_SYS(setregid),
		SCMP_SYS(setresuid),
		SCMP_SYS(setresgid),
		SCMP_SYS(setgroups),
		SCMP_SYS(socketpair),
		SCMP_SYS(connect),
		SCMP_SYS(bind),
		SCMP_SYS(listen),
		SCMP_SYS(accept),
		SCMP_SYS(accept4),
		SCMP_SYS(delete_module),
		SCMP_SYS(kexec_file_load),
		SCMP_SYS(reboot),
		SCMP_SYS(swapon),
		SCMP_SYS(quotactl),
		SCMP_SYS(acct),
		SCMP_SYS(personality),
		SCMP_SYS(iopl),
		SCMP_SYS(ioperm),
		SCMP_SYS(memfd_secret),
	};

	return filter_add_calls(ctx, action, calls, ARRAY_SIZE(calls));
}
