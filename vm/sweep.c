/* SPDX-License-Identifier: Apache-2.0 */
/* The VMs of a host as their records tell: see sweep.h. */
#include "vm/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "vm/number.h"

/* How long a killed QEMU may take to be gone: it has memory to give back, on a machine
 * that may be busy. */
#define END_TIMEOUT_MS 60000

/* Of a folder's name; false if it is no VM's. */
static bool parse_number(const char *name, unsigned int *ret)
{
	int end = 0;

	return *name >= '0' && *name <= '9' && sscanf(name, "%u%n", ret, &end) == 1 &&
	       !name[end];
}

static char *vms_folder(const struct config *c)
{
	return xasprintf("%s/" VM_FOLDERS, c->state_dir);
}

/* ---- the sweep ---- */

/* A process that nobody has reaped yet undoes nothing any more. One that can't be looked
 * at is taken for alive. */
static bool is_alive(const struct proc_id *id)
{
	_cleanup_close_ int pidfd = -1;
	int r = proc_open(id, &pidfd);

	return r == 0 ? pidfd_wait(pidfd, now_ms()) < 0 : r != -ESRCH;
}

static int end_qemu(const struct proc_id *qemu, struct err *err)
{
	int r = qemu->pid ? proc_end(qemu, deadline_after_ms(END_TIMEOUT_MS)) : 0;

	return r < 0 ? err_sys(err, r, "cannot end QEMU (pid %d)", (int)qemu->pid) : 0;
}

/* The folder's lock is held. */
static int sweep_locked(
	const struct config *c, const char *dir, int dir_fd, struct err *err)
{
	struct vm_record record;
	int r = vm_record_read(dir_fd, &record, err);

	if (r == -ENOENT)
		return vm_number_give_unrecorded(c, dir, err);
	if (r < 0 || is_alive(&record.owner))
		return r;
	log_warn("undoing %s, whose owner (pid %d) is gone: the VM of %s%s%s", dir,
		(int)record.owner.pid, record.namespace, *record.namespace ? " " : "",
		record.sandbox);
	r = end_qemu(&record.qemu, err);
	return r == 0 ? vm_number_give(c, dir, record.cgroup, err) : r;
}

static int sweep_one(const struct config *c, const char *dir, struct err *err)
{
	_cleanup_(unlock) int dir_fd = vm_record_lock(dir);
	int r;

	if (dir_fd == -ENOENT)
		return 0;
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "cannot lock %s", dir);
	r = sweep_locked(c, dir, dir_fd, err);
	return r < 0 ? err_wrap(err, "undo %s", dir) : 0;
}

/* One that is no other sandbox's: a folder without a record may be anybody's. */
static bool is_meant(const char *dir, const char *namespace, const char *sandbox)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vm_record record;

	if (!sandbox || dir_fd < 0 || vm_record_read(dir_fd, &record, NULL) < 0)
		return true;
	return strcmp(record.sandbox, sandbox) == 0 &&
	       strcmp(record.namespace, namespace) == 0;
}

int vm_sweep(const struct config *c, const char *namespace, const char *sandbox,
	struct err *err)
{
	_cleanup_free_ char *folder = vms_folder(c);
	_cleanup_closedir_ DIR *all = opendir(folder);
	struct dirent *entry;
	unsigned int number;
	int r = 0;

	if (!all && errno != ENOENT)
		return err_sys(err, errno, "cannot read %s", folder);
	while (all && (entry = readdir(all))) {
		_cleanup_free_ char *dir = xasprintf("%s/%s", folder, entry->d_name);
		struct err why = ERR_INIT;

		if (!parse_number(entry->d_name, &number) ||
			!is_meant(dir, namespace, sandbox) ||
			sweep_one(c, dir, &why) == 0)
			continue;
		if (r == 0)
			r = err_copy(err, &why);
		else
			log_error("something of a VM is left behind: %s", why.text);
	}
	vm_number_drop_claims(c);
	return r;
}

/* ---- looking ---- */

void vm_for_each(const struct config *c,
	void (*fn)(void *user, unsigned int number, const struct vm_record *record),
	void *user)
{
	_cleanup_free_ char *folder = vms_folder(c);
	_cleanup_closedir_ DIR *all = opendir(folder);
	struct vm_record record;
	struct dirent *entry;
	unsigned int number;

	while (all && (entry = readdir(all))) {
		_cleanup_close_ int dir_fd = -1;

		if (!parse_number(entry->d_name, &number))
			continue;
		dir_fd = openat(dirfd(all), entry->d_name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir_fd >= 0 && vm_record_read(dir_fd, &record, NULL) == 0)
			fn(user, number, &record);
	}
}
