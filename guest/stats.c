/* SPDX-License-Identifier: Apache-2.0 */
/* StatsContainer: what the kernel counts for a container's cgroup and the guest's
 * interfaces. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent-client/proto/agent.pb-c.h"
#include "base/io.h"
#include "guest/cgroup.h"
#include "guest/message.h"
#include "guest/service.h"

#define NET_DIR   "/sys/class/net"
#define LINES_MAX 256
#define NICS_MAX  64

/* 0 where the kernel doesn't have it; "max" stays UINT64_MAX. */
static uint64_t read_number(int dirfd, const char *file, const char *key)
{
	uint64_t value = 0;

	return cgroup_read_number(dirfd, file, key, &value) < 0 ? 0 : value;
}

static uint64_t read_limit(int dirfd, const char *file)
{
	return read_number(dirfd, file, NULL);
}

static Grpc__CpuStats *cpu_stats(int dirfd)
{
	Grpc__CpuStats *cpu = message_new(&grpc__cpu_stats__descriptor);

	/* Kata counts nanoseconds, the kernel microseconds. */
	cpu->cpu_usage = message_new(&grpc__cpu_usage__descriptor);
	cpu->cpu_usage->total_usage = read_number(dirfd, "cpu.stat", "usage_usec") * 1000;
	cpu->cpu_usage->usage_in_usermode =
		read_number(dirfd, "cpu.stat", "user_usec") * 1000;
	cpu->cpu_usage->usage_in_kernelmode =
		read_number(dirfd, "cpu.stat", "system_usec") * 1000;
	cpu->throttling_data = message_new(&grpc__throttling_data__descriptor);
	cpu->throttling_data->periods = read_number(dirfd, "cpu.stat", "nr_periods");
	cpu->throttling_data->throttled_periods =
		read_number(dirfd, "cpu.stat", "nr_throttled");
	cpu->throttling_data->throttled_time =
		read_number(dirfd, "cpu.stat", "throttled_usec") * 1000;
	return cpu;
}

/* memory.stat as it is: the names are those of version 2. */
static void add_memory_lines(int dirfd, Grpc__MemoryStats *memory)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	size_t len;

	if (file_read(dirfd, "memory.stat", 65536, &text, &len, NULL) < 0)
		return;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		Grpc__MemoryStats__StatsEntry *entry;
		char *space = strchr(l, ' ');

		if (!space || memory->n_stats >= LINES_MAX)
			continue;
		entry = message_new(&grpc__memory_stats__stats_entry__descriptor);
		entry->key = xstrndup(l, (size_t)(space - l));
		entry->value = strtoull(space + 1, NULL, 10);
		MESSAGE_APPEND(memory->n_stats, memory->stats, entry);
	}
}

static Grpc__MemoryStats *memory_stats(int dirfd)
{
	Grpc__MemoryStats *memory = message_new(&grpc__memory_stats__descriptor);

	memory->cache = read_number(dirfd, "memory.stat", "file");
	memory->use_hierarchy = true;
	memory->usage = message_new(&grpc__memory_data__descriptor);
	memory->usage->usage = read_number(dirfd, "memory.current", NULL);
	memory->usage->max_usage = read_number(dirfd, "memory.peak", NULL);
	memory->usage->failcnt = read_number(dirfd, "memory.events", "max");
	memory->usage->limit = read_limit(dirfd, "memory.max");
	memory->swap_usage = message_new(&grpc__memory_data__descriptor);
	memory->swap_usage->usage = read_number(dirfd, "memory.swap.current", NULL);
	memory->swap_usage->limit = read_limit(dirfd, "memory.swap.max");
	memory->kernel_usage = message_new(&grpc__memory_data__descriptor);
	memory->kernel_usage->usage = read_number(dirfd, "memory.stat", "kernel");
	add_memory_lines(dirfd, memory);
	return memory;
}

static Grpc__PidsStats *pids_stats(int dirfd)
{
	Grpc__PidsStats *pids = message_new(&grpc__pids_stats__descriptor);

	pids->current = read_number(dirfd, "pids.current", NULL);
	pids->limit = read_limit(dirfd, "pids.max");
	return pids;
}

/* ---- io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" ---- */

static Grpc__BlkioStatsEntry *io_entry(
	uint64_t major, uint64_t minor, const char *op, uint64_t value)
{
	Grpc__BlkioStatsEntry *e = message_new(&grpc__blkio_stats_entry__descriptor);

	e->major = major;
	e->minor = minor;
	e->op = xstrdup(op);
	e->value = value;
	return e;
}

static void add_io_line(Grpc__BlkioStats *io, const char *line)
{
	uint64_t major, minor, rbytes, wbytes, rios, wios;

	if (sscanf(line,
		    "%" SCNu64 ":%" SCNu64 " rbytes=%" SCNu64 " wbytes=%" SCNu64
		    " rios=%" SCNu64 " wios=%" SCNu64,
		    &major, &minor, &rbytes, &wbytes, &rios, &wios) != 6)
		return;
	MESSAGE_APPEND(io->n_io_service_bytes_recursive, io->io_service_bytes_recursive,
		io_entry(major, minor, "Read", rbytes));
	MESSAGE_APPEND(io->n_io_service_bytes_recursive, io->io_service_bytes_recursive,
		io_entry(major, minor, "Write", wbytes));
	MESSAGE_APPEND(io->n_io_serviced_recursive, io->io_serviced_recursive,
		io_entry(major, minor, "Read", rios));
	MESSAGE_APPEND(io->n_io_serviced_recursive, io->io_serviced_recursive,
		io_entry(major, minor, "Write", wios));
}

static Grpc__BlkioStats *io_stats(int dirfd)
{
	Grpc__BlkioStats *io = message_new(&grpc__blkio_stats__descriptor);
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	size_t len, n = 0;

	if (file_read(dirfd, "io.stat", 65536, &text, &len, NULL) < 0)
		return io;
	for (char *l = strtok_r(text, "\n", &save); l && n < LINES_MAX;
		l = strtok_r(NULL, "\n", &save), n++)
		add_io_line(io, l);
	return io;
}

/* ---- interfaces ---- */

static uint64_t nic_number(int netfd, const char *name, const char *counter)
{
	char path[NAME_MAX + 64];

	snprintf(path, sizeof(path), "%s/statistics/%s", name, counter);
	return read_number(netfd, path, NULL);
}

static Grpc__NetworkStats *nic_stats(int netfd, const char *name)
{
	Grpc__NetworkStats *n = message_new(&grpc__network_stats__descriptor);

	n->name = xstrdup(name);
	n->rx_bytes = nic_number(netfd, name, "rx_bytes");
	n->rx_packets = nic_number(netfd, name, "rx_packets");
	n->rx_errors = nic_number(netfd, name, "rx_errors");
	n->rx_dropped = nic_number(netfd, name, "rx_dropped");
	n->tx_bytes = nic_number(netfd, name, "tx_bytes");
	n->tx_packets = nic_number(netfd, name, "tx_packets");
	n->tx_errors = nic_number(netfd, name, "tx_errors");
	n->tx_dropped = nic_number(netfd, name, "tx_dropped");
	return n;
}

/* The containers share the guest's network, so its counts are each one's. */
static void add_network(Grpc__StatsContainerResponse *out)
{
	_cleanup_closedir_ DIR *dir = opendir(NET_DIR);
	struct dirent *e;

	while (dir && (e = readdir(dir)) && out->n_network_stats < NICS_MAX)
		/* An interface is a link to its device; bonding_masters is a file. */
		if (e->d_type == DT_LNK && strcmp(e->d_name, "lo") != 0)
			MESSAGE_APPEND(out->n_network_stats, out->network_stats,
				nic_stats(dirfd(dir), e->d_name));
}

SERVICE_HANDLER(handle_stats_container)
{
	const Grpc__StatsContainerRequest *req = (const Grpc__StatsContainerRequest *)in;
	_cleanup_(container) struct container *c = NULL;
	_cleanup_close_ int group = -1;
	Grpc__StatsContainerResponse *out;
	int r;

	(void)request;
	r = sandbox_find(user, req->container_id, &c, err);
	if (r == 0)
		r = cgroup_open(c->id, &group, err);
	if (r < 0)
		return r;
	out = message_new(&grpc__stats_container_response__descriptor);
	out->cgroup_stats = message_new(&grpc__cgroup_stats__descriptor);
	out->cgroup_stats->cpu_stats = cpu_stats(group);
	out->cgroup_stats->memory_stats = memory_stats(group);
	out->cgroup_stats->pids_stats = pids_stats(group);
	out->cgroup_stats->blkio_stats = io_stats(group);
	add_network(out);
	*ret_out = &out->base;
	return 0;
}
