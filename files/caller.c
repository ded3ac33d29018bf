/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's ids, umask and capabilities: see caller.h. */
#include "files/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/util.h"

/*
 * How it works. setfsuid(2), setfsgid(2) and capset(2) change the calling thread only, as
 * raw system calls do. When the file system uid leaves 0 the kernel takes the file
 * capabilities out of the effective set (capabilities(7), "Effect of user ID changes"),
 * also of a thread whose other uids never were 0; so they are put back, unless
 * SECBIT_NO_SETUID_FIXUP is set.
 */
struct caller_caps {
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static _Thread_local struct {
	bool ready, fixup;
	uid_t uid;
	gid_t gid;
	struct caller_caps caps;
} self;

static pthread_mutex_t prepare_lock = PTHREAD_MUTEX_INITIALIZER;
static int proc_fd = -1;

/* A mount of that folder alone: by ".." in the host's /proc all of it could be reached,
 * and with CAP_DAC_OVERRIDE written to. */
int caller_open_names(struct err *err)
{
	int fd =
		open_tree(AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	return fd < 0 ? err_sys(err, errno, "cannot take /proc/self/fd") : fd;
}

int caller_prepare(struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&prepare_lock);
	if (proc_fd < 0) {
		proc_fd = caller_open_names(err);
		r = MIN(proc_fd, 0);
	}
	pthread_mutex_unlock(&prepare_lock);
	return r;
}

int caller_proc_fd(void)
{
	return proc_fd;
}

static int caps_set(const struct caller_caps *caps)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &header, caps->data) < 0 ? -errno : 0;
}

int caller_thread(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	int bits;

	if (self.ready)
		return 0;
	if (unshare(CLONE_FS) < 0 || fchdir(proc_fd) < 0)
		return -errno;
	if (syscall(SYS_capget, &header, self.caps.data) < 0)
		return -errno;
	bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	self.fixup = bits < 0 || !(bits & SECBIT_NO_SETUID_FIXUP);
	self.uid = geteuid();
	self.gid = getegid();
	self.ready = true;
	return 0;
}

struct fd_path fd_path(int fd)
{
	struct fd_path path;

	snprintf(path.text, sizeof(path.text), "%d", fd);
	return path;
}

/* Both return what was before, and tell of no failure: -1 is no id and only asks. */
static bool fsuid_set(uid_t uid)
{
	syscall(SYS_setfsuid, uid);
	return (uid_t)syscall(SYS_setfsuid, -1) == uid;
}

static bool fsgid_set(gid_t gid)
{
	syscall(SYS_setfsgid, gid);
	return (gid_t)syscall(SYS_setfsgid, -1) == gid;
}

int caller_become(uid_t uid, gid_t gid, mode_t mask)
{
	umask(mask & 0777);
	if (!fsgid_set(gid) || !fsuid_set(uid) ||
		(self.fixup && caps_set(&self.caps) < 0)) {
		caller_return();
		return -EPERM;
	}
	return 0;
}

void caller_return(void)
{
	fsuid_set(self.uid);
	fsgid_set(self.gid);
	if (self.fixup)
		caps_set(&self.caps);
}

void caller_drop_fsetid(void)
{
	struct caller_caps caps = self.caps;

	caps.data[CAP_TO_INDEX(CAP_FSETID)].effective &= ~CAP_TO_MASK(CAP_FSETID);
	caps_set(&caps);
}

void caller_regain_fsetid(void)
{
	caps_set(&self.caps);
}
