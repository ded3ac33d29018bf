/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's thread: hears of the end of the guest and of QEMU.
 *
 * A guest that ends by itself (powers off, reboots, or panics, which our command line
 * makes a reboot) leaves a QEMU that has paused and says SHUTDOWN, so that the console,
 * which lives in QEMU, can be read. Then QEMU is killed, and everyone who waits for QMP
 * or the agent hears of it. A QEMU that closes QMP is as good as dead, and made so.
 */
#include <errno.h>
#include <signal.h>

#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/vm_internal.h"

/* The guest is gone, so everyone waits for this: QEMU answers at once, or not at all. */
#define CONSOLE_MS 500

static void keep_console(struct vm *vm)
{
	char *console = NULL;

	if (qmp_ringbuf_read(vm->qmp, VM_CHARDEV_CONSOLE, VM_CONSOLE_BYTES, &console,
		    deadline_after_ms(CONSOLE_MS), NULL) < 0)
		return;
	pthread_mutex_lock(&vm->lock);
	vm->console = console;
	pthread_mutex_unlock(&vm->lock);
}

/* The guest's own end, which need not leave a console behind. */
static void note_guest_end(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->guest_ended = true;
	pthread_mutex_unlock(&vm->lock);
	keep_console(vm);
	log_warn("the guest of %s has ended by itself; its QEMU is ended",
		vm->record.sandbox);
}

/* Whether somebody is to be told that QEMU has ended. A start that has not come to its
 * end finds that out itself. */
static bool note_end(struct vm *vm)
{
	bool tells;

	pthread_mutex_lock(&vm->lock);
	vm->gone = true;
	tells = vm->ready && !vm->killed && !vm->undoing && vm->ended;
	pthread_mutex_unlock(&vm->lock);
	return tells;
}

static void *watch_main(void *arg)
{
	struct vm *vm = arg;
	bool leaving;

	if (qmp_wait_event(vm->qmp,
		    &(struct qmp_event_wait){
			    .name = "SHUTDOWN", .deadline = DEADLINE_NONE},
		    NULL, NULL) == 0)
		note_guest_end(vm);
	pthread_mutex_lock(&vm->lock);
	leaving = vm->leaving;
	pthread_mutex_unlock(&vm->lock);
	if (leaving)
		return NULL;
	pidfd_kill(vm->qemu.pidfd, SIGKILL); /* fails if it has ended: as well */
	pidfd_wait(vm->qemu.pidfd, DEADLINE_NONE);
	if (note_end(vm))
		vm->ended(vm->user);
	return NULL;
}

int vm_watch(struct vm *vm, struct err *err)
{
	int r = thread_start(watch_main, vm, 256 << 10, false, &vm->watch);

	if (r < 0)
		return err_sys(err, r, "cannot start a thread");
	vm->watched = true;
	return 0;
}

int vm_become_ready(struct vm *vm, struct err *err)
{
	bool gone;

	pthread_mutex_lock(&vm->lock);
	gone = vm->gone;
	vm->ready = !gone;
	pthread_mutex_unlock(&vm->lock);
	if (!gone)
		return 0;
	err_set(err, -ECONNRESET, "QEMU has ended");
	return vm_explain(vm, err);
}

void vm_unwatch(struct vm *vm)
{
	if (vm->watched)
		pthread_join(vm->watch, NULL);
	vm->watched = false;
}
