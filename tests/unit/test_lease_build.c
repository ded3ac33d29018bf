/* SPDX-License-Identifier: Apache-2.0 */
/* Builds and the lives of generations, as clients see them. */
#include "tests/unit/lease_fixture.h"

static void follow(uint64_t ticket, struct build_result *result)
{
	enum build_step step = BUILD_STARTING;

	while (builder_follow(daemon_.builder, ticket, &step, result))
		;
}

static uint64_t begin(enum build_how how)
{
	struct err err = ERR_INIT;
	uint64_t ticket;

	if (builder_start(daemon_.builder, how, &ticket, &err) < 0)
		fail_msg("%s", err.text);
	return ticket;
}

/* What follows has ended: a build that nobody asked for has nobody who waits for it. */
static void drain(void)
{
	while (status_number("status/build/running") == 1)
		;
}

/* One build runs, so its inputs may be old. Four who ask meanwhile get the next one, all
 * the same; the old generation serves. */
static void test_one_build_for_all(void **state)
{
	struct build_result result;
	struct lease old, new;
	uint64_t running, tickets[4];

	(void)state;
	init_template();
	script_hold(true);
	running = begin(BUILD_FORCE);
	script_wait_booting();
	assert_int_equal(status_number("status/build/running"), 1);
	assert_int_equal(status_number("status/build/queued"), 0);
	acquire_template(&old);
	for (int i = 0; i < 4; i++)
		tickets[i] = begin(i == 1 ? BUILD_LOOK : BUILD_FORCE);
	assert_int_equal(status_number("status/build/queued"), 1);
	script_hold(false);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(tickets[i], running + 1);
		follow(tickets[i], &result);
		assert_true(result.code == 0 && result.built);
	}
	assert_int_equal(script.boots, 3);
	acquire_template(&new);
	assert_string_not_equal(old.generation, new.generation);
	assert_string_equal(result.id, new.generation);
	assert_int_equal(status_number("status/template/generations/0/leases"), 1);
	assert_int_equal(status_number("status/template/generations/1/leases"), 1);
	assert_int_equal(status_number("status/template/generations/2/leases"), -1);
	lease_release(&old);
	lease_release(&new);
}

/* A look that follows a build finds its work done. */
static void test_look_after_build(void **state)
{
	struct build_result result;
	uint64_t ticket;

	(void)state;
	script_hold(true);
	begin(BUILD_LOOK);
	script_wait_booting();
	ticket = begin(BUILD_LOOK);
	script_hold(false);
	follow(ticket, &result);
	assert_true(result.code == 0 && !result.built && *result.id);
	assert_int_equal(script.boots, 1);
	assert_int_equal(status_number("status/build/last/ok"), 1);
}

static void *cancel_thread(void *arg)
{
	(void)arg;
	builder_cancel(daemon_.builder);
	return NULL;
}

/* Cancelled: those who run, and those who wait. */
static void test_cancel_queue(void **state)
{
	struct build_result running, queued;
	uint64_t one, two;
	pthread_t thread;

	(void)state;
	init_template();
	script_hold(true);
	script.boot_result = -ECONNRESET;
	one = begin(BUILD_FORCE);
	script_wait_booting();
	two = begin(BUILD_FORCE);
	assert_int_equal(thread_start(cancel_thread, NULL, 1 << 20, false, &thread), 0);
	while (status_number("status/build/queued") == 1)
		;
	script_hold(false);
	pthread_join(thread, NULL);
	follow(one, &running);
	follow(two, &queued);
	assert_true(running.code < 0 && queued.code < 0);
	/* From now on nothing starts by itself. */
	begin(BUILD_AUTO);
	drain();
	assert_int_equal(script.boots, 2);
	script.boot_result = 0;
	init_template();
}

/* ---- old ones ---- */

/* Another kernel at the same path: granted, counted, and a new one is built. */
static void test_stale(void **state)
{
	struct build_result result;
	struct lease stale, new;

	(void)state;
	init_template();
	script.kernel = DIGEST_B;
	script_hold(true);
	acquire_template(&stale);
	script_wait_booting();
	lease_release(&stale);
	acquire_template(&stale);
	assert_int_equal(status_number("status/counters/hits"), 2);
	assert_int_equal(status_number("status/counters/stale_grants"), 2);
	assert_int_equal(status_number("status/counters/misses/total"), 0);
	assert_text("status/template/generations/0/stale", "kernel_sha256");
	assert_text("status/template/generations/0/stale_reason",
		"kernel_sha256: wanted bbbb");
	assert_text("status/template/generations/0/state", "current");
	script_hold(false);
	follow(begin(BUILD_LOOK), &result);
	assert_false(result.built);
	assert_int_equal(script.boots, 2);
	acquire_template(&new);
	assert_string_not_equal(stale.generation, new.generation);
	assert_int_equal(status_number("status/counters/stale_grants"), 2);
	lease_release(&stale);
	lease_release(&new);
}

/* Another kernel at another path is another kernel. */
static void test_other_kernel(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	assert_int_equal(
		config_set(&client, "hypervisor", "kernel", "/boot/other", "", &err), 0);
	client.default_memory = 128;
	change_config("hypervisor", "default_memory", "128");
	begin(BUILD_FORCE);
	drain();
	acquire_nothing("kernel_path: wanted /boot/other, the template has /usr/lib");
	drain();
	assert_int_equal(script.boots, 2);
}

/* A miss of an own sandbox has a new one built;
 * one that fails is not tried again and again. */
static void test_nudge(void **state)
{
	struct build_result result;

	(void)state;
	init_template();
	script.qemu_version = "7.2.23";
	script.boot_result = -ETIMEDOUT;
	for (int i = 0; i < 3; i++) {
		acquire_nothing("qemu_version: wanted 7.2.23, the template has 7.2.22");
		drain();
	}
	begin(BUILD_AUTO);
	drain();
	assert_int_equal(script.boots, 2);
	assert_int_equal(status_number("status/counters/build_failures"), 1);
	assert_int_equal(status_number("status/build/last/ok"), 0);
	/* An input changed: it is worth another try. On request, too. */
	script.qemu_version = "7.2.24";
	begin(BUILD_AUTO);
	drain();
	assert_int_equal(script.boots, 3);
	follow(begin(BUILD_LOOK), &result);
	assert_true(result.code < 0);
	script.boot_result = 0;
	begin(BUILD_AUTO);
	drain();
	assert_int_equal(script.boots, 4);
	follow(begin(BUILD_LOOK), &result);
	assert_true(result.built);
	assert_int_equal(status_number("status/build/last/ok"), 1);
}

/* ---- refresh --now ---- */

static int refresh_now(struct err *err)
{
	struct json_object *request = lease_request_new(LEASE_VERB_REFRESH, NULL, NULL),
			   *reply = NULL;
	int r;

	json_set_bool(request, "now", true);
	r = ctl_send(&client, LEASE_VERB_REFRESH, request, NULL, &reply, err);
	json_object_put(reply);
	return r;
}

static void *refresh_now_thread(void *arg)
{
	struct err *err = arg;

	refresh_now(err);
	return NULL;
}

static void test_now(void **state)
{
	struct err err = ERR_INIT;
	struct lease lease;
	pthread_t thread;

	(void)state;
	init_template();
	acquire_template(&lease);
	script_hold(true);
	assert_int_equal(
		thread_start(refresh_now_thread, &err, 1 << 20, false, &thread), 0);
	script_wait_booting();
	acquire_nothing("retired by refresh --now, the template is being built");
	assert_int_equal(status_number("status/template/generations/0/leases"), 1);
	script_hold(false);
	pthread_join(thread, NULL);
	assert_int_equal(err.code, 0);
	lease_release(&lease);
	/* The next one fails: what was retired stays so, and does not come back. */
	acquire_template(&lease);
	script.boot_result = -ETIMEDOUT;
	assert_int_equal(refresh_now(&err), -EREMOTEIO);
	acquire_nothing("retired by refresh --now, there is no template, its last build "
			"failed: boot");
	restart();
	acquire_nothing("there is no template");
	lease_release(&lease);
}

static void *begin_now_thread(void *arg)
{
	*(uint64_t *)arg = begin(BUILD_NOW);
	return NULL;
}

/* A build that runs is too old for it; who follows that one gets the new one. */
static void test_now_supersedes(void **state)
{
	struct build_result one, two;
	uint64_t first, second;
	pthread_t thread;

	(void)state;
	script_hold(true);
	script.boot_result = -ECONNRESET; /* as a killed QEMU looks */
	first = begin(BUILD_FORCE);
	script_wait_booting();
	script.boot_result = 0;
	/* Its VM has no record here to be killed by: builder_start()
	 * waits for its end. */
	assert_int_equal(
		thread_start(begin_now_thread, &second, 1 << 20, false, &thread), 0);
	while (status_number("status/build/queued") != 1)
		;
	script_release_one();
	pthread_join(thread, NULL);
	assert_int_equal(second, first + 1);
	script_hold(false);
	follow(first, &one);
	follow(second, &two);
	assert_true(one.code == 0 && one.built);
	assert_string_equal(one.id, two.id);
	assert_int_equal(script.boots, 2);
}

static void test_now_is_checked(void **state)
{
	struct json_object *request = lease_request_new(LEASE_VERB_REFRESH, NULL, NULL),
			   *reply = NULL;
	struct err err = ERR_INIT;

	(void)state;
	json_set_string(request, "now", "yes");
	assert_int_equal(
		ctl_send(&client, LEASE_VERB_REFRESH, request, NULL, &reply, &err),
		-EREMOTEIO);
	assert_error(err, "\"now\"");
	assert_int_equal(script.boots, 0);
}

static void test_building_is_the_reason(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, BUILD_LOOK, NULL, &err), 0);
	script_wait_booting();
	acquire_nothing("the template is being built (booting)");
	script_hold(false);
	init_template();
	assert_int_equal(script.boots, 1);
	assert_int_equal(status_number("status/counters/misses/building"), 1);
}

static void test_failed_build(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	script.boot_result = -ETIMEDOUT;
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), -EREMOTEIO);
	assert_error(err, "boot: the guest is silent");
	acquire_nothing("its last build failed: boot: the guest is silent");
	script.boot_result = 0;
	init_template();
	script.boot_result = -ETIMEDOUT;
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), -EREMOTEIO);
	acquire_template(&lease);
	lease_release(&lease);
	assert_int_equal(status_number("status/counters/build_failures"), 2);
	assert_int_equal(status_number("status/counters/builds"), 1);
	/* What the failed one had allocated is free again. */
	assert_true(status_number("status/template/tmpfs/used_bytes") < 65536);
}

static void test_too_small(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	change_config("factory", "tmpfs_size", "12M");
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), -EREMOTEIO);
	assert_error(err, "too small");
	assert_error(err, "(41 MiB) are needed");
	assert_int_equal(script.boots, 0);
	assert_int_equal(status_number("status/template/tmpfs/mounted"), 0);
}

static void test_inputs_change_meanwhile(void **state)
{
	struct err err = ERR_INIT;
	struct build_result result;
	enum build_step step = BUILD_STARTING;
	uint64_t ticket;

	(void)state;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, BUILD_LOOK, &ticket, &err), 0);
	script_wait_booting();
	pthread_mutex_lock(&script.lock);
	script.qemu_version = "7.2.23";
	pthread_mutex_unlock(&script.lock);
	script_hold(false);
	while (builder_follow(daemon_.builder, ticket, &step, &result))
		;
	assert_int_equal(result.code, -ESTALE);
	assert_error(result.err, "qemu_version changed meanwhile");
}

static void test_tampered(void **state)
{
	_cleanup_free_ char *path = NULL;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	acquire_template(&lease);
	path = xasprintf(PATH "/%s/state", lease.generation);
	lease_release(&lease);
	assert_int_equal(truncate(path, 5), 0);
	acquire_nothing("state_bytes: the manifest says 12, the file state has 5");
	assert_int_equal(status_number("status/counters/misses/unsound"), 1);
	/* Not taken for up to date. */
	init_template();
	assert_int_equal(script.boots, 2);
	acquire_template(&lease);
	lease_release(&lease);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ask(LEASE_VERB_INIT, NULL, &err), 0);
	assert_int_equal(script.boots, 2);
}

/* A retired generation lives as long as its leases; one ends with its process. */
static void test_retired(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;
	int ready[2], status;
	char byte;
	pid_t pid;

	(void)state;
	init_template();
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	acquire_template(&lease);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	lease_release(&lease); /* the child has it still */
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), 0);
	assert_int_equal(status_number("status/template/generations/0/leases"), 1);
	assert_int_equal(status_number("status/template/generations/1/leases"), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(ready[0]);
	/* The server's thread hears of it in its own time. */
	while (status_number("status/template/generations/1/leases") >= 0)
		;
	assert_int_equal(status_number("status/template/generations/0/leases"), 0);
}

/* What of a generation can't be removed keeps nobody: the next release removes it. */
static void test_left(void **state)
{
	_cleanup_free_ char *file = NULL, *old = NULL, *old_file = NULL;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	acquire_template(&lease);
	file = xasprintf(PATH "/%s/" GENERATION_STATE, lease.generation);
	old = xasprintf(PATH "/.old-%s", lease.generation);
	old_file = xasprintf("%s/" GENERATION_STATE, old);
	assert_int_equal(mount(file, file, NULL, MS_BIND, NULL), 0);
	assert_int_equal(ask(LEASE_VERB_REFRESH, NULL, &err), 0);
	lease_release(&lease);
	while (status_number("status/template/generations/1/leases") >= 0)
		;
	assert_int_equal(access(old, F_OK), 0);
	assert_int_equal(umount(old_file), 0);
	acquire_template(&lease);
	lease_release(&lease);
	while (status_number("status/template/generations/0/leases") > 0)
		;
	assert_int_equal(access(old, F_OK), -1);
}

static void test_destroy(void **state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *held;
	struct lease lease;
	struct err err = ERR_INIT;

	(void)state;
	init_template();
	acquire_template(&lease);
	assert_int_equal(ask(LEASE_VERB_DESTROY, &reply, &err), 0);
	assert_int_equal(json_get_array(reply, "held", &held, &err), 0);
	assert_int_equal(json_object_array_length(held), 1);
	assert_string_equal(
		json_object_get_string(json_object_array_get_idx(held, 0)), "sandbox-1");
	acquire_nothing("templatectl init makes one");
	assert_int_equal(status_number("status/template/tmpfs/mounted"), 1);
	lease_release(&lease);
	while (status_number("status/template/tmpfs/mounted") == 1)
		;
	init_template();
	acquire_template(&lease);
	lease_release(&lease);
}

/* A build that runs when everything is destroyed comes to nothing. */
static void test_destroy_during_build(void **state)
{
	struct build_result result;
	enum build_step step = BUILD_STARTING;
	struct err err = ERR_INIT;
	uint64_t ticket;

	(void)state;
	script.boot_result = -ECONNRESET;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, BUILD_LOOK, &ticket, &err), 0);
	script_wait_booting();
	script_hold(false); /* the scripted VM dies as a killed QEMU would */
	assert_int_equal(ask(LEASE_VERB_DESTROY, NULL, &err), 0);
	while (builder_follow(daemon_.builder, ticket, &step, &result))
		;
	assert_true(result.code < 0);
	assert_int_equal(status_number("status/template/tmpfs/mounted"), 0);
}

static void test_lock(void **state)
{
	struct err err = ERR_INIT;
	int fd, other, r, status;
	char why[128];
	pid_t pid;

	(void)state;
	snprintf(why, sizeof(why),
		"another templated (pid %d) has the template_path /tmp/x/y",
		(int)getpid());
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &fd, &err), 0);
	pid = fork();
	if (pid == 0) {
		r = lock_take("template_path", "/tmp/x/y", &other, &err);
		_exit(r != -EBUSY || !strstr(err.text, why));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	lock_drop("/tmp/x/y", fd);
	assert_int_equal(access("/tmp/x/y.lock", F_OK), -1);
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &fd, &err), 0);
	lock_drop("/tmp/x/y", fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_build_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_look_after_build, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nudge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_now, setup, teardown),
		cmocka_unit_test_setup_teardown(test_now_supersedes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_now_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_building_is_the_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_build, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_small, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_inputs_change_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tampered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retired, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_destroy_during_build, setup, teardown),
		cmocka_unit_test(test_lock),
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
