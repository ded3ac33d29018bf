/* SPDX-License-Identifier: Apache-2.0 */
/* The walls around the file server: see jail.h. */
#include "files/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "files/caller.h"
#include "files/channel.h"

/* A mount point that every host has, in a namespace where nobody else sees it. */
#define ROOT_MOUNT_POINT "/proc"

/*
 * The channel's threads, its reader, the control's, and some of trees that watch for
 * changes. The limit counts what the uid has, which is nobody else's.
 */
#define THREADS_MAX (CHANNEL_WAITERS_MAX + CHANNEL_WORKERS_MAX + 64u)
/*
 * Private writable memory: the stacks of all these threads, 137 MiB; inodes and open
 * files, as many as there may be, some 40 MiB; messages, 2 MiB; the rest is room for the
 * allocator's waste.
 */
#define MEMORY_MAX (512 * MiB)

/* What the guest may hold, and a little (main_files.c). */
#define DESCRIPTORS_MAX ((rlim_t)256 << 10)

#define CAPABILITIES                                                                     \
	(1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH |    \
		1ull << CAP_FOWNER | 1ull << CAP_FSETID | 1ull << CAP_SETFCAP |          \
		1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_MKNOD)

/* Of the keeper: its socket, and what comes with a request. */
#define KEEPER_DESCRIPTORS_MAX 2
#define KEEPER_MEMORY_MAX      (8 * MiB)
#define KEEPER_CAPABILITIES    (1ull << CAP_SYS_ADMIN)

int jail_close_others(unsigned int first, struct err *err)
{
	if (syscall(SYS_close_range, first, ~0u, 0) < 0)
		return err_sys(err, errno, "cannot close what was inherited");
	return 0;
}

static int enter_namespaces(struct err *err)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return err_sys(err, errno, "cannot make namespaces");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make / private");
	return 0;
}

static int enter_root(struct err *err)
{
	unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount("stencil-files", ROOT_MOUNT_POINT, "tmpfs", flags,
		    "mode=0555,size=4k,nr_inodes=1") < 0)
		return err_sys(err, errno, "cannot mount an empty root");
	if (chdir(ROOT_MOUNT_POINT) < 0)
		return err_sys(err, errno, "cannot enter the empty root");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, errno, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(err, errno, "cannot leave the old root");
	if (chdir("/") < 0)
		return err_sys(err, errno, "chdir /");
	return 0;
}

/* Soft and hard: there is no going back. At most what the host allows already. */
static int set_limit(int resource, rlim_t most, const char *what, struct err *err)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
		return err_sys(err, errno, "cannot read the limit of %s", what);
	now.rlim_max = MIN(now.rlim_max, most);
	now.rlim_cur = now.rlim_max;
	if (setrlimit((__rlimit_resource_t)resource, &now) < 0)
		return err_sys(err, errno, "cannot limit %s", what);
	return 0;
}

/* More than the host's hard limit takes CAP_SYS_RESOURCE, or it has to do. */
static int limit_descriptors(unsigned int *ret, struct err *err)
{
	struct rlimit limits = {DESCRIPTORS_MAX, DESCRIPTORS_MAX};
	int r;

	if (setrlimit(RLIMIT_NOFILE, &limits) < 0) {
		r = set_limit(RLIMIT_NOFILE, DESCRIPTORS_MAX, "descriptors", err);
		if (r < 0)
			return r;
	}
	if (getrlimit(RLIMIT_NOFILE, &limits) < 0)
		return err_sys(err, errno, "cannot read the limit of descriptors");
	*ret = (unsigned int)limits.rlim_cur;
	return 0;
}

static int set_limits(unsigned int *ret_descriptors, struct err *err)
{
	int r;

	r = set_limit(RLIMIT_CORE, 0, "core dumps", err);
	if (r == 0)
		r = set_limit(RLIMIT_NPROC, THREADS_MAX, "threads", err);
	if (r == 0)
		r = set_limit(RLIMIT_DATA, MEMORY_MAX, "memory", err);
	if (r == 0)
		r = limit_descriptors(ret_descriptors, err);
	/* A file's size is for the disk and the guest's own limits to bound. */
	return r;
}

/* NO_SETUID_FIXUP: a change of the file system uid leaves the capabilities alone. NOROOT:
 * nor does uid 0 have any by itself. */
static int lock_securebits(struct err *err)
{
	unsigned long bits = SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
			     SECBIT_NOROOT | SECBIT_NOROOT_LOCKED;

	if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot set the securebits");
	return 0;
}

/* Not by libcap-ng: in a static program it brings the lookup of users along. */
static int cut_capabilities(uint64_t keep, struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(err, errno, "cannot cut the bounding set");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot empty the ambient set");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		data[i].effective = data[i].permitted = (uint32_t)(keep >> 32 * i);
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, errno, "cannot give up capabilities");
	return 0;
}

static int drop_privileges(uid_t uid, uint64_t keep, struct err *err)
{
	int r;

	r = lock_securebits(err);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
		setresuid(uid, uid, uid) < 0)
		return err_sys(err, errno, "cannot become uid %u", uid);
	r = cut_capabilities(keep, err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot set no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot hide from tracers");
	return 0;
}

int jail_enter(uid_t uid, unsigned int *ret_descriptors, struct err *err)
{
	int r;

	r = enter_namespaces(err);
	if (r == 0)
		r = enter_root(err);
	if (r == 0)
		r = set_limits(ret_descriptors, err);
	if (r == 0)
		r = drop_privileges(uid, CAPABILITIES, err);
	if (r == 0)
		r = jail_filter_enter(err);
	return r;
}

/* ---- the keeper ---- */

/* Opened while /proc is there, and entered once the old root is gone. */
static int enter_keeper_root(struct err *err)
{
	_cleanup_close_ int fd = caller_open_names(err);
	int r;

	if (fd < 0)
		return fd;
	r = enter_namespaces(err);
	if (r == 0)
		r = enter_root(err);
	if (r == 0 && fchdir(fd) < 0)
		r = err_sys(err, errno, "cannot enter /proc/self/fd");
	return r;
}

static int set_keeper_limits(struct err *err)
{
	int r;

	r = set_limit(RLIMIT_CORE, 0, "core dumps", err);
	if (r == 0)
		r = set_limit(RLIMIT_DATA, KEEPER_MEMORY_MAX, "memory", err);
	if (r == 0)
		r = set_limit(RLIMIT_NOFILE, KEEPER_DESCRIPTORS_MAX, "descriptors", err);
	return r;
}

/* After the last change of ids, which would undo it. */
static int end_with(pid_t parent, struct err *err)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot end with the file server");
	if (getppid() != parent)
		return err_set(err, -ESRCH, "the file server has ended");
	return 0;
}

int jail_enter_keeper(uid_t uid, pid_t parent, struct err *err)
{
	int r;

	r = jail_close_others(JAIL_KEEPER_FD + 1, err);
	if (r == 0)
		r = enter_keeper_root(err);
	if (r == 0)
		r = set_keeper_limits(err);
	if (r == 0)
		r = drop_privileges(uid, KEEPER_CAPABILITIES, err);
	if (r == 0)
		r = end_with(parent, err);
	if (r == 0)
		r = jail_filter_enter_keeper(err);
	return r;
}
