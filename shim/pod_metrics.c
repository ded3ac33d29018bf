/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod's VM costs its host: the CPU time and the memory of its QEMU. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "shim/container.h"
#include "shim/proto/cgroup_metrics.pb-c.h"

#define METRICS(name)  Io__Containerd__Cgroups__V1__##name
#define PROC_BYTES_MAX 8192

/* User and system time in clock ticks, memory in pages. */
static int read_usage(pid_t pid, uint64_t *ret_user, uint64_t *ret_system,
	uint64_t *ret_pages, struct err *err)
{
	_cleanup_free_ char *text = NULL, *path = xasprintf("/proc/%d/stat", (int)pid);
	const char *rest;
	size_t len;
	int r = file_read(AT_FDCWD, path, PROC_BYTES_MAX, &text, &len, err);

	if (r < 0)
		return r;
	/* The name is in parentheses and may have more of them: fields count from the
	 * last. */
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64
			     " %" SCNu64 " %*d %*d %*d %*d %*d %*d %*u %*u %" SCNu64,
			     ret_user, ret_system, ret_pages) != 3)
		return err_set(err, -EBADMSG, "%s is not as it should be", path);
	return 0;
}

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
	uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK), user, kernel,
		 pages;
	struct pod_use use;
	int r = pod_use_begin(pod, &use, err);

	if (r < 0)
		return r;
	r = read_usage(vm_pid(use.vm), &user, &kernel, &pages, err);
	pod_use_end(&use);
	if (r == 0)
		pack_usage(user * tick_ns, kernel * tick_ns,
			pages * (uint64_t)sysconf(_SC_PAGESIZE), ret_data, ret_len);
	return r;
}
