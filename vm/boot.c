/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's beginnings: cold boot, save as a template, clone of one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/accel.h"
#include "vm/inputs.h"
#include "vm/vm_internal.h"

static int boot_guest(struct vm *vm, int memory_fd, struct err *err)
{
	struct vm_start start = {
		.role = memory_fd >= 0 ? VM_ROLE_TEMPLATE : VM_ROLE_DIRECT,
		.machine.config = vm->config,
		.memory_fd = memory_fd,
	};
	struct accel accel;
	int r;

	r = vm_check_killed(vm, err);
	if (r == 0)
		r = vm_check_kernel(vm->config, err);
	if (r == 0)
		r = vm_check_initrd(vm->config, err);
	if (r == 0)
		r = accel_choose(vm->config, &accel, err);
	if (r < 0)
		return r;
	start.machine.kvm = accel.kvm;
	log_info("booting with %s: %s", accel.kvm ? "KVM" : "TCG", accel.reason);
	r = vm_start(vm, &start, err);
	if (r == 0)
		r = vm_meet_agent(vm, vm_boot_deadline(vm), err);
	return r < 0 ? r : vm_become_ready(vm, err);
}

int vm_boot(struct vm *vm, int memory_fd, struct err *err)
{
	int r = boot_guest(vm, memory_fd, err);

	if (r == 0)
		return 0;
	vm_undo(vm);
	return err_wrap(err, "boot");
}

/* The state is loaded by the same QEMU with the same devices; only the memory file is not
 * read. */
static int load_state(struct vm *vm, int state_fd, struct err *err)
{
	int r;

	trace_begin(vm->trace, TRACE_RESTORED);
	r = qmp_migrate_set_template_capabilities(vm->qmp, vm_call_deadline(vm), err);
	if (r == 0)
		r = qmp_migrate_from_fd(vm->qmp, state_fd, vm_call_deadline(vm), err);
	if (r < 0) {
		err_wrap(err, "restore");
		return vm_explain(vm, err);
	}
	trace_end(vm->trace, TRACE_RESTORED);
	trace_begin(vm->trace, TRACE_RESUMED);
	r = qmp_cont(vm->qmp, vm_call_deadline(vm), err);
	if (r == 0)
		trace_end(vm->trace, TRACE_RESUMED);
	return r < 0 ? err_wrap(err, "resume") : 0;
}

static int clone_template(
	struct vm *vm, const struct vm_template *template, struct err *err)
{
	const struct manifest *manifest = template->manifest;
	struct vm_start start = {
		.role = VM_ROLE_CLONE,
		.machine.config = vm->config,
		.machine.kvm = strcmp(manifest->value[MANIFEST_ACCEL], "kvm") == 0,
		.memory_fd = template->memory_fd,
	};
	int r;

	if (strlen(template->generation) >= sizeof(vm->record.generation))
		return err_set(err, -EINVAL, "%s is no generation's id",
			err_quote(template->generation, GENERATION_ID_SIZE));
	r = vm_check_killed(vm, err);
	if (r == 0)
		r = vm_take_number(vm, err);
	if (r < 0)
		return r;
	/* Written down with QEMU's process. */
	str_copy(vm->record.generation, template->generation);
	r = vm_start(vm, &start, err);
	if (r == 0)
		r = load_state(vm, template->state_fd, err);
	if (r == 0)
		r = vm_meet_agent(vm, vm_boot_deadline(vm), err);
	return r < 0 ? r : vm_become_ready(vm, err);
}

int vm_clone(struct vm *vm, const struct vm_template *template, struct err *err)
{
	int r = clone_template(vm, template, err);

	if (r == 0)
		return 0;
	vm_undo(vm);
	return err_wrap(err, "clone");
}

int vm_save(struct vm *vm, int state_fd, struct err *err)
{
	int r;

	r = qmp_stop(vm->qmp, vm_call_deadline(vm), err);
	if (r == 0)
		r = qmp_migrate_set_template_capabilities(
			vm->qmp, vm_call_deadline(vm), err);
	if (r == 0)
		r = qmp_migrate_to_fd(vm->qmp, state_fd, vm_call_deadline(vm), err);
	return r < 0 ? err_wrap(err, "save") : 0;
}
