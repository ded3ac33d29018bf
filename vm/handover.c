/* SPDX-License-Identifier: Apache-2.0 */
/* A VM moves between two processes: see handover.h. */
#include "vm/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/cgroup.h"
#include "vm/vm_internal.h"

/* In the giver's folder: it was offered, and where its record goes when it is withdrawn.
 */
#define OFFERED "offered"

void vm_handover_done(struct vm_handover *h)
{
	close_fd(h->qmp_fd);
	close_fd(h->agent_fd);
	close_fd(h->pid_fd);
	close_fd(h->stderr_fd);
	*h = VM_HANDOVER_INIT;
}

void vm_handover_last_words(const struct vm_handover *h, char *buf, size_t size)
{
	*buf = '\0';
	vm_append_stderr(h->stderr_fd, buf, size);
}

/* ---- the giver ---- */

/* The folder that the uid's link leads to, for who undoes the VM from another one. */
static int note_birth(struct vm *vm, struct err *err)
{
	if (strlen(vm->dir) >= sizeof(vm->record.born))
		return err_set(
			err, -ENAMETOOLONG, "the folder's name is too long: %s", vm->dir);
	str_copy(vm->record.born, vm->dir);
	return vm_record_write(vm->dir, &vm->record, err);
}

static int stop(struct vm *vm, struct err *err)
{
	int r = qmp_stop(vm->qmp, vm_call_deadline(vm), err);

	if (r == 0 && vm->cpu_percent) {
		r = cgroup_limit_cpu(vm->record.cgroup, 0, err);
		if (r == -EOPNOTSUPP) /* there was none */
			r = 0;
	}
	if (r == 0)
		r = note_birth(vm, err);
	return r;
}

/* The watcher uses the session until it has been told that nobody may any more. */
static int take_apart(struct vm *vm, struct vm_handover *ret, struct err *err)
{
	int r;

	r = agent_detach(steal_ptr(vm->agent), &ret->agent_fd, err);
	if (r == 0)
		r = qmp_quiesce(vm->qmp, err);
	if (r < 0)
		return r;
	vm_unwatch(vm);
	if (vm->ended)
		return err_set(err, -ESRCH, "the guest has ended by itself");
	ret->qemu_version = qmp_version(vm->qmp);
	return qmp_detach(steal_ptr(vm->qmp), vm_call_deadline(vm), &ret->qmp_fd, err);
}

int vm_detach(struct vm *vm, struct vm_handover *ret, struct err *err)
{
	struct vm_handover h = VM_HANDOVER_INIT;
	int r = stop(vm, err);

	if (r == 0)
		r = take_apart(vm, &h, err);
	if (r < 0) {
		vm_handover_done(&h);
		vm_free(vm);
		return err_wrap(err, "set the VM aside");
	}
	/* It has answered QEMU's one open, or there would be no agent. */
	if (vm->qemu.supervised)
		pthread_join(vm->qemu.supervisor, NULL);
	h.pid = vm->qemu.pid;
	h.pid_fd = vm->qemu.pidfd;
	h.stderr_fd = vm->stderr_fd;
	vm_free_struct(vm);
	*ret = h;
	return 0;
}

int vm_offer(const char *dir, struct err *err)
{
	_cleanup_free_ char *offered = xasprintf("%s/" OFFERED, dir);

	if (mkdir(offered, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot create %s", offered);
	return 0;
}

int vm_forget(const char *dir, struct err *err)
{
	return remove_tree(AT_FDCWD, dir, err);
}

/* 1 if neither the record nor the one put away is there. */
static int put_away(const char *dir, const char *offered, struct err *err)
{
	_cleanup_free_ char *away = xasprintf("%s/vm.json", offered);
	struct err why = ERR_INIT;
	int r = vm_record_move(dir, offered, &why);

	if (r == -ENOENT)
		return access(away, F_OK) == 0 ? 0 : 1;
	return r < 0 ? err_copy(err, &why) : 0;
}

int vm_withdraw(const struct config *c, const char *dir, struct err *err)
{
	_cleanup_free_ char *offered = xasprintf("%s/" OFFERED, dir);
	int r;

	if (access(offered, F_OK) == 0) {
		r = put_away(dir, offered, err);
		if (r == 0)
			r = vm_cleanup(c, offered, err);
	} else {
		r = vm_cleanup(c, dir, err);
	}
	return r == 0 ? remove_tree(AT_FDCWD, dir, err) : r;
}

int vm_withdraw_left(const struct config *c, const char *dir, struct err *err)
{
	int r = vm_withdraw(c, dir, err);

	if (r <= 0)
		return r;
	if (vm_uid_is_held(c, dir)) {
		log_info("%s stays until its VM, which a sandbox has taken, has ended",
			dir);
		return 0;
	}
	return vm_forget(dir, err);
}

/* ---- the taker ---- */

/* From the move of the record on the VM is ours. */
static int take_record(struct vm *vm, const char *from, struct err *err)
{
	struct err why = ERR_INIT;
	int r = vm_record_read(from, &vm->record, &why);

	if (r == 0)
		r = vm_record_move(from, vm->dir, &why);
	if (r == -ENOENT)
		return err_set(err, -ESTALE, "it was withdrawn");
	return r < 0 ? err_copy(err, &why) : 0;
}

static int take_connections(struct vm *vm, struct vm_handover *h, struct err *err)
{
	int r;

	vm->qemu.pid = vm->record.qemu.pid;
	vm->qemu.pidfd = steal_fd(&h->pid_fd);
	vm->qemu.foreign = true;
	vm->stderr_fd = steal_fd(&h->stderr_fd);
	vm->agent_fd = steal_fd(&h->agent_fd);
	r = vm_uid_move(vm->config, vm->record.uid, vm->dir, err);
	if (r == 0)
		r = qmp_adopt(steal_fd(&h->qmp_fd), h->qemu_version, &vm->qmp, err);
	return r < 0 ? r : vm_watch(vm, err);
}

int vm_adopt(const struct vm_options *options, struct vm_handover *h, const char *from,
	struct vm **ret, struct err *err)
{
	struct vm *vm = vm_new(options);
	int r = take_record(vm, from, err);

	if (r < 0) {
		vm_free_struct(vm);
	} else {
		r = take_connections(vm, h, err);
		if (r < 0)
			vm_free(vm);
	}
	vm_handover_done(h);
	if (r < 0)
		return err_wrap(err, "take the cached VM");
	*ret = vm;
	return 0;
}

int vm_resume(struct vm *vm, struct err *err)
{
	int r;

	trace_begin(vm->trace, TRACE_RESUMED);
	r = qmp_cont(vm->qmp, vm_call_deadline(vm), err);
	if (r < 0) {
		err_wrap(err, "resume");
		return vm_explain(vm, err);
	}
	trace_end(vm->trace, TRACE_RESUMED);
	return vm_meet_agent(vm, vm_boot_deadline(vm), err);
}
