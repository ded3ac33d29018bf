/* SPDX-License-Identifier: Apache-2.0 */
/* guest/sandbox, guest/identity, guest/pidns, guest/clock, guest/health: ids and states,
 * and a guest that becomes somebody. */
#include "tests/unit/guest_agent.h"
#include "tests/unit/guest_reaper.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "guest/identity.h"
#include "guest/init.h"
#include "guest/pause.h"
#include "guest/pidns.h"

static struct guest guest;

static int begin(void **state)
{
	(void)state;
	guest_start(&guest);
	return 0;
}

static int destroy_sandbox(struct err *err)
{
	Grpc__DestroySandboxRequest req = GRPC__DESTROY_SANDBOX_REQUEST__INIT;

	return agent_destroy_sandbox(guest.agent, &req, soon(), err);
}

static int end(void **state)
{
	(void)state;
	while (guest.sandbox.containers)
		sandbox_drop(&guest.sandbox, guest.sandbox.containers);
	guest_stop(&guest);
	return 0;
}

/* ---- ids and states ---- */

static void test_ids(void **state)
{
	static const char *const good[] = {"a", "0", "a.b-c_d", "A0"};
	static const char *const bad[] = {
		"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "ä", "../a"};
	char longest[GUEST_ID_MAX + 2];
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(id_check("id", good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_error_names(id_check("id", bad[i], &err), -EINVAL,
			"is not valid: 1 to 128 of A-Z a-z 0-9 _ . -, a letter or digit "
			"first");
	memset(longest, 'a', sizeof(longest));
	longest[GUEST_ID_MAX + 1] = '\0';
	assert_error_names(id_check("id", longest, &err), -EINVAL, "is not valid");
	longest[GUEST_ID_MAX] = '\0';
	assert_int_equal(id_check("id", longest, &err), 0);
}

/* Each request in each state: the state after it, or -1 where it is refused. */
static void test_states(void **state)
{
	static const int after[][6] = {
		/*                       start exec pause resume update remove */
		[CONTAINER_CREATING] = {-1, -1, -1, -1, -1, -1},
		[CONTAINER_CREATED] = {CONTAINER_RUNNING, -1, -1, -1, CONTAINER_CREATED,
			CONTAINER_REMOVING},
		[CONTAINER_RUNNING] = {-1, CONTAINER_RUNNING, CONTAINER_PAUSED, -1,
			CONTAINER_RUNNING, CONTAINER_REMOVING},
		[CONTAINER_PAUSED] = {-1, -1, -1, CONTAINER_RUNNING, CONTAINER_PAUSED,
			CONTAINER_REMOVING},
		[CONTAINER_REMOVING] = {-1, -1, -1, -1, -1, -1},
	};
	struct container *c = guest_add_container(&guest, "c1");
	struct err err = ERR_INIT;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(after) * 6; i++) {
		enum container_state from = i / 6, before = 99;
		int want = after[from][i % 6], r;

		container_set_state(&guest.sandbox, c, from);
		r = container_enter(&guest.sandbox, c, i % 6, &before, &err);
		if (want < 0) {
			assert_error_names(r, -EBUSY, "container c1 is ");
			assert_int_equal(c->state, from);
			assert_int_equal(before, 99);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(c->state, want);
		assert_int_equal(before, from);
		container_leave(&guest.sandbox, c);
	}
	assert_int_equal(c->busy, 0);
}

static void test_containers(void **state)
{
	struct container *c = NULL, *again = NULL;
	struct err err = ERR_INIT;
	char id[16];

	(void)state;
	assert_error(sandbox_add(&guest.sandbox, "c1", &c, &err), -ENOTCONN,
		"there is no sandbox: CreateSandbox comes first");
	guest.sandbox.running = true;
	assert_int_equal(sandbox_add(&guest.sandbox, "c1", &c, &err), 0);
	assert_error(sandbox_add(&guest.sandbox, "c1", &again, &err), -EEXIST,
		"container c1 exists");
	assert_error_names(sandbox_add(&guest.sandbox, "../c1", &again, &err), -EINVAL,
		"container id");
	/* Found by others as long as they hold it. */
	assert_int_equal(sandbox_find(&guest.sandbox, "c1", &again, &err), 0);
	sandbox_drop(&guest.sandbox, c);
	sandbox_drop(&guest.sandbox, c);
	assert_ptr_equal(c, again);
	assert_string_equal(again->id, "c1");
	container_put(c);
	container_put(again);
	assert_error(sandbox_find(&guest.sandbox, "c1", &c, &err), -ENOENT,
		"there is no container c1");
	for (int i = 0; i < CONTAINERS_MAX; i++) {
		snprintf(id, sizeof(id), "c%d", i);
		assert_int_equal(sandbox_add(&guest.sandbox, id, &c, &err), 0);
		container_put(c);
	}
	assert_error(sandbox_add(&guest.sandbox, "more", &c, &err), -ENOSPC,
		"there are 256 containers, no more fit");
}

/* Removing waits for what is under way, until its deadline. */
static void test_busy(void **state)
{
	struct container *c = guest_add_container(&guest, "c1");
	enum container_state before;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(
		container_enter(&guest.sandbox, c, CONTAINER_DO_EXEC, &before, &err), 0);
	assert_int_equal(
		container_enter(&guest.sandbox, c, CONTAINER_DO_REMOVE, &before, &err),
		0);
	assert_int_equal(container_wait_idle(&guest.sandbox, c, now_ms()), -ETIMEDOUT);
	container_leave(&guest.sandbox, c);
	assert_int_equal(container_wait_idle(&guest.sandbox, c, now_ms()), 0);
	container_leave(&guest.sandbox, c);
}

/* ---- CreateSandbox ---- */

static int create_sandbox(const Grpc__CreateSandboxRequest *req, struct err *err)
{
	return agent_create_sandbox(guest.agent, req, soon(), err);
}

/* 32 hex digits of a random UUID; the caller's. */
static char *read_machine_id(void)
{
	char *text = NULL;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, MACHINE_ID_FILE, 100, &text, &len, NULL), 0);
	assert_int_equal(len, 33);
	assert_int_equal(strspn(text, "0123456789abcdef"), 32);
	assert_int_equal(text[12], '4');
	assert_non_null(strchr("89ab", text[16]));
	assert_int_equal(text[32], '\n');
	return text;
}

static void test_identity(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	char *dns[] = {"nameserver 192.0.2.1", "search a b"};
	_cleanup_free_ char *first = NULL, *second = NULL;
	struct err err = ERR_INIT;
	char name[65];

	(void)state;
	req.hostname = "pod-1";
	req.sandbox_id = "s1";
	req.dns = dns;
	req.n_dns = 2;
	assert_int_equal(create_sandbox(&req, &err), 0);
	assert_int_equal(gethostname(name, sizeof(name)), 0);
	assert_string_equal(name, "pod-1");
	assert_file("/etc/resolv.conf", "nameserver 192.0.2.1\nsearch a b\n");
	first = read_machine_id();
	assert_string_equal(guest.sandbox.id, "s1");
	assert_error(create_sandbox(&req, &err), -EEXIST,
		"CreateSandbox: the guest is sandbox s1 already");
	assert_int_equal(destroy_sandbox(&err), 0);
	assert_int_equal(destroy_sandbox(&err), 0);
	/* The next one is somebody else. */
	req.sandbox_id = "";
	req.hostname = "";
	req.n_dns = 0;
	assert_int_equal(create_sandbox(&req, &err), 0);
	second = read_machine_id();
	assert_string_not_equal(first, second);
	assert_int_equal(gethostname(name, sizeof(name)), 0);
	assert_string_equal(name, "pod-1");
	assert_int_equal(destroy_sandbox(&err), 0);
}

static void refuse(const Grpc__CreateSandboxRequest *req, int code, const char *part)
{
	struct err err = ERR_INIT;

	assert_error_names(create_sandbox(req, &err), code, part);
	assert_false(guest.sandbox.running);
	assert_int_equal(guest.sandbox.n_mounts, 0);
}

static void test_identity_refused(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__KernelModule module = GRPC__KERNEL_MODULE__INIT, *modules[] = {&module};
	char long_line[514], *lines[65], *params[1024];

	(void)state;
	req.sandbox_id = "../s";
	refuse(&req, -EINVAL, "sandbox id");
	req.sandbox_id = "s";
	memset(long_line, 'x', 513);
	long_line[513] = '\0';
	req.hostname = long_line;
	refuse(&req, -EINVAL, "is longer than 64 bytes");
	req.hostname = "";
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		lines[i] = "x";
	req.dns = lines;
	req.n_dns = 65;
	refuse(&req, -EINVAL, "65 lines of resolv.conf, at most 64 fit");
	req.n_dns = 1;
	lines[0] = "a\nb";
	refuse(&req, -EINVAL, "not a line of resolv.conf: ");
	lines[0] = long_line;
	refuse(&req, -EINVAL, "not a line of resolv.conf: ");
	req.n_dns = 0;
	req.kernel_modules = modules;
	req.n_kernel_modules = 1;
	module.name = "..";
	refuse(&req, -EINVAL, ".. is not a kernel module's name");
	module.name = "x";
	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		params[i] = "";
	module.parameters = params;
	module.n_parameters = ARRAY_SIZE(params);
	refuse(&req, -ENOENT, "");
	params[0] = "xx";
	refuse(&req, -EINVAL, "parameters of more than 1024 bytes for kernel module x");
}

/* 64 lines of 512 bytes are what fits. */
static void test_dns_largest(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	struct err err = ERR_INIT;
	char line[513], *lines[64];
	struct stat st;

	(void)state;
	memset(line, 'x', 512);
	line[512] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		lines[i] = line;
	req.dns = lines;
	req.n_dns = ARRAY_SIZE(lines);
	assert_int_equal(create_sandbox(&req, &err), 0);
	assert_int_equal(stat("/etc/resolv.conf", &st), 0);
	assert_int_equal(st.st_size, 64 * 513);
	assert_int_equal(destroy_sandbox(&err), 0);
}

/* ---- the shared pid namespace ---- */

static ino_t namespace_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void test_pidns(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	_cleanup_free_ char *path = NULL, *again = NULL, *anew = NULL;
	struct err err = ERR_INIT;
	unsigned int fds;

	(void)state;
	assert_int_equal(agent_check(guest.agent, soon(), &err), 0);
	fds = count_fds();
	req.sandbox_pidns = true;
	assert_int_equal(create_sandbox(&req, &err), 0);
	assert_int_equal(pidns_get(&guest.sandbox, &path, &err), 0);
	assert_int_not_equal(namespace_of(path), namespace_of("/proc/self/ns/pid"));
	assert_int_equal(pidns_get(&guest.sandbox, &again, &err), 0);
	assert_string_equal(path, again);
	/* Something killed it: who asks next gets one that lives. */
	assert_int_equal(child_kill(&guest.sandbox.pause, SIGKILL), 0);
	assert_int_equal(child_wait(&guest.sandbox.pause, -1, soon()), 0);
	assert_int_equal(pidns_get(&guest.sandbox, &anew, &err), 0);
	assert_false(child_has_ended(&guest.sandbox.pause));
	assert_int_not_equal(namespace_of(anew), namespace_of("/proc/self/ns/pid"));
	assert_int_equal(destroy_sandbox(&err), 0);
	assert_false(guest.sandbox.has_pause);
	pidns_end(&guest.sandbox);
	assert_int_equal(count_fds(), fds);
}

/* As Kubernetes' pause: of what has a default only SIGTERM and SIGINT end it. */
static void test_pause_process(void **state)
{
	static const struct {
		bool own_pidns, obeys;
		int first, second, status;
	} rows[] = {
		{true, true, SIGUSR1, SIGTERM, 0},
		{false, true, SIGHUP, SIGINT, 0},
		{true, false, SIGTERM, SIGKILL, 128 + SIGKILL},
		{false, true, SIGUSR1, SIGKILL, 128 + SIGKILL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct pause_config config = {.own_pidns = rows[i].own_pidns,
			.obeys = rows[i].obeys,
			.cgroup_fd = -1};
		struct child child = {0};
		struct err err = ERR_INIT;

		assert_int_equal(pause_start(&config, &child, &err), 0);
		assert_int_equal(child_kill(&child, rows[i].first), 0);
		assert_int_equal(child_kill(&child, rows[i].second), 0);
		assert_int_equal(child_wait(&child, -1, soon()), 0);
		assert_int_equal(child.status, rows[i].status);
		child_done(&child);
	}
}

/* ---- what needs no sandbox ---- */

static int set_clock(int64_t sec, int64_t usec, struct err *err)
{
	Grpc__SetGuestDateTimeRequest req = GRPC__SET_GUEST_DATE_TIME_REQUEST__INIT;

	req.sec = sec;
	req.usec = usec;
	return agent_set_guest_date_time(guest.agent, &req, soon(), err);
}

/* A clock that can be set is the machine's, so only what is refused is tried here. */
static void test_clock_refused(void **state)
{
	static const int64_t bad[][2] = {{-1, 0}, {0, -1}, {0, 1000000}, {0, INT64_MAX},
		{0, INT64_MIN}, {INT64_MIN, 0}};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_error_names(
			set_clock(bad[i][0], bad[i][1], &err), -EINVAL, "are no time");
	assert_error(set_clock(INT64_MAX, 0, &err), -EINVAL,
		"SetGuestDateTime: set the clock: Invalid argument");
}

static void test_entropy_refused(void **state)
{
	Grpc__ReseedRandomDevRequest req = GRPC__RESEED_RANDOM_DEV_REQUEST__INIT;
	uint8_t data[4097] = {0};
	struct err err = ERR_INIT;

	(void)state;
	assert_error(agent_reseed_random_dev(guest.agent, &req, soon(), &err), -EINVAL,
		"ReseedRandomDev: 0 bytes of entropy: 1 to 4096 are wanted");
	req.data = (ProtobufCBinaryData){.data = data, .len = sizeof(data)};
	assert_error(agent_reseed_random_dev(guest.agent, &req, soon(), &err), -EINVAL,
		"ReseedRandomDev: 4097 bytes of entropy: 1 to 4096 are wanted");
}

static void test_details(void **state)
{
	Grpc__GuestDetailsRequest req = GRPC__GUEST_DETAILS_REQUEST__INIT;
	Grpc__GuestDetailsResponse *out = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(agent_check(guest.agent, soon(), &err), 0);
	world_file("/sys/devices/system/memory/block_size_bytes", "8000000\n");
	req.mem_block_size = true;
	req.mem_hotplug_probe = true;
	assert_int_equal(
		agent_get_guest_details(guest.agent, &req, &out, soon(), &err), 0);
	assert_int_equal(out->mem_block_size_bytes, 128 * MiB);
	assert_false(out->support_mem_hotplug_probe);
	assert_string_equal(out->agent_details->version, STENCIL_VERSION);
	assert_true(out->agent_details->init_daemon);
	grpc__guest_details_response__free_unpacked(out, NULL);
	out = NULL;
	assert_int_equal(unlink("/sys/devices/system/memory/block_size_bytes"), 0);
	assert_error_names(agent_get_guest_details(guest.agent, &req, &out, soon(), &err),
		-ENOENT, "block_size_bytes");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		TEST(test_states),
		TEST(test_containers),
		TEST(test_busy),
		TEST(test_identity),
		TEST(test_identity_refused),
		TEST(test_dns_largest),
		TEST(test_pidns),
		TEST(test_pause_process),
		TEST(test_clock_refused),
		TEST(test_entropy_refused),
		TEST(test_details),
	};

	world_enter(0);
	world_tmpfs("/etc");
	world_tmpfs("/run");
	world_tmpfs("/sys");
	reaper_start();
	return cmocka_run_group_tests_name("guest/sandbox", tests, NULL, NULL);
}
