/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of templated, with scripted VMs: filling, handing out, failing, ending. */
#include "tests/unit/lease_fixture.h"

#include "templated/cache_internal.h"

/* Waits for a state of the cache; `what` says which one it was to be. */
#define wait_cache(what)                                                                 \
	do {                                                                             \
		struct cache *c = daemon_.cache;                                         \
		int64_t deadline_ = soon();                                              \
		pthread_mutex_lock(&c->lock);                                            \
		int r_ = 0;                                                              \
		while (!(what) && r_ == 0)                                               \
			r_ = cond_wait(&c->changed, &c->lock, deadline_);                \
		pthread_mutex_unlock(&c->lock);                                          \
		if (r_ < 0)                                                              \
			fail_msg("not in time: %s", #what);                              \
	} while (0)

#define wait_full() wait_cache(cache_count(c, CACHED_READY) == 2 && !c->preparing)

static unsigned int read_script(const unsigned int *value)
{
	unsigned int n;

	pthread_mutex_lock(&script.lock);
	n = *value;
	pthread_mutex_unlock(&script.lock);
	return n;
}

static unsigned int clones(void)
{
	return read_script(&script.clones);
}

static unsigned int boots(void)
{
	return read_script(&script.boots);
}

static void configure_daemon(bool template)
{
	struct config c;

	set_config(&c);
	c.vm_cache_number = 2;
	c.enable_template = template;
	daemon_change_settings(&daemon_, settings_new(&c));
}

static int setup_cache(void **state)
{
	setup(state);
	client.vm_cache_number = 2;
	return 0;
}

/* The cache begins when the template is there: what it makes can be counted. */
static void begin(void)
{
	init_template();
	configure_daemon(true);
}

static void fill(void)
{
	begin();
	wait_full();
}

static void acquire_vm(struct lease *lease)
{
	acquire(lease);
	if (lease->kind != LEASE_VM)
		fail_msg("no VM: %s", lease->reason);
	assert_int_equal(70222, lease->vm.qemu_version);
	assert_true(lease->vm.qmp_fd >= 0 && lease->vm.agent_fd >= 0);
	assert_true(lease->vm.pid_fd >= 0 && lease->vm.stderr_fd >= 0);
	assert_true(lease->vm.files_fd >= 0 && lease->vm.window_fd >= 0);
}

/* As a shim does. */
static void take(struct lease *lease)
{
	struct err err = ERR_INIT;

	if (script_take(lease->vm.number, &err) != 0 ||
		lease_taken(lease, soon(), &err) < 0)
		fail_msg("%s", err.text);
}

static bool ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* The end of a VM that a sandbox had. */
static void end_taken(struct lease *lease)
{
	script_forget(lease->vm.number);
	pidfd_kill(lease->vm.pid_fd, SIGKILL);
	lease_release(lease);
	wait_cache(cache_count(c, CACHED_GIVEN) == 0);
}

/* From the offer to the end of the sandbox: the lease goes along, and it is replaced. */
static void test_taken(void **state)
{
	struct lease lease;

	(void)state;
	fill();
	assert_int_equal(2, status_number("status/cache/ready"));
	assert_int_equal(2, status_number("status/template/generations/0/leases"));
	acquire_vm(&lease);
	take(&lease);
	wait_cache(cache_count(c, CACHED_GIVEN) == 1);
	wait_full();
	assert_int_equal(1, status_number("status/cache/hits"));
	assert_int_equal(0, status_number("status/cache/misses/total"));
	assert_int_equal(3, status_number("status/template/generations/0/leases"));
	assert_false(ended(lease.vm.pid_fd));
	end_taken(&lease);
	assert_int_equal(3, clones());
	assert_int_equal(0, status_number("status/cache/died"));
}

/* A sandbox that goes away without a word before it took the VM. */
static void test_not_taken(void **state)
{
	_cleanup_close_ int pidfd = -1;
	struct lease lease;

	(void)state;
	fill();
	acquire_vm(&lease);
	pidfd = steal_fd(&lease.vm.pid_fd);
	lease_release(&lease);
	assert_int_equal(0, pidfd_wait(pidfd, soon()));
	wait_cache(cache_count(c, CACHED_OFFERED) == 0 &&
		   cache_count(c, CACHED_ENDING) == 0);
	wait_full();
	assert_int_equal(0, status_number("status/cache/hits"));
}

/* And one that took it: the VM is not ended, nor undone when it has ended. */
static void test_taken_without_a_word(void **state)
{
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int pidfd = -1;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	fill();
	acquire_vm(&lease);
	pidfd = steal_fd(&lease.vm.pid_fd);
	dir = xasprintf("/tmp/state/" VM_FOLDERS "/%u", lease.vm.number);
	assert_int_equal(0, script_take(lease.vm.number, &err));
	lease_release(&lease);
	wait_cache(cache_count(c, CACHED_GIVEN) == 1);
	wait_full();
	assert_false(ended(pidfd));
	assert_int_equal(0, access(dir, F_OK));
	pidfd_kill(pidfd, SIGKILL);
	wait_cache(cache_count(c, CACHED_GIVEN) == 0);
	assert_int_equal(0, access(dir, F_OK));
	script_forget((unsigned int)strtoul(strrchr(dir, '/') + 1, NULL, 10));
}

static void set_client(const char *section, const char *key, const char *value)
{
	struct err err = ERR_INIT;

	assert_int_equal(0, config_set(&client, section, key, value, "", &err));
}

/* What a VM of the cache is no match for, and the template behind it. */
static void test_misses(void **state)
{
	unsigned int before;
	struct lease lease;

	(void)state;
	configure_daemon(true);
	/* "empty", or "preparing" while the cache is finding that out. */
	acquire_nothing("there is no template");
	assert_int_equal(1, status_number("status/cache/misses/total"));
	fill();
	before = clones();
	/* The fixture's 8 MiB are less than a sandbox may ask for. */
	client.default_memory = 128;
	acquire_nothing("memory_bytes");
	assert_int_equal(1, status_number("status/cache/misses/differs"));
	client.default_memory = 8;
	set_client("runtime", "state_dir", "/tmp/elsewhere");
	acquire_template(&lease);
	assert_string_equal(
		"the cached VMs have another state_dir: /tmp/state", lease.reason);
	assert_int_equal(1, status_number("status/cache/misses/state_dir"));
	lease_release(&lease);
	set_client("runtime", "state_dir", "/tmp/state");
	set_client("factory", "enable_template", "false");
	acquire_nothing("cached VMs are clones, and enable_template is off");
	set_client("factory", "enable_template", "true");
	/* One that wants no VM gets none. */
	client.vm_cache_number = 0;
	acquire_template(&lease);
	assert_string_equal("", lease.reason);
	lease_release(&lease);
	assert_int_equal(4, status_number("status/cache/misses/total"));
	assert_int_equal(before, clones());
}

static pid_t first_pid(struct cache *c)
{
	pid_t pid;

	pthread_mutex_lock(&c->lock);
	pid = vm_pid(c->all->vm);
	pthread_mutex_unlock(&c->lock);
	return pid;
}

static void test_died(void **state)
{
	pid_t pid;

	(void)state;
	fill();
	pid = first_pid(daemon_.cache);
	assert_int_equal(0, kill(pid, SIGKILL));
	wait_cache(clones() == 3);
	wait_full();
	assert_int_equal(1, status_number("status/cache/died"));
	/* Reaped: no zombie. Its successor may be there before. */
	wait_cache(cache_count(c, CACHED_ENDING) == 0);
	assert_int_equal(-1, kill(pid, 0));
}

static void test_refresh_drains(void **state)
{
	pid_t pid;

	(void)state;
	fill();
	pid = first_pid(daemon_.cache);
	assert_int_equal(0, ask(LEASE_VERB_REFRESH, NULL, &(struct err){0}));
	assert_int_equal(-1, kill(pid, 0));
	wait_full();
	assert_int_equal(4, clones());
	assert_int_equal(2, status_number("status/template/generations/0/leases"));
	assert_int_equal(-1, status_number("status/template/generations/1/leases"));
}

/* An input is replaced: no request gets what was made of the old one, and that is ended
 * at the first that comes. */
static void test_stale_inputs(void **state)
{
	pid_t pid;

	(void)state;
	fill();
	pid = first_pid(daemon_.cache);
	pthread_mutex_lock(&script.lock);
	script.qemu_version = "7.2.23";
	pthread_mutex_unlock(&script.lock);
	acquire_nothing("qemu_version");
	/* Either nothing can be made of the old generation, or a new one came first. */
	wait_cache(kill(pid, 0) < 0 && !c->preparing);
	assert_int_equal(1, status_number("status/cache/misses/differs"));
}

/* Not in a loop: once for each event. */
static void test_failures(void **state)
{
	struct lease lease;

	(void)state;
	script.clone_result = -ECONNRESET;
	begin();
	wait_cache(c->failure.code < 0 && !c->preparing);
	assert_int_equal(1, status_number("status/cache/failures"));
	acquire_template(&lease);
	assert_string_equal("no cached VM is ready, the last one failed", lease.reason);
	lease_release(&lease);
	wait_cache(clones() == 2 && !c->preparing);
	pthread_mutex_lock(&script.lock);
	script.clone_result = 0;
	pthread_mutex_unlock(&script.lock);
	cache_kick(daemon_.cache);
	wait_full();
	wait_cache(c->failure.code == 0);
	assert_int_equal(2, status_number("status/cache/failures"));
}

/* A VM that was cancelled by a new configuration is not made again by the old one. */
static void test_configured_while_preparing(void **state)
{
	struct err err = ERR_INIT;
	struct config next;

	(void)state;
	script.hold_clones = true;
	begin();
	script_wait_booting();
	set_config(&next);
	assert_int_equal(
		config_set(&next, "hypervisor", "kernel_params", "debug", "", &err), 0);
	next.vm_cache_number = 2;
	daemon_change_settings(&daemon_, settings_new(&next));
	wait_cache(c->failure.code < 0 && !c->preparing);
	assert_int_equal(1, clones());
}

/* One that hangs while it is made is ended by who destroys the template. */
static void test_destroy_while_preparing(void **state)
{
	struct lease lease;

	(void)state;
	script.hold_clones = true;
	begin();
	script_wait_booting();
	acquire_template(&lease);
	assert_string_equal("no cached VM is ready, one is being prepared", lease.reason);
	lease_release(&lease);
	assert_int_equal(0, ask(LEASE_VERB_DESTROY, NULL, &(struct err){0}));
	wait_cache(c->all == NULL && !c->preparing);
	assert_int_equal(1, status_number("status/cache/misses/preparing"));
	assert_int_equal(0, status_number("status/cache/failures"));
	assert_int_equal(1, clones());
}

static void test_without_a_template(void **state)
{
	struct lease lease;

	(void)state;
	client.enable_template = false;
	configure_daemon(false);
	wait_full();
	acquire_vm(&lease);
	assert_string_equal("", lease.generation);
	take(&lease);
	wait_cache(cache_count(c, CACHED_GIVEN) == 1);
	wait_full();
	assert_int_equal(0, clones());
	assert_int_equal(3, boots());
	end_taken(&lease);
	cache_close(daemon_.cache);
	acquire_nothing("no cached VM is ready");
}

/* Words at the wrong time end the connection, and the offer with it. */
static void test_protocol(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	fill();
	assert_true(ask(LEASE_VERB_TAKEN, NULL, &err) < 0);
	assert_non_null(strstr(err.text, "the request taken on a connection without an"));
	acquire_vm(&lease);
	assert_int_equal(0, lease_send(lease.conn_fd,
				    lease_request_new(LEASE_VERB_STATUS, NULL, NULL),
				    NULL, 0, soon()));
	assert_int_equal(0, pidfd_wait(lease.vm.pid_fd, soon()));
	assert_int_not_equal(0, script_take(lease.vm.number, &err));
	lease_release(&lease);
	wait_full();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_cache, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_taken),
		TEST(test_not_taken),
		TEST(test_taken_without_a_word),
		TEST(test_misses),
		TEST(test_died),
		TEST(test_refresh_drains),
		TEST(test_stale_inputs),
		TEST(test_failures),
		TEST(test_configured_while_preparing),
		TEST(test_destroy_while_preparing),
		TEST(test_without_a_template),
		TEST(test_protocol),
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
