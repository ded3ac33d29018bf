/* SPDX-License-Identifier: Apache-2.0 */
/* Builds and the lives of generations, as clients see them. */
#include "tests/unit/lease_fixture.h"

#define ID_SIZE 1024

/* Counts those who were told of a step, so wait for the build. */
static void count_follower(const char *step)
{
	if (strcmp(step, "booting") != 0)
		return;
	pthread_mutex_lock(&script.lock);
	script.followers++;
	pthread_cond_broadcast(&script.changed);
	pthread_mutex_unlock(&script.lock);
}

static void *refresh_thread(void *arg)
{
	struct err err = ERR_INIT;
	struct json_object *reply = NULL;
	const char *id;

	if (ctl_ask(&client, LEASE_VERB_REFRESH, count_follower, &reply, &err) < 0 ||
		json_get_string(reply, "generation", &id, &err) < 0)
		id = err.text;
	snprintf(arg, ID_SIZE, "%s", id);
	json_object_put(reply);
	return NULL;
}

/* Four ask at once, one build answers all; the old generation serves meanwhile. */
static void test_one_build_for_all(void **state)
{
	pthread_t threads[4];
	char ids[4][ID_SIZE];
	struct lease old, new;
	struct err err = ERR_INIT;
	uint64_t ticket;

	(void)state;
	init_template();
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, true, &ticket, &err), 0);
	script_wait_booting();
	assert_int_equal(status_number("status/build/running"), 1);
	acquire_template(&old);
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			thread_start(refresh_thread, ids[i], 1 << 20, false, &threads[i]),
			0);
	pthread_mutex_lock(&script.lock);
	while (script.followers < 4)
		pthread_cond_wait(&script.changed, &script.lock);
	pthread_mutex_unlock(&script.lock);
	script_hold(false);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(script.boots, 2);
	acquire_template(&new);
	assert_string_not_equal(old.generation, new.generation);
	for (int i = 0; i < 4; i++)
		assert_string_equal(ids[i], new.generation);
	assert_int_equal(status_number("status/template/generations/0/leases"), 1);
	lease_release(&old);
	lease_release(&new);
}

static void test_building_is_the_reason(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	script_hold(true);
	assert_int_equal(builder_start(daemon_.builder, false, NULL, &err), 0);
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
	daemon_.config.tmpfs_size = 12 * MiB;
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
	assert_int_equal(builder_start(daemon_.builder, false, &ticket, &err), 0);
	script_wait_booting();
	pthread_mutex_lock(&script.lock);
	script.qemu_version = "7.2.23";
	pthread_mutex_unlock(&script.lock);
	script_hold(false);
	while (builder_follow(daemon_.builder, ticket, &step, &result))
		;
	assert_int_equal(result.code, -ESTALE);
	assert_error(result.err, "qemu_version changed while the template was built");
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
	assert_int_equal(builder_start(daemon_.builder, false, &ticket, &err), 0);
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
	char why[128];
	int fd, other;

	(void)state;
	snprintf(why, sizeof(why),
		"another templated (pid %d) has the template_path /tmp/x/y",
		(int)getpid());
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &fd, &err), 0);
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &other, &err), -EBUSY);
	assert_error(err, why);
	lock_drop("/tmp/x/y", fd);
	assert_int_equal(access("/tmp/x/y.lock", F_OK), -1);
	assert_int_equal(lock_take("template_path", "/tmp/x/y", &fd, &err), 0);
	lock_drop("/tmp/x/y", fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_build_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_building_is_the_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_build, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_small, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_inputs_change_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tampered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retired, setup, teardown),
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
