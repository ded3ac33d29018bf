/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's making and its end: see vm.h. */
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/proc.h"
#include "base/util.h"
#include "vm/number.h"
#include "vm/vm_internal.h"

int64_t vm_call_deadline(const struct vm *vm)
{
	return deadline_after_ms((int64_t)vm->config->call_timeout_ms);
}

int64_t vm_boot_deadline(const struct vm *vm)
{
	return deadline_after_ms((int64_t)vm->config->boot_timeout_ms);
}

/* ---- making it ---- */

static int copy_name(char ret[VM_NAME_SIZE], const char *name, struct err *err)
{
	if (strlen(name) >= VM_NAME_SIZE)
		return err_set(err, -ENAMETOOLONG, "the name %s has more than %d bytes",
			err_quote(name, VM_NAME_SIZE), VM_NAME_SIZE - 1);
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

int vm_take_number(struct vm *vm, struct err *err)
{
	int r;

	if (vm->dir)
		return 0;
	vm->record.offered = false;
	vm->record.qemu = (struct proc_id){0};
	*vm->record.generation = '\0';
	vm->vcpus = (unsigned int)vm->config->default_vcpus;
	vm->dimms = 0;
	vm->dimm_bytes = vm->file_bytes = vm->image_bytes = 0;
	vm->ports = (struct ports){0};
	r = vm_number_take(
		vm->config, vm->pod_cgroup, &vm->record, &vm->dir, vm->cgroup_fds, err);
	if (r < 0)
		return r;
	vm->number = (unsigned int)r;
	return 0;
}

static void free_struct(struct vm *vm)
{
	pthread_mutex_destroy(&vm->lock);
	free(vm->console);
	free(vm->dir);
	free(vm);
}

int vm_new(const struct vm_options *options, struct vm **ret, struct err *err)
{
	struct vm *vm = xnew0(struct vm);
	int r;

	vm->config = options->config;
	vm->pod_cgroup = options->pod_cgroup ? options->pod_cgroup : "";
	vm->trace = options->trace;
	vm->cpu_percent = options->cpu_percent;
	vm->ended = options->ended;
	vm->user = options->user;
	vm->stderr_fd = vm->agent_fd = vm->qemu.pidfd = vm->kill_fd = -1;
	vm->files_fd = vm->window_fd = -1;
	for (int i = 0; i < CGROUP_MAX; i++)
		vm->cgroup_fds[i] = -1;
	pthread_mutex_init(&vm->lock, NULL);
	r = proc_id_of(getpid(), &vm->record.owner);
	if (r < 0)
		r = err_sys(err, r, "cannot find this process in /proc");
	if (r == 0)
		r = copy_name(vm->record.namespace, options->namespace, err);
	if (r == 0)
		r = copy_name(vm->record.sandbox, options->sandbox, err);
	if (r == 0)
		r = vm_take_number(vm, err);
	if (r < 0) {
		free_struct(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

int vm_write_record(struct vm *vm, struct err *err)
{
	_cleanup_close_ int dir_fd = open(vm->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return err_sys(err, errno, "cannot open %s", vm->dir);
	return vm_record_write(dir_fd, &vm->record, err);
}

/* ---- its end ---- */

int vm_publish_qemu(struct vm *vm, int pidfd, struct err *err)
{
	bool killed;

	pthread_mutex_lock(&vm->lock);
	killed = vm->killed;
	vm->kill_fd = pidfd;
	pthread_mutex_unlock(&vm->lock);
	return killed ? err_set(err, -ECANCELED, "the VM was killed") : 0;
}

bool vm_is_killed(struct vm *vm)
{
	bool killed;

	pthread_mutex_lock(&vm->lock);
	killed = vm->killed;
	pthread_mutex_unlock(&vm->lock);
	return killed;
}

int vm_check_killed(struct vm *vm, struct err *err)
{
	return vm_is_killed(vm) ? err_set(err, -ECANCELED, "the VM was killed") : 0;
}

void vm_kill(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->killed = true;
	if (vm->kill_fd >= 0)
		pidfd_kill(vm->kill_fd, SIGKILL); /* fails if it has ended: as well */
	pthread_mutex_unlock(&vm->lock);
}

/* QEMU has ended when this returns, and nobody looks at it any more. */
static void end_qemu(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->undoing = true;
	pthread_mutex_unlock(&vm->lock);
	if (vm->qemu.pid > 0)
		spawned_kill(&vm->qemu);
	vm_unwatch(vm);
	pthread_mutex_lock(&vm->lock);
	vm->kill_fd = -1;
	vm->undoing = vm->leaving = vm->guest_ended = vm->gone = vm->ready = false;
	free(steal_ptr(vm->console));
	pthread_mutex_unlock(&vm->lock);
	spawned_end(&vm->qemu);
}

static void close_all(struct vm *vm)
{
	agent_free(steal_ptr(vm->agent));
	qmp_free(steal_ptr(vm->qmp));
	close_fd(steal_fd(&vm->agent_fd));
	close_fd(steal_fd(&vm->files_fd));
	close_fd(steal_fd(&vm->window_fd));
	close_fd(steal_fd(&vm->stderr_fd));
	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(steal_fd(&vm->cgroup_fds[i]));
}

void vm_undo(struct vm *vm)
{
	struct err err = ERR_INIT;

	end_qemu(vm);
	close_all(vm);
	if (!vm->dir)
		return;
	if (vm_number_give(vm->config, vm->dir, vm->record.cgroup, &err) < 0) {
		log_error("something of the VM %s is left behind: %s", vm->dir, err.text);
		vm->left = true;
	}
	free(steal_ptr(vm->dir));
}

int vm_free(struct vm *vm)
{
	int r;

	if (!vm)
		return 0;
	if (vm->taken) {
		spawned_forget(&vm->qemu);
		close_all(vm);
	} else {
		vm_undo(vm);
	}
	r = vm->left ? -EBUSY : 0;
	free_struct(vm);
	return r;
}

/* ---- looking at it ---- */

struct agent *vm_agent(struct vm *vm)
{
	return vm->agent;
}

unsigned int vm_number(const struct vm *vm)
{
	return vm->number;
}

int vm_pid(const struct vm *vm)
{
	return vm->qemu.pid;
}

int vm_pidfd(const struct vm *vm)
{
	return vm->qemu.pidfd;
}
