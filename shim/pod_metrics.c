/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod's VM costs its host: the CPU time and the memory of its QEMU. */
#include <unistd.h>

#include "base/proc.h"
#include "base/util.h"
#include "shim/container.h"
#include "shim/proto/cgroup_metrics.pb-c.h"

#define METRICS(name) Io__Containerd__Cgroups__V1__##name

static void pack_usage(uint64_t user_ns, uint64_t system_ns, uint64_t bytes,
	void **ret_data, size_t *ret_len)
{
	METRICS(Metrics) top;
	METRICS(CPUStat) cpu;
	METRICS(CPUUsage) usage;
	METRICS(MemoryStat) memory;
	METRICS(MemoryEntry) entry;

	io__containerd__cgroups__v1__metrics__init(&top);
	io__containerd__cgroups__v1__cpustat__init(&cpu);
	io__containerd__cgroups__v1__cpuusage__init(&usage);
	io__containerd__cgroups__v1__memory_stat__init(&memory);
	io__containerd__cgroups__v1__memory_entry__init(&entry);
	usage.user = user_ns;
	usage.kernel = system_ns;
	usage.total = user_ns + system_ns;
	entry.usage = bytes;
	memory.rss = bytes;
	memory.usage = &entry;
	cpu.usage = &usage;
	top.cpu = &cpu;
	top.memory = &memory;
	*ret_len = io__containerd__cgroups__v1__metrics__get_packed_size(&top);
	*ret_data = xmalloc(*ret_len + 1);
	io__containerd__cgroups__v1__metrics__pack(&top, *ret_data);
}

int pod_metrics(struct pod *pod, void **ret_data, size_t *ret_len, struct err *err)
{
	uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	struct proc_stat stat;
	struct pod_use use;
	int r = pod_use_begin(pod, &use, err);

	if (r < 0)
		return r;
	r = proc_stat_of(vm_pid(use.vm), &stat);
	pod_use_end(&use);
	if (r < 0)
		return err_sys(err, r, "cannot look at QEMU");
	pack_usage(stat.user_ticks * tick_ns, stat.system_ticks * tick_ns,
		stat.resident_pages * (uint64_t)sysconf(_SC_PAGESIZE), ret_data, ret_len);
	return 0;
}
