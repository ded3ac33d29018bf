/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The export: see vm.h.
 *
 * Mounts are attached inside QEMU's mount namespace by a short-lived thread that enters
 * it: setns(2) to a mount namespace asks for an fs_struct of one's own, which
 * unshare(CLONE_FS) gives a thread. A hostile QEMU may have put anything at the top of
 * its export, so no name there is followed but folders, one component after the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "vm/vm_internal.h"

struct export_job {
	struct vm *vm;
	const char *name;
	int mount_fd; /* -1: detach */
	struct err *err;
	int result;
};

/* Opens a component below dirfd, not a link; dirfd is closed. */
static int open_next(int dirfd, const char *component, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC),
		.mode = flags & O_CREAT ? 0600 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, component, &how, sizeof(how));

	if (fd < 0)
		fd = -errno;
	close(dirfd);
	return (int)fd;
}

/* The place for the mount, made if it isn't there: a folder, or a file for a file. */
static int open_place(const char *name, bool is_folder)
{
	_cleanup_free_ char *copy = xstrdup(name);
	char *save = NULL, *part = strtok_r(copy, "/", &save);
	int fd = open(VM_PATH_EXPORT, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (part && fd >= 0) {
		char *next = strtok_r(NULL, "/", &save);
		int flags = O_PATH | O_DIRECTORY;

		if (next || is_folder) {
			if (mkdirat(fd, part, 0755) < 0 && errno != EEXIST) {
				close(fd);
				return -errno;
			}
		} else {
			/* Not opened: the guest may have put a FIFO there, and that
			 * waits for a reader. */
			if (mknodat(fd, part, S_IFREG | 0644, 0) < 0 && errno != EEXIST) {
				close(fd);
				return -errno;
			}
			flags = O_PATH;
		}
		fd = open_next(fd, part, flags);
		part = next;
	}
	return fd;
}

/* A mount goes on a place of its own kind; another is the guest's doing. */
static int check_place(int place, const struct stat *source)
{
	struct stat st;

	if (fstat(place, &st) < 0)
		return -errno;
	return S_ISDIR(source->st_mode) ? (S_ISDIR(st.st_mode) ? 0 : -ENOTDIR)
	       : S_ISREG(st.st_mode)    ? 0
					: -EEXIST;
}

static int attach(const struct export_job *job)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	_cleanup_close_ int place = -1;
	struct stat st;
	int r;

	if (fstat(job->mount_fd, &st) < 0)
		return err_sys(job->err, errno, "cannot look at what is to be shared");
	/* The guest's kernel decides on set-uid and devices; on the host they mean
	 * nothing. */
	if (mount_setattr(job->mount_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
		    sizeof(attr)) < 0)
		return err_sys(job->err, errno, "mount_setattr");
	place = open_place(job->name, S_ISDIR(st.st_mode));
	r = place < 0 ? place : check_place(place, &st);
	if (r < 0)
		return err_sys(job->err, r, "cannot make %s in the export", job->name);
	if (move_mount(job->mount_fd, "", place, "",
		    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(
			job->err, errno, "cannot attach %s to the export", job->name);
	return 0;
}

/*
 * Detaches what is mounted on path and, `depth` levels down, in it. The layout is ours
 * ("<cid>/rootfs", "<cid>/mounts/<n>"), so two levels hold every mount; a mount takes
 * those on it along.
 */
static void unmount_below(const char *path, unsigned int depth)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (depth == 0)
		return;
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *below = xasprintf("%s/%s", path, entry->d_name);

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unmount_below(below, depth - 1);
	}
}

static int detach(const struct export_job *job)
{
	_cleanup_free_ char *path = xasprintf(VM_PATH_EXPORT "/%s", job->name);

	unmount_below(path, 2);
	return remove_tree(AT_FDCWD, path, job->err);
}

/*
 * The root of the namespace is QEMU's root, unless we run in a chroot: pivot_root(2) has
 * then put the jail in the place of the chroot's root, which is not the namespace's.
 */
static int enter_namespace(const struct vm *vm, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/root", (int)vm->record.qemu.pid);
	_cleanup_close_ int root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root_fd < 0)
		return err_sys(err, errno, "cannot open QEMU's root");
	if (unshare(CLONE_FS) < 0)
		return err_sys(err, errno, "unshare(CLONE_FS)");
	/* After the open: while the pidfd lets us in, the pid is still QEMU's. */
	if (setns(vm->qemu.pidfd, CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot enter QEMU's mount namespace");
	if (fchdir(root_fd) < 0 || chroot(".") < 0)
		return err_sys(err, errno, "cannot enter QEMU's root");
	return 0;
}

static void *run_job(void *arg)
{
	struct export_job *job = arg;

	job->result = enter_namespace(job->vm, job->err);
	if (job->result == 0)
		job->result = job->mount_fd >= 0 ? attach(job) : detach(job);
	return NULL;
}

static int run_in_namespace(struct export_job *job)
{
	pthread_t thread;
	int r = thread_start(run_job, job, 0, false, &thread);

	if (r < 0)
		return err_sys(job->err, r, "cannot start a thread");
	pthread_join(thread, NULL);
	return job->result;
}

Grpc__Storage *vm_export_storage(void)
{
	/* msize: the most a 9p message carries; larger ones mean fewer exits for large
	 * files. */
	static char trans[] = "trans=virtio", version[] = "version=9p2000.L",
		    cache[] = "cache=mmap", msize[] = "msize=131072";
	static char type[] = "9p", tag[] = AGENT_9P_TAG, at[] = AGENT_SHARED_DIR;
	static char *options[] = {trans, version, cache, msize};
	static Grpc__Storage storage = {
		.base = PROTOBUF_C_MESSAGE_INIT(&grpc__storage__descriptor),
		.driver = type,
		.fstype = type,
		.source = tag,
		.mount_point = at,
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};

	return &storage;
}

int vm_export_attach(struct vm *vm, int mount_fd, const char *name, struct err *err)
{
	struct export_job job = {
		.vm = vm, .name = name, .mount_fd = mount_fd, .err = err};

	return run_in_namespace(&job);
}

int vm_export_detach(struct vm *vm, const char *name, struct err *err)
{
	struct export_job job = {.vm = vm, .name = name, .mount_fd = -1, .err = err};

	return run_in_namespace(&job);
}
