/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's half of confine.h: which files QEMU may see. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "vm/argv.h"
#include "vm/confine.h"
#include "vm/qemu_filter.h"

/*
 * Read by any QEMU at its start: libraries and modules. Missing ones are passed over.
 */
static const char *const system_paths[] = {
	"/usr/lib",
	"/usr/lib64",
	"/etc/ld.so.cache",
};

/* Firmware and option ROMs; Debian keeps QEMU's in these two folders. */
static const char *const firmware_folders[] = {"share/qemu", "share/seabios"};

/* What else a QEMU brings along that was installed below a prefix of its own: libraries
 * and modules. */
static const char *const own_folders[] = {"lib", "lib64"};

/* Links on a merged /usr, folders elsewhere. */
static const char *const library_links[] = {"/lib", "/lib64"};

const char confine_exec_path[1] = "";

static void add_bind(
	struct confine *c, const char *source, const char *target, bool is_file)
{
	struct confine_bind *bind = &c->binds[c->n_binds++];

	if (c->n_binds > CONFINE_BINDS_MAX)
		abort();
	*bind = (struct confine_bind){xstrdup(source), xstrdup(target + 1), is_file};
}

static void add_path(struct confine *c, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0)
		add_bind(c, path, path, !S_ISDIR(st.st_mode));
}

/* Debian's QEMU looks for its firmware below /usr only, wherever it is unpacked (it is
 * built with --disable-relocatable): there it finds the one it came with. */
static void add_firmware(struct confine *c, const char *prefix, const char *folder)
{
	_cleanup_free_ char *own = xasprintf("%s/%s", prefix, folder);
	_cleanup_free_ char *place = xasprintf("/usr/%s", folder);

	if (access(own, F_OK) == 0)
		add_bind(c, own, place, false);
	else
		add_path(c, place);
}

static void add_library_link(struct confine *c, const char *path)
{
	char target[256];
	ssize_t len = readlink(path, target, sizeof(target) - 1);

	if (len < 0) {
		add_path(c, path);
		return;
	}
	target[len] = '\0';
	c->links[c->n_links].target = xstrdup(target);
	c->links[c->n_links++].path = xstrdup(path + 1);
}

/* A QEMU of the administrator's own, /opt/qemu or /usr/local. Where no firmware of a QEMU
 * is nothing else is a QEMU's either: the prefix of /root/bin/qemu is no business of
 * it. */
static void add_prefix(struct confine *c, const char *prefix)
{
	bool installed = false;

	for (size_t i = 0; i < ARRAY_SIZE(firmware_folders); i++) {
		_cleanup_free_ char *path =
			xasprintf("%s/%s", prefix, firmware_folders[i]);

		installed |= access(path, F_OK) == 0;
		add_path(c, path);
	}
	for (size_t i = 0; installed && i < ARRAY_SIZE(own_folders); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", prefix, own_folders[i]);

		add_path(c, path);
	}
}

static void plan_binds(struct confine *c)
{
	const struct spawn *s = c->spawn;
	_cleanup_free_ char *path = xstrdup(s->qemu_path);
	char *prefix = dirname(dirname(path));

	for (size_t i = 0; i < ARRAY_SIZE(system_paths); i++)
		add_path(c, system_paths[i]);
	for (size_t i = 0; i < ARRAY_SIZE(firmware_folders); i++)
		add_firmware(c, prefix, firmware_folders[i]);
	for (size_t i = 0; i < ARRAY_SIZE(library_links); i++)
		add_library_link(c, library_links[i]);
	add_path(c, s->qemu_path);
	if (strcmp(prefix, "/usr") != 0 && strcmp(prefix, "/") != 0)
		add_prefix(c, prefix);
	/* What it gets while it runs it opens by this, O_RDONLY (hotplug/image.c). No
	 * more of /proc than that folder, which is the child's and stays so through exec.
	 * What a descriptor was opened through, a read-only mount for all files of the
	 * host, and the filter decide what may be opened by it again. */
	if (s->fd_names)
		add_bind(c, "/proc/self/fd", "/proc/self/fd", false);
	if (s->kernel)
		add_bind(c, s->kernel, VM_PATH_KERNEL, true);
	if (s->initrd)
		add_bind(c, s->initrd, VM_PATH_INITRD, true);
}

int confine_make_filter(
	const struct confine *c, pid_t pid, struct sock_fprog *ret, struct err *err)
{
	const struct qemu_filter filter = {.pid = pid,
		.kvm = c->spawn->kvm,
		.exec_fd = c->qemu_fd,
		.exec_path = confine_exec_path};
	int r = qemu_filter_make(&filter, ret);

	if (r == 0 && ret->len > CONFINE_FILTER_MAX)
		r = -E2BIG;
	return r < 0 ? err_sys(err, r, "cannot make QEMU's system call filter") : 0;
}

int confine_fd_high(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CONFINE_FD_HIGH);

	if (fd >= 0)
		close(fd);
	return high;
}

/* An end of file that is QEMU's own. /dev/null would be the host's: its mode could be
 * changed through the descriptor. */
static int open_stdin(void)
{
	int fd = memfd_create("qemu-stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 &&
		fcntl(fd, F_ADD_SEALS,
			F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		close(fd);
		return -1;
	}
	return confine_fd_high(fd);
}

int confine_init(struct confine *c, const struct spawn *s, struct err *err)
{
	*c = (struct confine){.spawn = s, .qemu_fd = -1, .stdin_fd = open_stdin()};
	if (c->stdin_fd < 0)
		return err_sys(err, errno, "cannot make QEMU's standard input");
	c->qemu_fd = confine_fd_high(open(s->qemu_path, O_PATH | O_CLOEXEC));
	if (c->qemu_fd < 0)
		return err_sys(err, errno,
			"cannot open QEMU at %s (key path of [hypervisor])",
			err_quote(s->qemu_path, 256));
	plan_binds(c);
	return 0;
}

void confine_done(struct confine *c)
{
	for (unsigned int i = 0; i < c->n_binds; i++) {
		free(c->binds[i].source);
		free(c->binds[i].target);
	}
	for (unsigned int i = 0; i < c->n_links; i++) {
		free(c->links[i].target);
		free(c->links[i].path);
	}
	close_fd(c->qemu_fd);
	close_fd(c->stdin_fd);
	*c = (struct confine){.qemu_fd = -1, .stdin_fd = -1};
}
