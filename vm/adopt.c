/* SPDX-License-Identifier: Apache-2.0 */
/* A VM is taken over from the process that made it: see handover.h. */
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/handover.h"
#include "vm/number.h"
#include "vm/vm_internal.h"

/* The commit; the lock of the offered VM's folder is held. */
static int change_owner(
	int dir_fd, const struct vm_record *mine, struct vm_record *ret, struct err *err)
{
	struct err why = ERR_INIT;
	int r = vm_record_read(dir_fd, ret, &why);

	if (r == -ENOENT || (r == 0 && !ret->offered)) {
		err_set(err, -ESTALE, "the VM was withdrawn");
		return VM_WITHDRAWN;
	}
	if (r < 0)
		return err_copy(err, &why);
	ret->offered = false;
	ret->owner = mine->owner;
	str_copy(ret->namespace, mine->namespace);
	str_copy(ret->sandbox, mine->sandbox);
	return vm_record_write(dir_fd, ret, err);
}

static int take_record(struct vm *vm, const char *dir, struct err *err)
{
	_cleanup_(unlock) int dir_fd = vm_record_lock(dir);
	struct vm_record record;
	int r;

	if (dir_fd == -ENOENT) {
		err_set(err, -ESTALE, "the VM was withdrawn");
		return VM_WITHDRAWN;
	}
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "cannot lock %s", dir);
	r = change_owner(dir_fd, &vm->record, &record, err);
	if (r != 0)
		return r;
	vm_unlock(steal_fd(&dir_fd));
	vm_undo(vm); /* its own number is not needed */
	vm->record = record;
	return 0;
}

static int take_connections(struct vm *vm, struct vm_handover *h, struct err *err)
{
	int r;

	vm->qemu = (struct spawned){.pid = vm->record.qemu.pid,
		.pidfd = steal_fd(&h->pid_fd),
		.foreign = true};
	vm->stderr_fd = steal_fd(&h->stderr_fd);
	vm->agent_fd = steal_fd(&h->agent_fd);
	vm->files_fd = steal_fd(&h->files_fd);
	vm->window_fd = steal_fd(&h->window_fd);
	r = vm_publish_qemu(vm, vm->qemu.pidfd, err);
	if (r == 0)
		r = qmp_adopt(steal_fd(&h->qmp_fd), h->qemu_version, &vm->qmp, err);
	return r < 0 ? r : vm_watch(vm, err);
}

int vm_adopt(struct vm *vm, struct vm_handover *h, struct err *err)
{
	_cleanup_free_ char *dir =
		xasprintf("%s/" VM_FOLDERS "/%u", vm->config->state_dir, h->number);
	int r = take_record(vm, dir, err);

	if (r == 0) {
		vm->dir = steal_ptr(dir);
		vm->number = h->number;
		vm->vcpus = (unsigned int)vm->config->default_vcpus;
		r = take_connections(vm, h, err);
		if (r < 0)
			vm_undo(vm);
	}
	vm_handover_done(h);
	if (r != 0)
		err_wrap(err, "take the cached VM");
	return r;
}

int vm_resume(struct vm *vm, struct err *err)
{
	int r;

	trace_begin(vm->trace, TRACE_RESUMED);
	r = qmp_cont(vm->qmp, vm_call_deadline(vm), err);
	if (r < 0) {
		err_wrap(err, "resume");
		vm_explain(vm, err);
	} else {
		trace_end(vm->trace, TRACE_RESUMED);
		r = vm_meet_agent(vm, vm_boot_deadline(vm), err);
	}
	if (r == 0)
		r = vm_become_ready(vm, err);
	if (r < 0)
		vm_undo(vm);
	return r;
}
