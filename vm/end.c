/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's end: by its owner, or by whoever finds the folder of an owner that was killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "vm/cgroup.h"
#include "vm/vm_internal.h"

/* How long a killed QEMU may take to be gone. */
#define END_TIMEOUT_MS 10000

/* What is left once QEMU has ended. */
static int undo(const struct config *c, const char *dir, const struct vm_record *record,
	struct err *err)
{
	_cleanup_free_ char *jail = xasprintf("%s/jail", dir);
	_cleanup_free_ char *file = xasprintf("%s/vm.json", dir);
	int r = 0;

	if (*record->cgroup)
		r = cgroup_remove(record->cgroup, err);
	/* An empty folder: what was mounted on it was mounted in QEMU's namespace only.
	 */
	if (rmdir(jail) < 0 && errno != ENOENT && r == 0)
		r = err_sys(err, errno, "cannot remove %s", jail);
	if (r < 0)
		return r;
	if (record->uid != 0)
		vm_uid_release(c, dir, record->born, record->uid);
	if (unlink(file) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove %s", file);
	return 0;
}

void vm_free_struct(struct vm *vm)
{
	pthread_mutex_destroy(&vm->lock);
	free(vm->console);
	free(vm->id);
	free(vm->dir);
	free(vm);
}

void vm_free(struct vm *vm)
{
	struct err err = ERR_INIT;

	if (!vm)
		return;
	if (vm->qemu.pid > 0)
		spawned_kill(&vm->qemu);
	vm_unwatch(vm);
	spawned_end(&vm->qemu);
	agent_free(vm->agent);
	qmp_free(vm->qmp);
	close_fd(vm->agent_fd);
	close_fd(vm->stderr_fd);
	if (undo(vm->config, vm->dir, &vm->record, &err) < 0)
		log_error("something of the VM %s is left behind: %s", vm->id, err.text);
	vm_free_struct(vm);
}

static int end_process(const struct proc_id *qemu, struct err *err)
{
	_cleanup_close_ int pidfd = -1;
	int r;

	if (qemu->pid == 0)
		return 0;
	r = proc_open(qemu, &pidfd);
	if (r == -ESRCH)
		return 0;
	if (r == 0)
		r = pidfd_kill(pidfd, SIGKILL);
	if (r == 0)
		r = pidfd_wait(pidfd, deadline_after_ms(END_TIMEOUT_MS));
	if (r < 0 && r != -ESRCH)
		return err_sys(err, r, "cannot end QEMU (pid %d)", (int)qemu->pid);
	return 0;
}

int vm_cleanup(const struct config *c, const char *dir, struct err *err)
{
	struct vm_record record = {0};
	int r;

	r = vm_record_read(dir, &record, err);
	if (r == -ENOENT) {
		/* The uid is taken before there is something to write down. */
		vm_uid_release_all(c, dir);
		return 0;
	}
	if (r == 0)
		r = end_process(&record.qemu, err);
	if (r == 0)
		r = undo(c, dir, &record, err);
	return r < 0 ? err_wrap(err, "clean up %s", dir) : 0;
}
