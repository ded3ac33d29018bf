/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration read again while templated runs. */
#include "tests/unit/lease_fixture.h"

#include "templated/reload.h"

#define CONF "/tmp/stencil.conf"

static const char same[] = "[hypervisor]\ndefault_memory = 128\n"
			   "[factory]\ntemplate_path = " PATH "\n"
			   "template_endpoint = /tmp/sock\n"
			   "[runtime]\nstate_dir = /tmp/state\n";

static void write_conf(const char *more)
{
	_cleanup_free_ char *text = xasprintf("%s%s", same, more);

	fixture_write(CONF, text, 0600);
}

/* Reads it again: the text of the status' config_error. */
static char *reload(void)
{
	reload_config(&daemon_);
	return xstrdup(daemon_.config_error);
}

static int setup_reload(void **state)
{
	struct err err = ERR_INIT;
	struct config c;
	int r = setup(state);

	write_conf("");
	daemon_.config_path = CONF;
	config_init(&c);
	if (config_load(&c, CONF, &err) < 0)
		fail_msg("%s", err.text);
	daemon_change_settings(&daemon_, settings_new(&c));
	return r;
}

static int teardown_reload(void **state)
{
	unlink(CONF);
	unlink(CONF ".d/10.conf");
	rmdir(CONF ".d");
	return teardown(state);
}

/* A snapshot stays as it is for who has it. */
static void test_snapshot(void **state)
{
	_cleanup_settings_ struct settings *before = daemon_settings(&daemon_), *same_one;
	_cleanup_settings_ struct settings *after = NULL;
	_cleanup_free_ char *error = NULL;

	(void)state;
	free(reload());
	same_one = daemon_settings(&daemon_);
	assert_ptr_equal(before, same_one);
	write_conf("[hypervisor]\nkernel_params = debug\n[runtime]\nlog_level = error\n");
	error = reload();
	assert_string_equal(error, "");
	after = daemon_settings(&daemon_);
	assert_string_equal(before->config.kernel_params, "");
	assert_string_equal(after->config.kernel_params, "debug");
}

static void test_drop_in(void **state)
{
	_cleanup_settings_ struct settings *after = NULL;

	(void)state;
	assert_int_equal(mkdir(CONF ".d", 0700), 0);
	fixture_write(CONF ".d/10.conf", "[hypervisor]\nkernel_params = drop\n", 0600);
	free(reload());
	after = daemon_settings(&daemon_);
	assert_string_equal(after->config.kernel_params, "drop");
}

static void test_refused(void **state)
{
	_cleanup_settings_ struct settings *before = daemon_settings(&daemon_);
	_cleanup_settings_ struct settings *after = NULL;
	_cleanup_free_ char *error = NULL, *again = NULL;

	(void)state;
	write_conf("[hypervisor]\nkernel_params = new\ncolour = red\n");
	error = reload();
	assert_string_equal(error,
		CONF ":10: unknown key colour in [hypervisor]; see stencil.conf(5)");
	assert_text("status/config_error", CONF ":10: unknown key colour");
	after = daemon_settings(&daemon_);
	assert_ptr_equal(before, after);
	assert_int_equal(unlink(CONF), 0);
	again = reload();
	assert_non_null(strstr(again, CONF));
	write_conf("");
	free(reload());
	assert_text("status/config_error", "");
}

/* What hangs on locks, mounts and sockets stays until a restart; the rest changes. */
static void test_needs_restart(void **state)
{
	_cleanup_settings_ struct settings *after = NULL;

	(void)state;
	write_conf("[factory]\ntemplate_path = /tmp/other\ntemplate_endpoint = /tmp/o\n"
		   "strict = true\n[runtime]\nstate_dir = /tmp/os\n");
	free(reload());
	after = daemon_settings(&daemon_);
	assert_string_equal(after->config.template_path, PATH);
	assert_string_equal(after->config.template_endpoint, "/tmp/sock");
	assert_string_equal(after->config.state_dir, "/tmp/state");
	assert_true(after->config.strict);
}

/* SIGHUP: only what differs is built. */
static void test_now(void **state)
{
	struct reload *r;
	struct err err = ERR_INIT;
	struct lease lease;

	(void)state;
	assert_int_equal(
		config_set(&client, "hypervisor", "default_memory", "128", "", &err), 0);
	init_template();
	assert_int_equal(reload_start(&daemon_, &r, &err), 0);
	write_conf("[hypervisor]\nkernel_params = debug\n");
	reload_now(r);
	while (script_boots() < 2)
		;
	/* The look that follows it finds nothing to do. */
	reload_now(r);
	reload_stop(r);
	init_template();
	assert_int_equal(script_boots(), 2);
	assert_int_equal(
		config_set(&client, "hypervisor", "kernel_params", "debug", "", &err), 0);
	acquire_template(&lease);
	lease_release(&lease);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_reload, teardown_reload)
		T(test_snapshot),
		T(test_drop_in),
		T(test_refused),
		T(test_needs_restart),
		T(test_now),
#undef T
	};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fixture_enter();
	log_init("test", null_fd, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
