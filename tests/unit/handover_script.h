/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted clone: a process that waits to be killed stands for QEMU; numbers, records
 * and owners are the real ones. A part of lease_fixture.h.
 */
#pragma once

static inline int script_spawn(struct vm *vm, struct err *err)
{
	pid_t pid = fork();
	int r;

	if (pid == 0) {
		close_range(3, ~0U, 0); /* the end of a connection must be one */
		for (;;)
			pause();
	}
	vm->qemu.pid = pid;
	r = pidfd_of(pid, &vm->qemu.pidfd);
	if (r == 0)
		r = proc_id_of(pid, &vm->record.qemu);
	if (r == 0)
		r = vm_write_record(vm, err);
	return r == 0 ? vm_publish_qemu(vm, vm->qemu.pidfd, err) : r;
}

int vm_clone(struct vm *vm, const struct vm_template *template, struct err *err)
{
	bool hold;
	int r;

	pthread_mutex_lock(&script.lock);
	script.clones++;
	hold = script.hold_clones;
	r = script.clone_result;
	pthread_mutex_unlock(&script.lock);
	str_copy(vm->record.generation, template->generation);
	if (r < 0)
		err_set(err, r, "clone: QEMU is silent");
	else
		r = script_spawn(vm, err);
	if (r == 0 && hold) {
		pthread_mutex_lock(&script.lock);
		script.booting++;
		pthread_cond_broadcast(&script.changed);
		pthread_mutex_unlock(&script.lock);
		pidfd_wait(vm->qemu.pidfd, DEADLINE_NONE);
		pthread_mutex_lock(&script.lock);
		script.booting--;
		pthread_mutex_unlock(&script.lock);
		r = err_set(err, -ECONNRESET, "clone: QEMU has ended");
	}
	if (r < 0)
		vm_undo(vm);
	return r;
}

int vm_set_aside(struct vm *vm, struct vm_handover *ret, struct err *err)
{
	(void)err;
	ret->pid_fd = fcntl(vm->qemu.pidfd, F_DUPFD_CLOEXEC, 3);
	ret->number = vm->number;
	ret->qmp_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->agent_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->stderr_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->files_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->window_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret->qemu_version = 70222;
	return 0;
}

/* What vm_adopt() does to the record, for a process that lives as long as the test. */
static inline int script_take(unsigned int number, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("/tmp/state/" VM_FOLDERS "/%u", number);
	_cleanup_close_ int dir_fd = vm_record_lock(dir);
	struct vm_record record;
	int r;

	if (dir_fd < 0)
		return err_sys(err, dir_fd, "cannot lock %s", dir);
	r = vm_record_read(dir_fd, &record, err);
	if (r == 0 && !record.offered)
		return VM_WITHDRAWN;
	record.offered = false;
	str_copy(record.namespace, "default");
	str_copy(record.sandbox, "sandbox-1");
	return r == 0 ? vm_record_write(dir_fd, &record, err) : r;
}

static inline void script_forget(unsigned int number)
{
	_cleanup_free_ char *dir = xasprintf("/tmp/state/" VM_FOLDERS "/%u", number);
	_cleanup_close_ int dir_fd = vm_record_lock(dir);
	struct vm_record record;

	if (dir_fd >= 0 && vm_record_read(dir_fd, &record, NULL) == 0)
		vm_number_give(&client, dir, record.cgroup, NULL);
}
