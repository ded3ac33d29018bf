/* SPDX-License-Identifier: Apache-2.0 */
/* templated and templatectl: leases, tampering, failures, kills. */
#include "tests/integration/templated_fixture.h"

/* ---- tests; they build on each other's template ---- */

static void test_not_running(void **state)
{
	struct lease lease;

	(void)state;
	ctl("status", 3, "templated is not running: nobody answers at " DIR_ "/sock");
	ctl_as(65534, "status", 2, "Permission denied");
	assert_int_equal(chmod(CONF, 0644), 0);
	ctl_as(65534, "status", 4, "only root may");
	ctl_as(65534, "size", 0, "stencil-template " TEMPLATE " tmpfs mode=0750");
	acquire(&lease);
	assert_in(lease.reason, "templated is not there");
	lease_release(&lease);
}

static void test_init_and_grant(void **state)
{
	struct lease lease;
	uint64_t best = UINT64_MAX;

	(void)state;
	start_daemon();
	ctl("init", 0, "generation 0");
	ctl("init", 0, "up to date");
	ctl("status", 0, "template   ready");
	for (int i = 0; i < 20; i++) {
		uint64_t began = now_us();

		acquire_template(&lease);
		best = MIN(best, now_us() - began);
		lease_release(&lease);
	}
	print_message("# a grant takes %llu us\n", (unsigned long long)best);
	acquire_template(&lease);
	assert_int_equal(fcntl(lease.memory_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	lease_release(&lease);
}

/* What was granted is a guest. */
static void test_clone(void **state)
{
	struct lease lease;

	(void)state;
	acquire_template(&lease);
	vm_free(clone_of(&lease));
	lease_release(&lease);
	assert_int_equal(count_vms(), 0);
}

static void test_second_daemon(void **state)
{
	_cleanup_free_ char *why =
		xasprintf("another templated (pid %d) has the template_path " TEMPLATE,
			(int)daemon_pid);
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_int_equal(end_of(start("templated", NULL, DIR_ "/second", 0)), 1);
	text = read_text(DIR_ "/second");
	assert_in(text, why);
	ctl("status", 0, "template   ready");
}

/* With a template_path of its own, but the same socket, also for another purpose,
 * or the same state. */
static void test_second_daemon_elsewhere(void **state)
{
	static const struct {
		const char *lines, *why;
	} cases[] = {
		{"[factory]\ntemplate_path = " DIR_ "/t2\n",
			"has the template_endpoint " DIR_ "/sock"},
		{"[factory]\ntemplate_path = " DIR_ "/t2\ntemplate_endpoint = " DIR_
		 "/s2\n",
			"has the state_dir " DIR_ "/state"},
		{"state_dir = " DIR_ "/state2\n[factory]\ntemplate_path = " DIR_
		 "/t2\ntemplate_endpoint = " DIR_ "/s2\nmetrics_endpoint = " DIR_
		 "/sock\n",
			"has the metrics_endpoint " DIR_ "/sock"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;

		unlink(DIR_ "/second");
		configure(cases[i].lines);
		assert_int_equal(end_of(start("templated", NULL, DIR_ "/second", 0)), 1);
		text = read_text(DIR_ "/second");
		assert_in(text, cases[i].why);
		assert_int_equal(access(DIR_ "/t2.lock", F_OK), -1);
	}
	configure("");
	grant();
}

/* Clients that say nothing, or nothing that makes sense, and somebody who is not root:
 * each gets an answer, and a sandbox its template meanwhile. */
static void test_strange_clients(void **state)
{
	struct err err = ERR_INIT;
	int silent[8], fds[2];
	char byte;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		assert_int_equal(unix_connect(DIR_ "/sock", SOCK_SEQPACKET, soon(),
					 &silent[i], &err),
			0);
		if (i % 2)
			assert_int_equal(sock_send(silent[i], "{\"version\":2,", 13, NULL,
						 0, soon()),
				0);
		grant();
	}
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		_cleanup_json_ struct json_object *reply = NULL;
		const char *error;

		/* Once LEASE_REQUEST_MS are over. */
		assert_int_equal(lease_receive(silent[i], &reply, fds, soon(), &err), 0);
		assert_int_equal(json_get_string(reply, "error", &error, &err), 0);
		assert_in(error, i % 2 ? "not valid JSON" : "no request was received");
		assert_int_equal(sock_recv(silent[i], &byte, 1, NULL, 0, soon()), 0);
		close(silent[i]);
	}
	assert_int_equal(chmod(CONF, 0644), 0);
	ctl_as(65534, "refresh", 4, "only root may");
	grant();
}

static void test_other_configuration(void **state)
{
	static const struct {
		const char *lines, *why;
	} cases[] = {
		{"[hypervisor]\ndefault_memory = 512\n",
			"memory_bytes: wanted 536870912, the template has 268435456"},
		{"[hypervisor]\nkernel_params = debug\n", "cmdline: wanted …"},
		{"[hypervisor]\npath = /usr/bin/other\n",
			"qemu_path: wanted /usr/bin/other, the template has"},
		{"[hypervisor]\ndefault_maxvcpus = 7\n", "argv: wanted …"},
		{"[hypervisor]\nkernel = /bin/sh\n",
			"kernel_path: wanted /bin/sh, the template has"},
		{"[hypervisor]\nkernel = /nowhere\n", "/nowhere"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		configure(cases[i].lines);
		acquire_nothing(cases[i].why);
	}
	configure("");
	grant();
}

/* A manifest with a field changed, for each field; put back, it is taken again. */
static void test_tampered_manifest(void **state)
{
	_cleanup_free_ char *id = current_id(), *path = NULL, *text = NULL;
	_cleanup_json_ struct json_object *manifest = NULL;
	struct err err = ERR_INIT;

	(void)state;
	path = xasprintf(TEMPLATE "/%s/manifest.json", id);
	text = read_text(path);
	assert_int_equal(
		json_parse("manifest", text, strlen(text), 4, &manifest, &err), 0);
	for (int i = 0; i < MANIFEST_FIELDS; i++) {
		const char *name = manifest_field_name((enum manifest_field)i), *old,
			   *changed;
		_cleanup_free_ char *was = NULL, *other = NULL;

		assert_int_equal(json_get_string(manifest, name, &old, &err), 0);
		was = xstrdup(old);
		other = xasprintf("%s", was);
		/* One character: another digit, or another letter. */
		other[strlen(other) - 1] = other[strlen(other) - 1] == '7' ? '8' : '7';
		json_set_string(manifest, name, other);
		changed = json_object_to_json_string(manifest);
		assert_int_equal(file_write_atomic(AT_FDCWD, path, changed,
					 strlen(changed), 0400, &err),
			0);
		acquire_nothing(name);
		json_set_string(manifest, name, was);
	}
	ctl("status", 0, "template   unsound");
	assert_int_equal(
		file_write_atomic(AT_FDCWD, path, text, strlen(text), 0400, &err), 0);
	grant();
}

/* ---- builds that fail ---- */

static void test_status_during_build(void **state)
{
	_cleanup_free_ char *id = current_id(), *again = NULL;
	struct refresh refresh;
	struct lease lease;
	uint64_t best = UINT64_MAX;
	int qemu;

	(void)state;
	qemu = refresh_until_qemu(&refresh);
	for (int i = 0; i < 5; i++)
		best = MIN(best, status_us());
	print_message("# the status takes %llu us while a template is built\n",
		(unsigned long long)best);
	/* The old one serves. */
	acquire_template(&lease);
	assert_string_equal(lease.generation, id);
	lease_release(&lease);
	/* QEMU dies: the build fails by name, the old one goes on. */
	assert_int_equal(pidfd_kill(qemu, SIGKILL), 0);
	pthread_join(refresh.thread, NULL);
	assert_int_equal(refresh.result, -EREMOTEIO);
	assert_in(refresh.err.text, "boot: ");
	assert_ended(qemu);
	assert_nothing_half_done();
	grant();
	again = current_id();
	assert_string_equal(again, id);
	ctl("status", 0, "FAILED");
}

/* kill -9 in the middle of a build, and a new start: consistent. */
static void test_killed_during_build(void **state)
{
	_cleanup_free_ char *id = current_id(), *again = NULL;
	struct refresh refresh;
	int qemu;

	(void)state;
	qemu = refresh_until_qemu(&refresh);
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	pthread_join(refresh.thread, NULL);
	assert_true(refresh.result < 0);
	start_daemon();
	assert_ended(qemu);
	assert_nothing_half_done();
	again = current_id();
	assert_string_equal(again, id);
}

/* SIGTERM in the middle of one: QEMU ends,
 * the published template stays for the next start. */
static void test_terminated_during_build(void **state)
{
	_cleanup_free_ char *id = current_id(), *again = NULL;
	pid_t sandbox = sandbox_start();
	struct refresh refresh;
	int qemu;

	(void)state;
	qemu = refresh_until_qemu(&refresh);
	stop_daemon(SIGTERM, 0);
	assert_ended(qemu);
	pthread_join(refresh.thread, NULL);
	assert_true(refresh.result < 0);
	assert_in(refresh.err.text, "cancelled");
	assert_nothing_half_done();
	assert_int_equal(access(DIR_ "/sock", F_OK), -1);
	assert_int_equal(access(TEMPLATE ".lock", F_OK), -1);
	/* So does the lease. */
	start_daemon();
	ctl("status", 0, "sandbox-2");
	sandbox_end(sandbox);
	again = current_id();
	assert_string_equal(again, id);
}

static void fail_build(const char *lines, const char *why)
{
	stop_daemon(SIGTERM, 0);
	configure(lines);
	start_daemon();
	ctl("refresh", 1, why);
	assert_nothing_half_done();
}

static void test_failing_builds(void **state)
{
	_cleanup_free_ char *id = current_id(), *again = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(
		file_write_atomic(AT_FDCWD, DIR_ "/text", "text", 4, 0755, &err), 0);
	fail_build("[hypervisor]\nkernel = " DIR_ "/text\n", "neither a bzImage");
	fail_build("[hypervisor]\nkernel = /nowhere\n", "/nowhere");
	fail_build("[hypervisor]\ninitrd = /nowhere\n", "/nowhere");
	fail_build("[hypervisor]\npath = /bin/true\n", "/bin/true");
	fail_build("[hypervisor]\npath = " DIR_ "/text\n", DIR_ "/text");
	fail_build("boot_timeout_ms = 100\n",
		"boot: the guest's agent did not answer within 100 ms");
	/* The size: of the configuration, and of what is free. */
	fail_build("[factory]\ntmpfs_size = 100M\n[hypervisor]\ndefault_memory = 1024\n",
		"MiB) are needed");
	stop_daemon(SIGTERM, 0);
	configure("");
	start_daemon();
	again = current_id();
	assert_string_equal(again, id);
	/* kill -9 of a daemon that does nothing. */
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	start_daemon();
	grant();
}

/* The end of the template: its memory cut, then its state; what is left is replaced. */
static void test_damaged(void **state)
{
	_cleanup_free_ char *id = current_id(), *memory = NULL, *device = NULL,
			    *text = NULL;

	(void)state;
	memory = xasprintf(TEMPLATE "/%s/memory", id);
	device = xasprintf(TEMPLATE "/%s/state", id);
	assert_int_equal(truncate(memory, 4096), 0);
	acquire_nothing(
		"memory_bytes: the manifest says 268435456, the file memory has 4096");
	assert_int_equal(truncate(memory, 268435456), 0);
	assert_int_equal(truncate(device, 1000), 0);
	acquire_nothing("state_bytes: the manifest says");
	/* A new start names it, removes it and builds another. */
	stop_daemon(SIGTERM, 0);
	unlink(DIR_ "/log");
	start_daemon();
	ctl("init", 0, "generation 0");
	assert_int_equal(access(device, F_OK), -1);
	text = read_text(DIR_ "/log");
	assert_in(text, "removing an unsound template");
	assert_in(text, id);
}

/* Destroyed while a sandbox has it: gone with the sandbox. */
static void test_destroy(void **state)
{
	struct tmpfs_usage usage;
	struct err err = ERR_INIT;
	struct lease lease;

	(void)state;
	acquire_template(&lease);
	ctl("destroy", 0, "held by sandbox-1");
	assert_int_equal(tmpfs_look(TEMPLATE, &usage, &err), 0);
	assert_true(usage.mounted);
	acquire_nothing("there is no template");
	lease_release(&lease);
	/* templated hears of it in its own time. */
	while (leases_of("retired") >= 0)
		;
	ctl("destroy", 0, "removed");
	assert_int_equal(tmpfs_look(TEMPLATE, &usage, &err), 0);
	assert_false(usage.mounted);
	stop_daemon(SIGINT, 0);
}

/* A template_path that can't be one: templated runs,
 * and says why there is no template. */
static void bad_path(const char *why)
{
	start_daemon();
	ctl("init", 1, why);
	acquire_nothing(why);
	ctl("destroy", 1, why);
	stop_daemon(SIGTERM, 0);
}

static void test_bad_paths(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(rmdir(TEMPLATE), 0);
	assert_int_equal(symlink("/tmp", TEMPLATE), 0);
	bad_path(TEMPLATE " is a symbolic link");
	assert_int_equal(unlink(TEMPLATE), 0);
	assert_int_equal(mkdir(TEMPLATE, 0755), 0);
	assert_int_equal(chown(TEMPLATE, 7, 0), 0);
	bad_path(TEMPLATE " belongs to uid 7, not to root");
	assert_int_equal(chown(TEMPLATE, 0, 0), 0);
	assert_int_equal(
		file_write_atomic(AT_FDCWD, TEMPLATE "/mine", "x", 1, 0600, &err), 0);
	start_daemon();
	ctl("init", 1, "is a folder on disk with files in it (mine)");
	stop_daemon(SIGTERM, 0);
	assert_int_equal(access(TEMPLATE "/mine", F_OK), 0);
	assert_int_equal(unlink(TEMPLATE "/mine"), 0);
	assert_int_equal(mount("proc", TEMPLATE, "proc", 0, NULL), 0);
	bad_path("a mounted file system that is not tmpfs");
	assert_int_equal(umount(TEMPLATE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_running),
		cmocka_unit_test(test_init_and_grant),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_second_daemon),
		cmocka_unit_test(test_second_daemon_elsewhere),
		cmocka_unit_test(test_strange_clients),
		cmocka_unit_test(test_other_configuration),
		cmocka_unit_test(test_tampered_manifest),
		cmocka_unit_test(test_status_during_build),
		cmocka_unit_test(test_killed_during_build),
		cmocka_unit_test(test_terminated_during_build),
		cmocka_unit_test(test_failing_builds),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_destroy),
		cmocka_unit_test(test_bad_paths),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
