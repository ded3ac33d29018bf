/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that ends by itself: powers off, reboots, or panics (which our command line
 * makes a reboot). QEMU then pauses and says SHUTDOWN, so that the console, which lives
 * in QEMU, can be read; then QEMU is killed, and everyone who holds its pidfd, QMP
 * session or agent hears of it.
 */
#include <signal.h>

#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/vm_internal.h"

static void *watch(void *arg)
{
	struct vm *vm = arg;
	char *console = NULL;

	/* Any other end of the wait is the end of QEMU. */
	if (qmp_wait_event(
		    vm->qmp, 0, "SHUTDOWN", NULL, NULL, DEADLINE_NONE, NULL, NULL) < 0)
		return NULL;
	if (qmp_ringbuf_read(vm->qmp, VM_CHARDEV_CONSOLE, VM_CONSOLE_BYTES, &console,
		    vm_call_deadline(vm), NULL) == 0) {
		pthread_mutex_lock(&vm->lock);
		vm->console = console;
		pthread_mutex_unlock(&vm->lock);
	}
	vm->ended = true;
	log_warn("the guest of the VM %s has ended by itself; its QEMU is ended", vm->id);
	pidfd_kill(vm->qemu.pidfd, SIGKILL);
	return NULL;
}

int vm_watch(struct vm *vm, struct err *err)
{
	int r = thread_start(watch, vm, 0, false, &vm->watcher);

	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	vm->watched = true;
	return 0;
}

void vm_unwatch(struct vm *vm)
{
	if (vm->watched)
		pthread_join(vm->watcher, NULL);
	vm->watched = false;
}
