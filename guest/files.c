/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts by the pump: see files.h.
 *
 * The order of a mount. /dev/fuse can be read only once it is mounted, so the pump takes
 * it afterwards; the kernel's FUSE_INIT, which mount(2) does not wait for, lies in its
 * queue meanwhile. The first access waits for it: a stat, which tells whether the server
 * has such a mount at all.
 */
#include "guest/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "files/wire.h"
#include "guest/port.h"
#include "guest/pump.h"
#include "guest/window.h"

#define CONNECTIONS    "/sys/fs/fuse/connections"
#define BDI            "/sys/class/bdi"
#define START_LIMIT_MS 30000
/* A mount with this number that ends: its last requests have to be answered. */
#define REUSE_LIMIT_MS 10000

/* ---- the pump ---- */

static struct {
	pthread_mutex_t lock; /* held while things start */
	struct pump *pump;
	bool has_window;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int mount_control(struct err *err)
{
	if (mount("fusectl", CONNECTIONS, "fusectl", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    NULL) < 0 &&
		errno != EBUSY)
		return err_sys(err, errno, "mount fusectl");
	return 0;
}

static int start_pump(struct pump **ret, struct err *err)
{
	int64_t deadline = deadline_after_ms(START_LIMIT_MS);
	_cleanup_close_ int port = -1;
	int r;

	r = mount_control(err);
	if (r == 0)
		r = port_open(FILES_PORT, O_RDWR | O_NONBLOCK, deadline, &port, err);
	if (r == 0)
		r = port_wait_connected(port, deadline, err);
	if (r == 0)
		r = pump_new(port, ret, err);
	if (r < 0)
		return r;
	port = -1;
	return 0;
}

static int find_window(struct err *err)
{
	void *window;
	int r = window_open(&window, err);

	if (r < 0)
		return r;
	pump_set_window(shared.pump, window);
	shared.has_window = true;
	return 0;
}

static int get_pump(struct pump **ret, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&shared.lock);
	/* A template's, which nobody used: a clone has a host's end of its own. */
	if (shared.pump && !shared.has_window && pump_has_ended(shared.pump))
		pump_free(steal_ptr(shared.pump));
	if (!shared.pump)
		r = start_pump(&shared.pump, err);
	if (r == 0 && !shared.has_window)
		r = find_window(err);
	*ret = shared.pump;
	pthread_mutex_unlock(&shared.lock);
	return r < 0 ? err_wrap(err, "the channel of the files") : 0;
}

/* What fails here the first mount tries again, and tells. */
static void *prepare_pump(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&shared.lock);
	if (!shared.pump)
		start_pump(&shared.pump, NULL);
	pthread_mutex_unlock(&shared.lock);
	return NULL;
}

static void *prepare_window(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&shared.lock);
	if (shared.pump && !shared.has_window)
		find_window(NULL);
	pthread_mutex_unlock(&shared.lock);
	return NULL;
}

static void start_preparing(void *(*fn)(void *))
{
	int r = thread_start(fn, NULL, 0, true, NULL);

	if (r < 0)
		log_warn("the first mount of files will be slow: %s", strerror(-r));
}

void files_prepare(void)
{
	start_preparing(prepare_pump);
}

void files_prepare_window(void)
{
	start_preparing(prepare_window);
}

/* ---- mounting ---- */

static int parse_number(const char *text, unsigned int *ret, struct err *err)
{
	unsigned int n = 0;
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > 4 || text[len])
		return err_set(
			err, -EINVAL, "%s is no mount's number", err_quote(text, 64));
	for (size_t i = 0; i < len; i++)
		n = n * 10 + (unsigned int)(text[i] - '0');
	*ret = n;
	return 0;
}

static int make_mount_point(const struct files_mount *m, struct err *err)
{
	_cleanup_free_ char *parent = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (S_ISDIR(m->root_mode))
		return mkdir_parents(m->at, 0755, err);
	parent = xstrndup(m->at, (unsigned int)(strrchr(m->at, '/') - m->at));
	r = mkdir_parents(parent, 0755, err);
	if (r < 0)
		return r;
	fd = open(m->at, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(err, errno, "make the file %s", err_quote(m->at, 256))
		      : 0;
}

static int mount_fuse(const struct files_mount *m, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char data[160];

	if (fd < 0)
		return err_sys(err, errno, "open /dev/fuse");
	/* default_permissions: the guest's kernel checks modes and ACLs, since the server
	 * acts for whoever the kernel says. */
	snprintf(data, sizeof(data),
		"fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other",
		fd, m->root_mode);
	if (mount("stencil", m->at, "fuse.stencil", m->flags & ~(unsigned long)MS_RDONLY,
		    data) < 0)
		return err_sys(
			err, errno, "mount the files on %s", err_quote(m->at, 256));
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* The mount alone, not the file system: what others change is done once more in the guest
 * (guest/replay.h). That nothing else is written is the server's affair, too. */
static int make_readonly(const struct files_mount *m, struct err *err)
{
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};

	if (m->flags & MS_RDONLY && mount_setattr(AT_FDCWD, m->at, AT_SYMLINK_NOFOLLOW,
					    &readonly, sizeof(readonly)) < 0)
		return err_sys(err, errno, "make %s read-only", err_quote(m->at, 256));
	return 0;
}

/* What nobody needs an answer of the server for: DONT_SYNC. */
static int find_device(const char *at, dev_t *ret, struct err *err)
{
	struct statx stx;

	if (statx(AT_FDCWD, at,
		    AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0,
		    &stx) < 0)
		return err_sys(err, errno, "find the mount %s", err_quote(at, 256));
	*ret = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	return 0;
}

static int open_abort(dev_t dev, int *ret_fd, struct err *err)
{
	char path[96];

	snprintf(path, sizeof(path), CONNECTIONS "/%u/abort", minor(dev));
	*ret_fd = open(path, O_WRONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, errno, "open %s", path) : 0;
}

static int add_mount(struct pump *pump, unsigned int number, const char *at, int fuse_fd,
	struct err *err)
{
	struct pump_source source = {.fuse_fd = fuse_fd, .abort_fd = -1, .at = at};
	int r;

	r = find_device(at, &source.dev, err);
	if (r == 0)
		r = open_abort(source.dev, &source.abort_fd, err);
	if (r == 0)
		r = pump_add(
			pump, number, &source, deadline_after_ms(REUSE_LIMIT_MS), err);
	if (r < 0)
		close_fd(source.abort_fd);
	return r;
}

/* ---- how the kernel caches ---- */

static void set_limit(dev_t dev, const char *name, const char *value)
{
	struct err err = ERR_INIT;
	char path[96];
	int r;

	snprintf(path, sizeof(path), BDI "/%u:%u/%s", major(dev), minor(dev), name);
	r = file_write_text(AT_FDCWD, path, value, &err);
	if (r < 0 && r != -ENOENT)
		log_warn("a mount is slower than it could be: %s", err.text);
}

/*
 * FUSE trusts its servers little: of what may be dirty in the whole guest a mount may
 * have 1 %, which in a small guest is half a megabyte, and a writer waits at each page.
 * This server is as good as a disk: if it stops the pod ends. What bounds dirty pages is
 * the kernel's own limit. (strict_limit came with Linux 6.2; where it can't be taken away
 * a mount's part grows with how much it writes.)
 *
 * Read ahead as much as one message carries; the kernel's own is half of it.
 */
static void set_limits(dev_t dev)
{
	char ahead[16];

	snprintf(ahead, sizeof(ahead), "%u", FILES_DATA_BYTES >> 10);
	set_limit(dev, "max_ratio", "100");
	set_limit(dev, "strict_limit", "0");
	set_limit(dev, "read_ahead_kb", ahead);
}

/* The first access: fails if the server has no such mount. */
static int ask_server(const char *at, dev_t *ret, struct err *err)
{
	struct stat st;

	if (lstat(at, &st) < 0)
		return err_sys(
			err, errno, "the file server, about %s", err_quote(at, 256));
	*ret = st.st_dev;
	return 0;
}

int files_mount(const struct files_mount *m, struct err *err)
{
	_cleanup_close_ int fuse_fd = -1;
	struct pump *pump = NULL;
	unsigned int number = 0;
	dev_t dev = 0;
	int r;

	r = parse_number(m->number, &number, err);
	if (r == 0)
		r = get_pump(&pump, err);
	if (r == 0)
		r = make_mount_point(m, err);
	if (r == 0)
		r = mount_fuse(m, &fuse_fd, err);
	if (r < 0)
		return r;
	r = add_mount(pump, number, m->at, fuse_fd, err);
	if (r == 0) {
		fuse_fd = -1; /* the pump's */
		r = make_readonly(m, err);
	}
	if (r == 0)
		r = ask_server(m->at, &dev, err);
	if (r < 0) {
		umount2(m->at, UMOUNT_NOFOLLOW | MNT_DETACH);
		return r;
	}
	set_limits(dev);
	return 0;
}
