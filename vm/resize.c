/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod asks for beyond the template: vCPUs, memory, NICs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "hotplug/plug.h"
#include "vm/memory.h"
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
	if (r < 0)
		return r;
	r = bring_online(vm, vcpus, true, &why);
	if (r == -EOPNOTSUPP) {
		log_warn("the VM has %u vCPUs: %s", vm->vcpus, why.text);
		return 0;
	}
	if (r < 0)
		return err_copy(err, &why);
	vm->vcpus = vcpus;
	trace_end(vm->trace, TRACE_CPU);
	return 0;
}

/* How much of `bytes` the VM can have beyond what it was booted with; whole blocks. */
static uint64_t limit_memory(const struct vm *vm, uint64_t bytes)
{
	uint64_t block = memory_block_bytes(vm->config->default_memory * MiB);
	uint64_t max = config_max_memory_bytes(vm->config), room = memory_host_room();
	const char *why = "default_maxmemory of [hypervisor], or the host's memory";

	if (vm->dimm_bytes < max && room < max - vm->dimm_bytes) {
		max = vm->dimm_bytes + room;
		why = "vm.overcommit_memory=2, and what the host has promised";
	}
	max = align_down(max, block);
	/* Before it is rounded up, which could overflow. */
	if (bytes <= max && align_up(bytes, block) <= max)
		return align_up(bytes, block);
	log_warn("%" PRIu64
		 " MiB of memory are wanted beyond what the VM was booted with, "
		 "it gets the %" PRIu64 " it can have (%s)",
		bytes / MiB, max / MiB, why);
	return max;
}

/* Plugs one DIMM and waits until it is the guest's. */
static int add_dimm(struct vm *vm, uint64_t bytes, struct err *err)
{
	int64_t start = now_ms();
	char id[32];
	int r;

	/* A number that was used counts, whatever became of it:
	 * QEMU may have it still. */
	snprintf(id, sizeof(id), "dimm%u", vm->dimms++);
	r = plug_dimm(vm->qmp, id, bytes, vm_call_deadline(vm), err);
	if (r < 0)
		return r;
	vm->dimm_bytes += bytes;
	r = bring_online(vm, vm->vcpus, false, err);
	if (r == 0)
		log_debug("%" PRIu64 " MiB of memory plugged and online after %" PRId64
			  " ms",
			bytes / MiB, now_ms() - start);
	return r;
}

static int resize_memory(struct vm *vm, uint64_t bytes, struct err *err)
{
	struct memory_growth growth = {.boot_bytes = vm->config->default_memory * MiB};
	uint64_t before = vm->dimm_bytes;
	int r;

	bytes = limit_memory(vm, bytes);
	if (bytes <= before)
		return 0;
	r = vm_limit_memory(vm, bytes, err);
	if (r < 0)
		return r;
	trace_begin(vm->trace, TRACE_MEMORY);
	while (vm->dimm_bytes < bytes) {
		growth.fresh_bytes = vm->dimm_bytes - before;
		growth.wanted_bytes = bytes - vm->dimm_bytes;
		r = add_dimm(vm, memory_next_step(&growth), err);
		if (r < 0)
			return r;
	}
	trace_end(vm->trace, TRACE_MEMORY);
	return 0;
}

int vm_resize(struct vm *vm, unsigned int vcpus, uint64_t memory_bytes, struct err *err)
{
	int r = resize_vcpus(vm, vcpus, err);

	if (r == 0)
		r = resize_memory(vm, memory_bytes, err);
	return r < 0 ? err_wrap(err, "resize the VM") : 0;
}
