/* SPDX-License-Identifier: Apache-2.0 */
/* What boot and clone share: a spawned QEMU, a QMP session, an agent that answers. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/cgroup.h"
#include "vm/number.h"
#include "vm/vm_internal.h"

static int make_stderr(struct vm *vm, struct err *err)
{
	vm->stderr_fd = memfd_create("qemu-stderr", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vm->stderr_fd < 0 || ftruncate(vm->stderr_fd, VM_STDERR_BYTES) < 0 ||
		fcntl(vm->stderr_fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		return err_sys(
			err, errno, "cannot make the file for QEMU's standard error");
	return 0;
}

/* Called between fork and exec: from here on vm_kill() and vm_sweep()
 * find the process. */
static int record_qemu(void *user, pid_t pid, int pidfd, struct err *err)
{
	struct vm *vm = user;
	int r = proc_id_of(pid, &vm->record.qemu);

	if (r < 0)
		return err_sys(err, r, "cannot read QEMU's start time");
	r = vm_write_record(vm, err);
	return r < 0 ? r : vm_publish_qemu(vm, pidfd, err);
}

/* A host that can't is no reason not to have the VM. */
static void limit_cpu(const struct vm *vm)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	struct err err = ERR_INIT;

	if (vm->cpu_percent &&
		cgroup_limit(vm->record.cgroup, CGROUP_CPU, vm->cpu_percent * 10ul,
			&err) < 0 &&
		!atomic_flag_test_and_set(&told))
		log_warn("VMs that are being prepared may use all CPUs: %s", err.text);
}

/* Each is a socket pair: ours, QEMU's. */
struct channels {
	int qmp[2], agent[2], files[2];
};

static void close_channels(struct channels *c)
{
	for (int i = 0; i < 2; i++) {
		close_fd(steal_fd(&c->qmp[i]));
		close_fd(steal_fd(&c->agent[i]));
		close_fd(steal_fd(&c->files[i]));
	}
}

static int make_channels(struct channels *ret, struct err *err)
{
	int *pairs[] = {ret->qmp, ret->agent, ret->files};

	*ret = (struct channels){{-1, -1}, {-1, -1}, {-1, -1}};
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) < 0) {
			int r = err_sys(err, errno, "socketpair");

			close_channels(ret);
			return r;
		}
	return 0;
}

static int add_opens(struct vm *vm, const struct vm_start *start, struct spawn *s,
	int *ret_window_fd, struct err *err)
{
	int r;

	if (start->memory_fd >= 0)
		s->opens[s->n_opens++] =
			(struct spawn_open){VM_PATH_MEMORY, start->memory_fd};
	if (start->role == VM_ROLE_TEMPLATE)
		return 0;
	r = vm_make_window(vm, err);
	if (r == 0)
		r = vm_open_window(vm, err);
	if (r < 0)
		return r;
	*ret_window_fd = r;
	s->opens[s->n_opens++] = (struct spawn_open){VM_PATH_WINDOW, r};
	return 0;
}

static int spawn_vm(struct vm *vm, const struct vm_start *start, const struct channels *c,
	struct err *err)
{
	_cleanup_close_ int window_fd = -1;
	_cleanup_free_ char *jail = xasprintf("%s/jail", vm->dir);
	char **argv = vm_argv_new(&start->machine, start->role);
	bool boots = start->role != VM_ROLE_CLONE;
	struct spawn s = {
		.qemu_path = vm->config->qemu_path,
		.argv = argv,
		.jail = jail,
		.uid = vm_number_uid(vm->config, vm->number),
		.kvm = start->machine.kvm,
		/* For images, which no template has. */
		.fd_names = start->role != VM_ROLE_TEMPLATE,
		.kernel = boots ? vm->config->kernel : NULL,
		.initrd = boots ? vm->config->initrd : NULL,
		.qmp_fd = c->qmp[1],
		.agent_fd = c->agent[1],
		.files_fd = c->files[1],
		.cgroup_fds = vm->cgroup_fds,
		.record = record_qemu,
		.user = vm,
	};
	int r = 0;

	if (mkdir(jail, 0700) < 0)
		r = err_sys(err, errno, "cannot make %s", jail);
	if (r == 0)
		r = make_stderr(vm, err);
	s.stderr_fd = vm->stderr_fd;
	if (r == 0)
		r = add_opens(vm, start, &s, &window_fd, err);
	if (r == 0)
		r = spawn_qemu(&s, &vm->qemu, err);
	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(steal_fd(&vm->cgroup_fds[i]));
	vm_argv_free(argv);
	return r;
}

int vm_start(struct vm *vm, const struct vm_start *start, struct err *err)
{
	struct channels c;
	int qmp_fd, r;

	r = vm_take_number(vm, err);
	if (r == 0)
		r = vm_limit_start(vm, err);
	if (r == 0)
		r = make_channels(&c, err);
	if (r < 0)
		return r;
	limit_cpu(vm);
	vm->agent_fd = steal_fd(&c.agent[0]);
	vm->files_fd = steal_fd(&c.files[0]);
	trace_begin(vm->trace, TRACE_SPAWN);
	r = spawn_vm(vm, start, &c, err);
	qmp_fd = r < 0 ? -1 : steal_fd(&c.qmp[0]);
	close_channels(&c);
	if (r < 0)
		return r;
	trace_end(vm->trace, TRACE_SPAWN);
	trace_begin(vm->trace, TRACE_QMP);
	r = qmp_new(qmp_fd, vm_call_deadline(vm), &vm->qmp, err);
	if (r < 0) {
		err_wrap(err, "QEMU (%s) does not answer", vm->config->qemu_path);
		return vm_explain(vm, err);
	}
	trace_end(vm->trace, TRACE_QMP);
	return vm_watch(vm, err);
}

int vm_meet_agent(struct vm *vm, int64_t deadline, struct err *err)
{
	int r;

	trace_begin(vm->trace, TRACE_AGENT);
	r = agent_new(steal_fd(&vm->agent_fd), &vm->agent, err);
	if (r == 0)
		r = agent_check(vm->agent, deadline, err);
	if (r == -ETIMEDOUT)
		err_wrap(err,
			"the guest's agent did not answer within %" PRIu64
			" ms (key boot_timeout_ms of [runtime])",
			vm->config->boot_timeout_ms);
	else if (r < 0)
		err_wrap(err, "the guest's agent does not answer");
	if (r < 0)
		return vm_explain(vm, err);
	trace_end(vm->trace, TRACE_AGENT);
	return 0;
}
