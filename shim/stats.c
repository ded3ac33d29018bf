/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics: from the agent's message to the one that containerd's clients read. */
#include <string.h>

#include "base/util.h"
#include "shim/proto/cgroup_metrics.pb-c.h"
#include "shim/container.h"

/* protoc-c's names of io.containerd.cgroups.v1. */
#define METRICS(name) Io__Containerd__Cgroups__V1__##name

/* Messages of one answer; strings and lists are borrowed from the agent's. */
struct metrics {
	METRICS(Metrics) top;
	METRICS(PidsStat) pids;
	METRICS(CPUStat) cpu;
	METRICS(CPUUsage) cpu_usage;
	METRICS(Throttle) throttling;
	METRICS(MemoryStat) memory;
	METRICS(MemoryEntry) usage, swap, kernel;
	METRICS(NetworkStat) * network;
	METRICS(NetworkStat) * *network_list;
};

static void fill_cpu(struct metrics *m, const Grpc__CpuStats *cpu)
{
	io__containerd__cgroups__v1__cpustat__init(&m->cpu);
	io__containerd__cgroups__v1__cpuusage__init(&m->cpu_usage);
	io__containerd__cgroups__v1__throttle__init(&m->throttling);
	if (cpu->cpu_usage) {
		m->cpu_usage.total = cpu->cpu_usage->total_usage;
		m->cpu_usage.kernel = cpu->cpu_usage->usage_in_kernelmode;
		m->cpu_usage.user = cpu->cpu_usage->usage_in_usermode;
		m->cpu_usage.per_cpu = cpu->cpu_usage->percpu_usage;
		m->cpu_usage.n_per_cpu = cpu->cpu_usage->n_percpu_usage;
	}
	if (cpu->throttling_data) {
		m->throttling.periods = cpu->throttling_data->periods;
		m->throttling.throttled_periods = cpu->throttling_data->throttled_periods;
		m->throttling.throttled_time = cpu->throttling_data->throttled_time;
	}
	m->cpu.usage = &m->cpu_usage;
	m->cpu.throttling = &m->throttling;
	m->top.cpu = &m->cpu;
}

static void fill_entry(METRICS(MemoryEntry) * entry, const Grpc__MemoryData *data,
	METRICS(MemoryEntry) * *ret)
{
	io__containerd__cgroups__v1__memory_entry__init(entry);
	if (!data)
		return;
	entry->limit = data->limit;
	entry->usage = data->usage;
	entry->max = data->max_usage;
	entry->failcnt = data->failcnt;
	*ret = entry;
}

/* The names of memory.stat, of both versions of cgroups. */
static const struct {
	const char *name;
	size_t offset;
} memory_keys[] = {
	{"rss", offsetof(METRICS(MemoryStat), rss)},
	{"anon", offsetof(METRICS(MemoryStat), rss)},
	{"cache", offsetof(METRICS(MemoryStat), cache)},
	{"file", offsetof(METRICS(MemoryStat), cache)},
	{"rss_huge", offsetof(METRICS(MemoryStat), rss_huge)},
	{"anon_thp", offsetof(METRICS(MemoryStat), rss_huge)},
	{"mapped_file", offsetof(METRICS(MemoryStat), mapped_file)},
	{"file_mapped", offsetof(METRICS(MemoryStat), mapped_file)},
	{"dirty", offsetof(METRICS(MemoryStat), dirty)},
	{"file_dirty", offsetof(METRICS(MemoryStat), dirty)},
	{"writeback", offsetof(METRICS(MemoryStat), writeback)},
	{"file_writeback", offsetof(METRICS(MemoryStat), writeback)},
	{"pgfault", offsetof(METRICS(MemoryStat), pg_fault)},
	{"pgmajfault", offsetof(METRICS(MemoryStat), pg_maj_fault)},
	{"inactive_anon", offsetof(METRICS(MemoryStat), inactive_anon)},
	{"active_anon", offsetof(METRICS(MemoryStat), active_anon)},
	{"inactive_file", offsetof(METRICS(MemoryStat), inactive_file)},
	{"total_inactive_file", offsetof(METRICS(MemoryStat), total_inactive_file)},
	{"active_file", offsetof(METRICS(MemoryStat), active_file)},
	{"unevictable", offsetof(METRICS(MemoryStat), unevictable)},
};

static void fill_memory(struct metrics *m, const Grpc__MemoryStats *memory)
{
	io__containerd__cgroups__v1__memory_stat__init(&m->memory);
	m->memory.cache = memory->cache;
	fill_entry(&m->usage, memory->usage, &m->memory.usage);
	fill_entry(&m->swap, memory->swap_usage, &m->memory.swap);
	fill_entry(&m->kernel, memory->kernel_usage, &m->memory.kernel);
	for (size_t i = 0; i < memory->n_stats; i++)
		for (size_t k = 0; k < ARRAY_SIZE(memory_keys); k++)
			if (strcmp(memory->stats[i]->key, memory_keys[k].name) == 0)
				memcpy((char *)&m->memory + memory_keys[k].offset,
					&memory->stats[i]->value, sizeof(uint64_t));
	/* Clients subtract it to get the working set. */
	if (m->memory.total_inactive_file == 0)
		m->memory.total_inactive_file = m->memory.inactive_file;
	m->top.memory = &m->memory;
}

static void fill_network(struct metrics *m, Grpc__NetworkStats *const *stats, size_t n)
{
	m->network = xreallocarray(NULL, n + 1, sizeof(*m->network));
	m->network_list = xreallocarray(NULL, n + 1, sizeof(*m->network_list));
	for (size_t i = 0; i < n; i++) {
		METRICS(NetworkStat) *to = &m->network[i];

		io__containerd__cgroups__v1__network_stat__init(to);
		to->name = stats[i]->name;
		to->rx_bytes = stats[i]->rx_bytes;
		to->rx_packets = stats[i]->rx_packets;
		to->rx_errors = stats[i]->rx_errors;
		to->rx_dropped = stats[i]->rx_dropped;
		to->tx_bytes = stats[i]->tx_bytes;
		to->tx_packets = stats[i]->tx_packets;
		to->tx_errors = stats[i]->tx_errors;
		to->tx_dropped = stats[i]->tx_dropped;
		m->network_list[i] = to;
	}
	m->top.network = m->network_list;
	m->top.n_network = n;
}

static void pack_metrics(
	const Grpc__StatsContainerResponse *response, void **ret_data, size_t *ret_len)
{
	const Grpc__CgroupStats *cgroup = response->cgroup_stats;
	struct metrics m = {0};

	io__containerd__cgroups__v1__metrics__init(&m.top);
	if (cgroup && cgroup->cpu_stats)
		fill_cpu(&m, cgroup->cpu_stats);
	if (cgroup && cgroup->memory_stats)
		fill_memory(&m, cgroup->memory_stats);
	if (cgroup && cgroup->pids_stats) {
		io__containerd__cgroups__v1__pids_stat__init(&m.pids);
		m.pids.current = cgroup->pids_stats->current;
		m.pids.limit = cgroup->pids_stats->limit;
		m.top.pids = &m.pids;
	}
	fill_network(&m, response->network_stats, response->n_network_stats);
	*ret_len = io__containerd__cgroups__v1__metrics__get_packed_size(&m.top);
	*ret_data = xmalloc(*ret_len + 1);
	io__containerd__cgroups__v1__metrics__pack(&m.top, *ret_data);
	free(m.network);
	free(m.network_list);
}

int container_stats(
	struct process *init, void **ret_data, size_t *ret_len, struct err *err)
{
	Grpc__StatsContainerRequest request = GRPC__STATS_CONTAINER_REQUEST__INIT;
	Grpc__StatsContainerResponse *response = NULL;
	struct process_call call;
	int r;

	/* What may be updated has statistics. */
	r = process_begin(init, LIFECYCLE_UPDATE, &call, err);
	if (r < 0)
		return r;
	request.container_id = init->container->id;
	r = agent_stats_container(
		call.use.agent, &request, &response, call.use.deadline, err);
	process_end(&call, r);
	if (r < 0)
		return r;
	pack_metrics(response, ret_data, ret_len);
	grpc__stats_container_response__free_unpacked(response, NULL);
	return 0;
}
