/* SPDX-License-Identifier: Apache-2.0 */
/* guest/cgroup and guest/stats on files that read as the kernel's: what is written for a
 * limit, what is told of what is counted. */
#include "tests/unit/guest_agent.h"

#include "guest/cgroup.h"

#define GROUP "/sys/fs/cgroup/stencil/c1/"

static struct guest guest;
static struct container *container;

static int begin(void **state)
{
	(void)state;
	assert_int_equal(mkdir_parents(GROUP, 0755, NULL), 0);
	guest_start(&guest);
	container = guest_add_container(&guest, "c1");
	return 0;
}

static int end(void **state)
{
	(void)state;
	sandbox_drop(&guest.sandbox, container);
	guest_stop(&guest);
	assert_int_equal(remove_tree(AT_FDCWD, "/sys/fs/cgroup/stencil", NULL), 0);
	return 0;
}

/* ---- numbers ---- */

static void test_numbers(void **state)
{
	static const struct {
		const char *text, *key;
		int r;
		uint64_t value;
	} cases[] = {
		{"0\n", NULL, 0, 0},
		{"4096\n", NULL, 0, 4096},
		{"4096", NULL, 0, 4096},
		{"max\n", NULL, 0, UINT64_MAX},
		{"max 100000\n", NULL, 0, UINT64_MAX},
		{"18446744073709551615\n", NULL, 0, UINT64_MAX},
		{"18446744073709551616\n", NULL, -EBADMSG, 0},
		{"", NULL, -EBADMSG, 0},
		{"\n5\n", NULL, -EBADMSG, 0},
		{"-1\n", NULL, -EBADMSG, 0},
		{"+1\n", NULL, -EBADMSG, 0},
		{" 1\n", NULL, -EBADMSG, 0},
		{"1x\n", NULL, -EBADMSG, 0},
		{"maximum\n", NULL, -EBADMSG, 0},
		{"low 1\nhigh 2\noom 3\noom_kill 4\n", "oom", 0, 3},
		{"low 1\nhigh 2\noom 3\noom_kill 4\n", "oom_kill", 0, 4},
		{"low 1\nhigh 2\n", "oom", -ENOENT, 0},
		{"low 1\nhigh 2\n", "hig", -ENOENT, 0},
		{"low 1\nhigh\n", "high", -ENOENT, 0},
		{"low 1\nhigh \n", "high", -EBADMSG, 0},
		{"low 1\nhigh max", "high", 0, UINT64_MAX},
		{"xlow 1\n", "low", -ENOENT, 0},
		{"", "low", -ENOENT, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 77;
		int r = cgroup_parse_number(cases[i].text, cases[i].key, &value);

		if (r != cases[i].r || value != (r < 0 ? 77 : cases[i].value))
			fail_msg("\"%s\", %s: %d, %llu", cases[i].text,
				cases[i].key ? cases[i].key : "-", r,
				(unsigned long long)value);
	}
}

static void test_weights(void **state)
{
	(void)state;
	assert_int_equal(cgroup_weight_of_shares(0), 1);
	assert_int_equal(cgroup_weight_of_shares(2), 1);
	assert_int_equal(cgroup_weight_of_shares(1024), 39);
	assert_int_equal(cgroup_weight_of_shares(262144), 10000);
	assert_int_equal(cgroup_weight_of_shares(UINT64_MAX), 10000);
}

/* ---- limits ---- */

static int update(Grpc__LinuxResources *resources, struct err *err)
{
	Grpc__UpdateContainerRequest req = GRPC__UPDATE_CONTAINER_REQUEST__INIT;

	req.container_id = "c1";
	req.resources = resources;
	return agent_update_container(guest.agent, &req, soon(), err);
}

static void empty_limits(void)
{
	static const char *const names[] = {
		"memory.max", "memory.low", "cpu.weight", "cpu.max", "pids.max"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), GROUP "%s", names[i]);
		world_file(path, "");
	}
}

static void test_limits(void **state)
{
	Grpc__LinuxResources resources = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxPids pids = GRPC__LINUX_PIDS__INIT;
	struct err err = ERR_INIT;

	(void)state;
	empty_limits();
	assert_int_equal(update(NULL, &err), 0);
	assert_int_equal(update(&resources, &err), 0);
	assert_file(GROUP "memory.max", "");
	resources.memory = &memory;
	resources.cpu = &cpu;
	resources.pids = &pids;
	assert_int_equal(update(&resources, &err), 0);
	assert_file(GROUP "memory.max", "");
	assert_file(GROUP "cpu.max", "");
	memory.limit = INT64_MAX;
	memory.reservation = -1;
	cpu.shares = 1024;
	cpu.quota = 50000;
	pids.limit = 100;
	assert_int_equal(update(&resources, &err), 0);
	assert_file(GROUP "memory.max", "9223372036854775807");
	assert_file(GROUP "memory.low", "max");
	assert_file(GROUP "cpu.weight", "39");
	assert_file(GROUP "cpu.max", "50000 100000");
	assert_file(GROUP "pids.max", "100");
	empty_limits();
	memory.limit = -1;
	cpu.quota = -1;
	cpu.period = 20000;
	assert_int_equal(update(&resources, &err), 0);
	assert_file(GROUP "memory.max", "max");
	assert_file(GROUP "cpu.max", "max 20000");
}

static void test_no_limit_file(void **state)
{
	Grpc__LinuxResources resources = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	struct err err = ERR_INIT;

	(void)state;
	resources.memory = &memory;
	memory.limit = 1 << 20;
	assert_error(update(&resources, &err), -ENOENT,
		"UpdateContainer: cannot write 1048576 to memory.max: No such file or "
		"directory");
	assert_int_equal(remove_tree(AT_FDCWD, "/sys/fs/cgroup/stencil", NULL), 0);
	assert_error(update(&resources, &err), -ENOENT,
		"UpdateContainer: open cgroup /sys/fs/cgroup/stencil/c1: No such file or "
		"directory");
}

/* ---- stats ---- */

static Grpc__StatsContainerResponse *stats(void)
{
	Grpc__StatsContainerRequest req = GRPC__STATS_CONTAINER_REQUEST__INIT;
	Grpc__StatsContainerResponse *out = NULL;
	struct err err = ERR_INIT;

	req.container_id = "c1";
	if (agent_stats_container(guest.agent, &req, &out, soon(), &err) < 0)
		fail_msg("%s", err.text);
	return out;
}

static void test_stats(void **state)
{
	Grpc__StatsContainerResponse *out;
	const Grpc__CgroupStats *c;
	const Grpc__NetworkStats *n;

	(void)state;
	world_file(GROUP "cpu.stat",
		"usage_usec 5000000000\nuser_usec 3\nsystem_usec 2\nnr_periods 7\n"
		"nr_throttled 6\nthrottled_usec 5\n");
	world_file(GROUP "memory.current", "8192\n");
	world_file(GROUP "memory.peak", "12288\n");
	world_file(GROUP "memory.max", "max\n");
	world_file(GROUP "memory.swap.current", "0\n");
	world_file(GROUP "memory.swap.max", "4096\n");
	world_file(GROUP "memory.events", "low 0\nmax 9\noom 0\n");
	world_file(GROUP "memory.stat", "anon 1\nfile 4096\nkernel 512\nnonsense\n");
	world_file(GROUP "pids.current", "3\n");
	world_file(GROUP "pids.max", "32\n");
	world_file(GROUP "io.stat",
		"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"
		"253:1 \nnonsense\n");
	world_file("/sys/devices/net/eth0/statistics/rx_bytes", "100\n");
	world_file("/sys/devices/net/eth0/statistics/tx_dropped", "5\n");
	out = stats();
	c = out->cgroup_stats;
	assert_int_equal(c->cpu_stats->cpu_usage->total_usage, 5000000000000);
	assert_int_equal(c->cpu_stats->cpu_usage->usage_in_usermode, 3000);
	assert_int_equal(c->cpu_stats->cpu_usage->usage_in_kernelmode, 2000);
	assert_int_equal(c->cpu_stats->throttling_data->periods, 7);
	assert_int_equal(c->cpu_stats->throttling_data->throttled_periods, 6);
	assert_int_equal(c->cpu_stats->throttling_data->throttled_time, 5000);
	assert_int_equal(c->memory_stats->cache, 4096);
	assert_int_equal(c->memory_stats->usage->usage, 8192);
	assert_int_equal(c->memory_stats->usage->max_usage, 12288);
	assert_int_equal(c->memory_stats->usage->failcnt, 9);
	assert_true(c->memory_stats->usage->limit == UINT64_MAX);
	assert_int_equal(c->memory_stats->swap_usage->limit, 4096);
	assert_int_equal(c->memory_stats->kernel_usage->usage, 512);
	assert_int_equal(c->memory_stats->n_stats, 3);
	assert_string_equal(c->memory_stats->stats[0]->key, "anon");
	assert_int_equal(c->memory_stats->stats[0]->value, 1);
	assert_int_equal(c->pids_stats->current, 3);
	assert_int_equal(c->pids_stats->limit, 32);
	assert_int_equal(c->blkio_stats->n_io_service_bytes_recursive, 2);
	assert_int_equal(c->blkio_stats->io_service_bytes_recursive[1]->major, 8);
	assert_string_equal(c->blkio_stats->io_service_bytes_recursive[1]->op, "Write");
	assert_int_equal(c->blkio_stats->io_service_bytes_recursive[1]->value, 2);
	assert_int_equal(c->blkio_stats->io_serviced_recursive[0]->value, 3);
	/* Neither lo nor what is no interface. */
	assert_int_equal(out->n_network_stats, 1);
	n = out->network_stats[0];
	assert_string_equal(n->name, "eth0");
	assert_int_equal(n->rx_bytes, 100);
	assert_int_equal(n->tx_dropped, 5);
	assert_int_equal(n->tx_bytes, 0);
	grpc__stats_container_response__free_unpacked(out, NULL);
}

/* What the kernel hasn't counts as 0. */
static void test_stats_of_nothing(void **state)
{
	Grpc__StatsContainerRequest req = GRPC__STATS_CONTAINER_REQUEST__INIT;
	Grpc__StatsContainerResponse *out = stats();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(out->cgroup_stats->cpu_stats->cpu_usage->total_usage, 0);
	assert_int_equal(out->cgroup_stats->memory_stats->usage->limit, 0);
	assert_int_equal(out->cgroup_stats->memory_stats->n_stats, 0);
	assert_int_equal(out->cgroup_stats->blkio_stats->n_io_serviced_recursive, 0);
	grpc__stats_container_response__free_unpacked(out, NULL);
	out = NULL;
	req.container_id = "other";
	assert_error(agent_stats_container(guest.agent, &req, &out, soon(), &err),
		-ENOENT, "StatsContainer: there is no container other");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_weights),
		TEST(test_limits),
		TEST(test_no_limit_file),
		TEST(test_stats),
		TEST(test_stats_of_nothing),
	};

	world_enter(0);
	world_tmpfs("/sys");
	if (mkdir_parents("/sys/class/net", 0755, NULL) < 0 ||
		symlink("../../devices/net/eth0", "/sys/class/net/eth0") < 0 ||
		symlink("../../devices/net/lo", "/sys/class/net/lo") < 0)
		world_skip("no /sys can be made");
	world_file("/sys/class/net/bonding_masters", "\n");
	return cmocka_run_group_tests_name("guest/cgroup", tests, NULL, NULL);
}
