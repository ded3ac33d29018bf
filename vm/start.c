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
#include "vm/vm_internal.h"

/* QEMU's standard error is kept up to here; what it writes beyond is refused by the seal.
 */
#define STDERR_BYTES 16384

int64_t vm_call_deadline(const struct vm *vm)
{
	return deadline_after_ms((int64_t)vm->config->call_timeout_ms);
}

int64_t vm_boot_deadline(const struct vm *vm)
{
	return deadline_after_ms((int64_t)vm->config->boot_timeout_ms);
}

struct vm *vm_new(const struct vm_options *options)
{
	struct vm *vm = xnew0(struct vm);

	vm->config = options->config;
	vm->id = xstrdup(options->id);
	vm->dir = xstrdup(options->dir);
	vm->trace = options->trace;
	vm->cpu_percent = options->cpu_percent;
	vm->spawned = options->spawned;
	vm->user = options->user;
	vm->stderr_fd = vm->agent_fd = vm->qemu.pidfd = -1;
	vm->vcpus = (unsigned int)options->config->default_vcpus;
	pthread_mutex_init(&vm->lock, NULL);
	return vm;
}

/*
 * A name for the cgroup that no other instance of Stencil on this host uses: the id and a
 * hash of the folder. The id comes from containerd, which allows no '/' in it.
 */
static void name_cgroup(struct vm *vm)
{
	uint32_t h = 2166136261u;
	char name[112];

	for (const char *p = vm->dir; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	snprintf(name, sizeof(name), "%.96s-%08x", vm->id, h);
	cgroup_path(vm->config, name, vm->record.cgroup);
}

static int make_stderr(struct vm *vm, struct err *err)
{
	vm->stderr_fd = memfd_create("qemu-stderr", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vm->stderr_fd < 0 || ftruncate(vm->stderr_fd, STDERR_BYTES) < 0 ||
		fcntl(vm->stderr_fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		return err_sys(
			err, errno, "cannot make the file for QEMU's standard error");
	return 0;
}

/* Called between fork and exec: from here on vm_cleanup() finds the process. */
static int record_pid(void *user, pid_t pid, struct err *err)
{
	struct vm *vm = user;
	int r = proc_id_of(pid, &vm->record.qemu);

	if (r < 0)
		return err_sys(err, r, "cannot read QEMU's start time");
	r = vm_record_write(vm->dir, &vm->record, err);
	if (r == 0 && vm->spawned)
		r = vm->spawned(vm->user, &vm->record.qemu, err);
	return r;
}

/* A host that can't is no reason not to have the VM. */
static void limit_cpu(const struct vm *vm)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	struct err err = ERR_INIT;

	if (vm->cpu_percent &&
		cgroup_limit_cpu(vm->record.cgroup, vm->cpu_percent, &err) < 0 &&
		!atomic_flag_test_and_set(&told))
		log_warn("VMs that are being prepared may use all CPUs: %s", err.text);
}

/* uid and cgroup are written down before they are made. */
static int take_resources(
	struct vm *vm, int cgroup_fds[SPAWN_CGROUPS_MAX], struct err *err)
{
	int r;

	r = vm_uid_take(vm->config, vm->dir, &vm->record.uid, err);
	if (r < 0)
		return r;
	name_cgroup(vm);
	r = vm_record_write(vm->dir, &vm->record, err);
	if (r == 0)
		r = cgroup_create(vm->record.cgroup, cgroup_fds, err);
	if (r == 0)
		limit_cpu(vm);
	return r;
}

static int spawn(struct vm *vm, const struct vm_start *start, int qmp_fd, int agent_fd,
	struct err *err)
{
	_cleanup_free_ char *jail = xasprintf("%s/jail", vm->dir);
	char **argv = vm_argv_new(&start->machine, start->role);
	bool boots = start->role != VM_ROLE_CLONE;
	struct spawn s = {
		.qemu_path = vm->config->qemu_path,
		.argv = argv,
		.jail = jail,
		.serves_files = start->role != VM_ROLE_TEMPLATE,
		.kvm = start->machine.kvm,
		.kernel = boots ? vm->config->kernel : NULL,
		.initrd = boots ? vm->config->initrd : NULL,
		.qmp_fd = qmp_fd,
		.agent_fd = agent_fd,
		.memory_fd = start->memory_fd,
		.memory_by_fd = start->role == VM_ROLE_CLONE &&
				vm_opens_memory_readonly(start->machine.qemu_version),
		.cgroup_fds = {-1, -1, -1, -1},
		.record = record_pid,
		.user = vm,
	};
	int r;

	r = take_resources(vm, s.cgroup_fds, err);
	if (r == 0 && mkdir(jail, 0700) < 0 && errno != EEXIST)
		r = err_sys(err, errno, "cannot make %s", jail);
	if (r == 0)
		r = make_stderr(vm, err);
	s.stderr_fd = vm->stderr_fd;
	s.uid = vm->record.uid;
	if (r == 0)
		r = spawn_qemu(&s, &vm->qemu, err);
	for (int i = 0; i < SPAWN_CGROUPS_MAX; i++)
		close_fd(s.cgroup_fds[i]);
	vm_argv_free(argv);
	return r;
}

int vm_start(struct vm *vm, const struct vm_start *start, struct err *err)
{
	int qmp[2] = {-1, -1}, agent[2] = {-1, -1}, r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent) < 0) {
		r = err_sys(err, errno, "socketpair");
		close_fd(qmp[0]);
		close_fd(qmp[1]);
		return r;
	}
	vm->agent_fd = agent[0];
	trace_begin(vm->trace, TRACE_SPAWN);
	r = spawn(vm, start, qmp[1], agent[1], err);
	close(qmp[1]);
	close(agent[1]);
	if (r < 0) {
		close(qmp[0]);
		return r;
	}
	trace_end(vm->trace, TRACE_SPAWN);
	trace_begin(vm->trace, TRACE_QMP);
	r = qmp_new(qmp[0], vm_call_deadline(vm), &vm->qmp, err);
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

/* The last `max` bytes of text, from the start of a line where that is possible; what a
 * dying kernel says last is its register dump, so a panic's own line comes first where
 * there is one. */
static const char *tail(const char *text, size_t max)
{
	size_t len = strlen(text);
	const char *panic = strstr(text, "Kernel panic"), *from, *line;

	if (panic)
		return panic;
	from = len > max ? text + len - max : text;
	line = strchr(from, '\n');
	return from != text && line && line[1] ? line + 1 : from;
}

/* Lines side by side: "one | two". */
static void join_lines(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		if (*in == '\r' || (*in == '\n' && (out == text || out[-1] == '|')))
			continue;
		*out++ = *in == '\n' ? '|' : *in;
	}
	while (out > text && strchr("| ", out[-1]))
		out--;
	*out = '\0';
}

static void append_tail(char *buf, size_t size, const char *what, char *text, size_t max)
{
	size_t len = strlen(buf);
	char *from = text + (tail(text, max) - text);

	join_lines(from);
	if (*from)
		snprintf(buf + len, size - len, "; %s ends with \"%s\"", what,
			err_quote(from, (unsigned int)max));
}

void vm_append_stderr(int stderr_fd, char *buf, size_t size)
{
	char text[STDERR_BYTES + 1];
	ssize_t n;

	if (stderr_fd < 0)
		return;
	n = pread(stderr_fd, text, STDERR_BYTES, 0);
	text[MAX(n, (ssize_t)0)] = '\0';
	append_tail(buf, size, "QEMU's standard error", text, 300);
}

void vm_post_mortem(struct vm *vm, char *buf, size_t size)
{
	_cleanup_free_ char *console = NULL;

	*buf = '\0';
	if (vm->qemu.foreign)
		snprintf(buf, size,
			"; its exit status is not known here: it came from templated's cache");
	vm_append_stderr(vm->stderr_fd, buf, size);
	pthread_mutex_lock(&vm->lock);
	if (vm->console)
		console = xstrdup(vm->console);
	pthread_mutex_unlock(&vm->lock);
	if (!console && (!vm->qmp || qmp_ringbuf_read(vm->qmp, VM_CHARDEV_CONSOLE,
					     VM_CONSOLE_BYTES, &console,
					     deadline_after_ms(2000), NULL) < 0))
		return;
	if (*console)
		append_tail(buf, size, "the guest's console", console, 400);
	else
		snprintf(buf + strlen(buf), size - strlen(buf),
			"; the guest's console is empty");
}

int vm_explain(struct vm *vm, struct err *err)
{
	char text[800];
	size_t len;

	if (!err)
		return -EIO;
	vm_post_mortem(vm, text, sizeof(text));
	/* The last words matter most: what came before makes room for them. */
	len = MIN(strlen(err->text), sizeof(err->text) - 1 - strlen(text));
	memcpy(err->text + len, text, strlen(text) + 1);
	return err->code;
}
