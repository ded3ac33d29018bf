/* SPDX-License-Identifier: Apache-2.0 */
/* File trees for the guest: see rootfs.h. */
#include "shim/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/thread.h"
#include "base/util.h"
#include "shim/mount_options.h"

/* A free loop device can be taken by another process before it is ours. */
#define LOOP_ATTEMPTS 32

int rootfs_restrict(int fd, enum rootfs_readonly readonly)
{
	struct mount_attr all = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    (readonly == ROOTFS_READONLY_ALL ? MOUNT_ATTR_RDONLY : 0),
		.propagation = MS_PRIVATE,
	};
	struct mount_attr top = {.attr_set = MOUNT_ATTR_RDONLY};

	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &all, sizeof(all)) < 0)
		return -errno;
	if (readonly == ROOTFS_READONLY_TOP &&
		mount_setattr(fd, "", AT_EMPTY_PATH, &top, sizeof(top)) < 0)
		return -errno;
	return 0;
}

int rootfs_clone(const struct rootfs_tree *tree, int *ret_mount_fd, struct err *err)
{
	_cleanup_close_ int fd = open_tree(AT_FDCWD, tree->path,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			(tree->recursive ? AT_RECURSIVE : 0));
	int r;

	if (fd < 0)
		return err_sys(err, errno, "cannot take %s", err_quote(tree->path, 256));
	r = rootfs_restrict(fd, tree->readonly);
	if (r < 0)
		return err_sys(err, r, "cannot restrict %s", err_quote(tree->path, 256));
	*ret_mount_fd = steal_fd(&fd);
	return 0;
}

/* A loop device for a file; gone by itself when its last user is (the mount). */
struct loop {
	char device[64];
	int fd;
};

static int open_loop(const char *file, bool readonly, struct loop *ret, struct err *err)
{
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int file_fd =
		open(file, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	struct loop_config config = {
		.fd = (unsigned int)file_fd,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | (readonly ? LO_FLAGS_READ_ONLY : 0),
	};

	if (file_fd < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(file, 256));
	if (control < 0)
		return err_sys(err, errno, "cannot open /dev/loop-control");
	for (int i = 0; i < LOOP_ATTEMPTS; i++) {
		_cleanup_close_ int fd = -1;
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		if (n < 0)
			return err_sys(err, errno, "cannot get a loop device");
		snprintf(ret->device, sizeof(ret->device), "/dev/loop%d", n);
		fd = open(ret->device, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, errno, "cannot open %s", ret->device);
		if (ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
			ret->fd = steal_fd(&fd);
			return 0;
		}
		if (errno != EBUSY)
			return err_sys(err, errno, "cannot set up %s for %s", ret->device,
				err_quote(file, 256));
	}
	return err_set(err, -EBUSY, "no loop device stays free long enough");
}

/*
 * A name for the place of one mount: the folder itself, or something in what is mounted
 * there by now. A descriptor's name leads to what was on top when it was opened, so it is
 * opened anew for each call.
 */
struct place {
	int fd;
	char path[64];
};

static int find_place(
	const char *folder, const char *target, struct place *ret, struct err *err)
{
	_cleanup_close_ int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", err_quote(folder, 256));
	ret->fd = *target ? open_in_root(fd, target, O_PATH) : steal_fd(&fd);
	if (ret->fd < 0)
		return err_sys(err, ret->fd, "cannot open %s in the root file system",
			err_quote(target, 256));
	snprintf(ret->path, sizeof(ret->path), "/proc/self/fd/%d", ret->fd);
	return 0;
}

/* One call of mount(2), at target in what lies on folder. */
struct mount_call {
	const char *folder, *target;
	const char *source, *type, *data; /* NULL: none */
	unsigned long flags;
};

static int mount_at(const struct mount_call *c, struct err *err)
{
	struct place place;
	int r = find_place(c->folder, c->target, &place, err);

	if (r < 0)
		return r;
	if (mount(c->source, place.path, c->type, c->flags, c->data) < 0)
		r = err_sys(err, errno, "cannot mount %s of type %s",
			err_quote(c->source ? c->source : "none", 256),
			err_quote(c->type ? c->type : "bind", 32));
	close(place.fd);
	return r;
}

/* A bind takes its flags only in a second call. */
static int bind_at(struct mount_call call, struct err *err)
{
	unsigned long bind = call.flags & (MS_BIND | MS_REC), rest = call.flags & ~bind;
	int r;

	call.type = call.data = NULL;
	call.flags = bind;
	r = mount_at(&call, err);
	if (r < 0 || !rest)
		return r;
	call.source = NULL;
	call.flags = rest | MS_BIND | MS_REMOUNT;
	return mount_at(&call, err);
}

static int mount_all(
	const struct mount_call *call, unsigned long propagation, struct err *err)
{
	struct mount_call again = {
		.folder = call->folder, .target = call->target, .flags = propagation};
	int r = call->flags & MS_BIND ? bind_at(*call, err) : mount_at(call, err);

	return r == 0 && propagation ? mount_at(&again, err) : r;
}

/* Options of more than a page fit where the folder that they have in common is the
 * working directory. */
static int shorten_options(struct mount_options *o, struct err *err)
{
	_cleanup_free_ char *cwd = NULL;

	if (strlen(o->data) <= MOUNT_DATA_MAX)
		return 0;
	mount_options_shorten(o, &cwd);
	if (*cwd && chdir(cwd) < 0)
		return err_sys(err, errno, "cannot enter %s", err_quote(cwd, 256));
	return 0;
}

static int mount_parsed(const char *folder, const Containerd__Types__Mount *m,
	struct mount_options *o, struct err *err)
{
	struct mount_call call = {.folder = folder,
		.target = m->target,
		.source = m->source,
		.type = m->type,
		.flags = o->flags};
	struct loop loop = {.fd = -1};
	int r = 0;

	if (strcmp(m->type, "bind") == 0)
		call.flags |= MS_BIND;
	if (o->loop) {
		r = open_loop(m->source, call.flags & MS_RDONLY, &loop, err);
		call.source = loop.device;
	}
	if (r == 0)
		r = shorten_options(o, err);
	call.data = *o->data ? o->data : NULL;
	if (r == 0)
		r = mount_all(&call, o->propagation, err);
	close_fd(loop.fd);
	return r;
}

struct assembly {
	const char *folder;
	Containerd__Types__Mount *const *mounts;
	size_t n;
	int mount_fd, r;
	struct err *err;
};

static int assemble_tree(struct assembly *a)
{
	const struct rootfs_tree tree = {a->folder, true, ROOTFS_WRITABLE};
	int r = 0;

	if (unshare(CLONE_FS | CLONE_NEWNS) < 0)
		return err_sys(a->err, errno, "cannot leave the mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(a->err, errno, "cannot make the mount namespace private");
	for (size_t i = 0; r == 0 && i < a->n; i++) {
		const Containerd__Types__Mount *m = a->mounts[i];
		struct mount_options o;

		r = mount_options_parse(m->options, m->n_options, &o, a->err);
		if (r < 0)
			return r;
		r = mount_parsed(a->folder, m, &o, a->err);
		mount_options_done(&o);
	}
	return r < 0 ? r : rootfs_clone(&tree, &a->mount_fd, a->err);
}

static void *assemble_thread(void *arg)
{
	struct assembly *a = arg;

	a->r = assemble_tree(a);
	return NULL;
}

int rootfs_assemble(const char *folder, Containerd__Types__Mount *const *mounts, size_t n,
	int *ret_mount_fd, struct err *err)
{
	struct assembly a = {folder, mounts, n, -1, 0, err};
	pthread_t thread;
	int r;

	r = thread_start(assemble_thread, &a, 0, false, &thread);
	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	pthread_join(thread, NULL);
	if (a.r < 0)
		return err_wrap(err, "root file system");
	*ret_mount_fd = a.mount_fd;
	return 0;
}
