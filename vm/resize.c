/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod asks for beyond the template: vCPUs, memory, ports for its devices. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/vm_internal.h"

/* Waits until the guest has `vcpus` online and all its memory. */
static int bring_online(struct vm *vm, unsigned int vcpus, bool cpu_only, struct err *err)
{
	Grpc__OnlineCPUMemRequest request = GRPC__ONLINE_CPUMEM_REQUEST__INIT;
	int r;

	request.wait = true;
	request.nb_cpus = vcpus;
	request.cpu_only = cpu_only;
	r = agent_online_cpu_mem(vm->agent, &request, vm_call_deadline(vm), err);
	return r < 0 ? err_wrap(err, "bring %s online in the guest",
			       cpu_only ? "vCPUs" : "memory")
		     : 0;
}

static int resize_vcpus(struct vm *vm, unsigned int vcpus, struct err *err)
{
	unsigned int max = config_max_vcpus(vm->config);
	struct err why = ERR_INIT;
	int r;

	if (vcpus > max) {
		log_warn("%u vCPUs are wanted, the VM gets the %u it can have "
			 "(key default_maxvcpus of [hypervisor])",
			vcpus, max);
		vcpus = max;
	}
	if (vcpus <= vm->vcpus)
		return 0;
	trace_begin(vm->trace, TRACE_CPU);
	r = plug_vcpus(vm->qmp, vcpus, vm_call_deadline(vm), err);
	if (r == 0)
		r = bring_online(vm, vcpus, true, &why);
	if (r == -EOPNOTSUPP) {
		log_warn("the VM has %u vCPUs: %s", vm->vcpus, why.text);
		return 0;
	}
	if (why.code < 0)
		err_copy(err, &why);
	if (r < 0)
		return r;
	vm->vcpus = vcpus;
	trace_end(vm->trace, TRACE_CPU);
	return 0;
}

static int resize_memory(struct vm *vm, uint64_t bytes, struct err *err)
{
	uint64_t max = config_max_memory_bytes(vm->config), more;
	char id[32];
	int r;

	if (bytes > max) {
		log_warn("%" PRIu64 " MiB of memory are wanted, the VM gets the %" PRIu64
			 " it can have (key default_maxmemory of [hypervisor])",
			bytes / MiB, max / MiB);
		bytes = max;
	}
	if (bytes <= vm->dimm_bytes)
		return 0;
	more = align_up(bytes - vm->dimm_bytes, PLUG_DIMM_ALIGN_BYTES);
	trace_begin(vm->trace, TRACE_MEMORY);
	snprintf(id, sizeof(id), "dimm%u", vm->dimms);
	r = plug_dimm(vm->qmp, id, more, vm_call_deadline(vm), err);
	if (r < 0)
		return r;
	vm->dimms++;
	vm->dimm_bytes += more;
	r = bring_online(vm, vm->vcpus, false, err);
	if (r < 0)
		return r;
	trace_end(vm->trace, TRACE_MEMORY);
	return 0;
}

int vm_resize(struct vm *vm, unsigned int vcpus, uint64_t memory_bytes, struct err *err)
{
	int r;

	pthread_mutex_lock(&vm->lock);
	r = resize_vcpus(vm, vcpus, err);
	if (r == 0)
		r = resize_memory(vm, memory_bytes, err);
	pthread_mutex_unlock(&vm->lock);
	return r < 0 ? err_wrap(err, "resize the VM") : 0;
}

int vm_take_port(struct vm *vm, const char **ret_bus, struct err *err)
{
	static const char *const ports[VM_PORTS] = {
		"rp0", "rp1", "rp2", "rp3", "rp4", "rp5", "rp6", "rp7"};
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (vm->ports_taken < VM_PORTS)
		*ret_bus = ports[vm->ports_taken++];
	else
		r = err_set(err, -ENOSPC, "all %d hot-plug ports of the VM are in use",
			VM_PORTS);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

struct agent *vm_agent(struct vm *vm)
{
	return vm->agent;
}

struct qmp *vm_qmp(struct vm *vm)
{
	return vm->qmp;
}

int vm_pidfd(const struct vm *vm)
{
	return vm->qemu.pidfd;
}

int vm_pid(const struct vm *vm)
{
	return vm->qemu.pid;
}
