/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a VM is that may be handed over: see handover.h. */
#include "vm/handover.h"

#include <errno.h>

#include "base/util.h"
#include "vm/vm_internal.h"

void vm_handover_done(struct vm_handover *h)
{
	close_fd(h->qmp_fd);
	close_fd(h->agent_fd);
	close_fd(h->pid_fd);
	close_fd(h->stderr_fd);
	close_fd(h->files_fd);
	close_fd(h->window_fd);
	*h = VM_HANDOVER_INIT;
}

void vm_handover_last_words(const struct vm_handover *h, char *buf, size_t size)
{
	*buf = '\0';
	vm_append_stderr(h->stderr_fd, buf, size);
}

/* Under the folder's lock nobody else changes the record. */
static int set_offered(struct vm *vm, int dir_fd, bool offered, struct err *err)
{
	int r;

	vm->record.offered = offered;
	r = vm_record_write(dir_fd, &vm->record, err);
	if (r < 0)
		vm->record.offered = !offered;
	return r;
}

int vm_offer(struct vm *vm, struct err *err)
{
	_cleanup_(unlock) int dir_fd = vm_record_lock(vm->dir);

	if (dir_fd < 0)
		return err_sys(err, dir_fd, "cannot lock %s", vm->dir);
	return set_offered(vm, dir_fd, true, err);
}

/* A taker that has ended by now took the folder along. */
int vm_withdraw(struct vm *vm, struct err *err)
{
	_cleanup_(unlock) int dir_fd = -1;
	struct vm_record now;
	int r;

	if (vm->taken)
		return VM_TAKEN;
	if (!vm->record.offered)
		return VM_OURS;
	dir_fd = vm_record_lock(vm->dir);
	vm->taken = true; /* as long as it can't be found out */
	if (dir_fd < 0 && dir_fd != -ENOENT)
		return err_sys(err, dir_fd, "cannot lock %s", vm->dir);
	r = dir_fd < 0 ? -ENOENT : vm_record_read(dir_fd, &now, err);
	if (r < 0 && r != -ENOENT)
		return r;
	/* The number may be another VM's by now. */
	vm->taken = r == -ENOENT || !now.offered ||
		    !proc_id_equal(&now.qemu, &vm->record.qemu) ||
		    !proc_id_equal(&now.owner, &vm->record.owner);
	if (vm->taken)
		return VM_TAKEN;
	r = set_offered(vm, dir_fd, false, err);
	return r < 0 ? r : VM_OURS;
}
