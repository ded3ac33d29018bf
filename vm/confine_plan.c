/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's half of confine.h: which files QEMU may see,
 * which system calls it may make. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/filter.h"
#include "base/util.h"
#include "vm/argv.h"
#include "vm/confine.h"

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

/* Beside filter_add_ways_out(): what a QEMU without networking, block jobs or helpers of
 * its own never calls, and a broken-out one would. */
static const int denied[] = {
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(unshare),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(personality),
	SCMP_SYS(execve),
};

/* By clone(2); clone3(2) hides its flags from a filter, and libc does without. */
static const unsigned long denied_clone_flags[] = {
	CLONE_NEWNS,
	CLONE_NEWCGROUP,
	CLONE_NEWUTS,
	CLONE_NEWIPC,
	CLONE_NEWUSER,
	CLONE_NEWPID,
	CLONE_NEWNET,
};

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

/*
 * Nothing is executed but QEMU, once: by this descriptor, which exec closes, and the
 * address of this string. A broken-out QEMU could rebuild both, at a guess; its own
 * filter (spawn=deny) is against that.
 */
static int add_exec_rules(scmp_filter_ctx ctx, const struct confine *c)
{
	const struct scmp_arg_cmp others[] = {
		{0, SCMP_CMP_NE, (scmp_datum_t)c->qemu_fd, 0},
		{1, SCMP_CMP_NE, (uintptr_t)confine_exec_path, 0},
		{4, SCMP_CMP_NE, AT_EMPTY_PATH, 0},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(others); i++)
		r = seccomp_rule_add_array(
			ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(execveat), 1, &others[i]);
	return r;
}

/*
 * QEMU opens for writing what its supervisor answers, and /dev/kvm: both by
 * openat(AT_FDCWD, …, O_RDWR), as libc's open(3) is. Nothing else is opened for writing.
 * (What is not AT_FDCWD and no descriptor is EBADF anyhow.)
 */
static int add_open_rules(scmp_filter_ctx ctx, const struct confine *c)
{
	static const struct {
		int call;
		unsigned int flags_arg;
		scmp_datum_t access;
	} writes[] = {
		{SCMP_SYS(open), 1, O_WRONLY},
		{SCMP_SYS(open), 1, O_RDWR},
		{SCMP_SYS(open), 1, O_ACCMODE},
		{SCMP_SYS(openat), 2, O_WRONLY},
		{SCMP_SYS(openat), 2, O_ACCMODE},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(writes); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), writes[i].call, 1,
			SCMP_CMP(writes[i].flags_arg, SCMP_CMP_MASKED_EQ, O_ACCMODE,
				writes[i].access));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 2,
			SCMP_A0(SCMP_CMP_MASKED_EQ, 1u << 31, 0),
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(creat), 0);
	/* Its flags are in memory, where no filter sees them. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
	if (r == 0 && c->notifies)
		r = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(openat), 2,
			SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)AT_FDCWD),
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
	return r;
}

static int add_rules(scmp_filter_ctx ctx, const struct confine *c)
{
	int r = filter_add_calls(ctx, SCMP_ACT_ERRNO(EPERM), denied, ARRAY_SIZE(denied));

	if (r == 0)
		r = filter_add_ways_out(ctx, SCMP_ACT_ERRNO(EPERM));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(denied_clone_flags); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, denied_clone_flags[i],
				denied_clone_flags[i]));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0)
		r = add_exec_rules(ctx, c);
	return r == 0 ? add_open_rules(ctx, c) : r;
}

static int compile_filter(struct confine *c, struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? add_rules(ctx, c) : -ENOMEM;

	if (r == 0)
		r = filter_export(ctx, &c->filter);
	seccomp_release(ctx);
	return r < 0 ? err_sys(err, r, "cannot make QEMU's system call filter") : 0;
}

int confine_fd_high(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 64);

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
	*c = (struct confine){.spawn = s,
		.notifies = s->n_opens > 0,
		.qemu_fd = -1,
		.stdin_fd = open_stdin()};
	if (c->stdin_fd < 0)
		return err_sys(err, errno, "cannot make QEMU's standard input");
	c->qemu_fd = confine_fd_high(open(s->qemu_path, O_PATH | O_CLOEXEC));
	if (c->qemu_fd < 0)
		return err_sys(err, errno,
			"cannot open QEMU at %s (key path of [hypervisor])",
			err_quote(s->qemu_path, 256));
	plan_binds(c);
	return compile_filter(c, err);
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
	free(c->filter.filter);
	close_fd(c->qemu_fd);
	close_fd(c->stdin_fd);
	*c = (struct confine){.qemu_fd = -1, .stdin_fd = -1};
}
