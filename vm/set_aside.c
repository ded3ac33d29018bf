/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's connections are taken apart, for another process
 * to go on with: see handover.h. */
#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/cgroup.h"
#include "vm/handover.h"
#include "vm/vm_internal.h"

static int stop_guest(struct vm *vm, struct err *err)
{
	int r = qmp_stop(vm->qmp, vm_call_deadline(vm), err);

	if (r == 0 && vm->cpu_percent) {
		r = cgroup_limit(vm->record.cgroup, CGROUP_CPU, 0, err);
		if (r == -EOPNOTSUPP) /* there was none */
			r = 0;
	}
	return r;
}

static void set_leaving(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->leaving = true;
	pthread_mutex_unlock(&vm->lock);
}

/* The VM's thread uses the session until it has been told that nobody may any more. */
static int take_apart(struct vm *vm, struct vm_handover *h, struct err *err)
{
	int r;

	r = agent_detach(steal_ptr(vm->agent), &h->agent_fd, err);
	if (r < 0)
		return r;
	set_leaving(vm);
	r = qmp_quiesce(vm->qmp, err);
	if (r < 0)
		return r;
	vm_unwatch(vm);
	if (vm->guest_ended || vm->gone)
		return err_set(err, -ESRCH, "the guest has ended by itself");
	h->qemu_version = qmp_version(vm->qmp);
	return qmp_detach(steal_ptr(vm->qmp), vm_call_deadline(vm), &h->qmp_fd, err);
}

int vm_set_aside(struct vm *vm, struct vm_handover *ret, struct err *err)
{
	struct vm_handover h = VM_HANDOVER_INIT;
	int r = stop_guest(vm, err);

	if (r == 0)
		r = take_apart(vm, &h, err);
	if (r == 0) {
		h.pid_fd = fcntl(vm->qemu.pidfd, F_DUPFD_CLOEXEC, 3);
		if (h.pid_fd < 0)
			r = err_sys(err, errno, "cannot duplicate a descriptor");
	}
	if (r < 0) {
		vm_handover_done(&h);
		return err_wrap(err, "set the VM aside");
	}
	h.number = vm->number;
	h.stderr_fd = steal_fd(&vm->stderr_fd);
	h.files_fd = steal_fd(&vm->files_fd);
	h.window_fd = steal_fd(&vm->window_fd);
	*ret = h;
	return 0;
}
