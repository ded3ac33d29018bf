/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templated is killed at each step of a refresh, with a clone running: the next one finds
 * something consistent, nothing of the build is left, the clone goes on, and its old
 * generation is freed when it ends.
 */
#include "tests/integration/templated_fixture.h"

#include "agent-client/agent.h"
#include "vm/cgroup.h"

/* ---- a clone, in a process of its own as a shim's ---- */

static struct {
	pid_t pid;
	int fd; /* a byte there asks whether the guest answers, one back says so */
} clone_;

static int serve_clone(int fd)
{
	struct err err = ERR_INIT;
	struct lease lease;
	struct vm *vm;
	char byte;

	if (lease_acquire(&config, "clone", soon(), &lease, &err) < 0 ||
		lease.kind != LEASE_TEMPLATE) {
		fprintf(stderr, "clone: %s%s\n", err.text, lease.reason);
		return 1;
	}
	vm = clone_of(&lease);
	do {
		bool answers = agent_check(vm_agent(vm), soon(), &err) == 0;

		byte = answers ? 'y' : 'n';
		if (!answers)
			fprintf(stderr, "clone: %s\n", err.text);
	} while (write_full(fd, &byte, 1) == 0 && read_full(fd, &byte, 1) == 0);
	vm_free(vm);
	return 0;
}

static void clone_answers(void)
{
	char byte = 0;

	assert_int_equal(read_full(clone_.fd, &byte, 1), 0);
	assert_int_equal(byte, 'y');
}

static void clone_start(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	clone_.pid = fork();
	if (clone_.pid == 0) {
		close(pair[0]);
		_exit(serve_clone(pair[1]));
	}
	close(pair[1]);
	clone_.fd = pair[0];
	clone_answers();
}

static void clone_ask(void)
{
	assert_int_equal(write_full(clone_.fd, "?", 1), 0);
	clone_answers();
}

static void clone_end(void)
{
	close(clone_.fd);
	assert_int_equal(end_of(clone_.pid), 0);
}

/* As by SIGKILL of a shim: somebody cleans up behind it. */
static void clone_kill(void)
{
	struct err err = ERR_INIT;

	kill(clone_.pid, SIGKILL);
	assert_int_equal(end_of(clone_.pid), 1000 + SIGKILL);
	close(clone_.fd);
	if (vm_sweep(&config, "default", "clone", &err) < 0)
		fail_msg("%s", err.text);
}

/* ---- the kill ---- */

static const char *kill_at;
static struct vm_record killed; /* the build's VM, if there was one at the kill */

static void read_build_vm(void)
{
	killed = (struct vm_record){0};
	vm_for_each(&config, note_own, &killed);
}

static void at_step(const char *step)
{
	if (!kill_at || strcmp(step, kill_at) != 0)
		return;
	read_build_vm();
	kill(daemon_pid, SIGKILL);
	kill_at = NULL;
}

static void refresh_and_kill(const char *step)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct err err = ERR_INIT;

	kill_at = step;
	if (ctl_ask(&config, LEASE_VERB_REFRESH, at_step, &reply, &err) == 0 &&
		strcmp(step, "saved") != 0)
		fail_msg("templated was not killed at %s", step);
	assert_null(kill_at);
	assert_int_equal(end_of(daemon_pid), 1000 + SIGKILL);
	daemon_pid = 0;
}

/* ---- what is left ---- */

static uint64_t used_bytes(void)
{
	struct tmpfs_usage usage;
	struct err err = ERR_INIT;

	assert_int_equal(tmpfs_look(TEMPLATE, &usage, &err), 0);
	return usage.used_bytes;
}

static void assert_no_cgroup(const char *name)
{
	static const char *const roots[] = {"", "memory/", "cpu/", "pids/", "unified/"};

	for (size_t i = 0; *name && i < ARRAY_SIZE(roots); i++) {
		_cleanup_free_ char *path =
			xasprintf("/sys/fs/cgroup/%s%s", roots[i], name);

		assert_int_equal(access(path, F_OK), -1);
	}
}

/* clones: the VMs that there are. */
static void assert_consistent(int clones)
{
	int pidfd;

	assert_nothing_half_done();
	/* Ended, even where nobody has waited for it yet. */
	if (killed.qemu.pid > 0 && proc_open(&killed.qemu, &pidfd) == 0)
		assert_ended(pidfd);
	assert_no_cgroup(killed.cgroup);
	assert_int_equal(count_vms(), clones);
}

static void one_step(const char *step, bool kill_clone)
{
	bool published = strcmp(step, "saved") == 0;
	_cleanup_free_ char *id = NULL, *now = NULL;
	uint64_t used;

	ctl("init", 0, "generation 0");
	id = current_id();
	used = used_bytes();
	clone_start();
	refresh_and_kill(step);
	clone_ask();
	start_daemon();
	ctl("init", 0, "up to date");
	assert_consistent(1);
	now = current_id();
	assert_int_equal(strcmp(now, id) == 0, !published);
	assert_int_equal(leases_of(published ? "retired" : "current"), 1);
	if (!published)
		assert_true(used_bytes() < used + MiB);
	clone_ask();
	/* A refresh without a kill: the old one goes with the clone. */
	ctl("refresh", 0, "published");
	assert_int_equal(leases_of("retired"), 1);
	clone_ask();
	if (kill_clone)
		clone_kill();
	else
		clone_end();
	while (leases_of("retired") >= 0)
		;
	assert_consistent(0);
	assert_true(used_bytes() < used + 16 * MiB);
}

static void test_booting(void **state)
{
	(void)state;
	start_daemon();
	one_step("booting", false);
}

static void test_agent_up(void **state)
{
	(void)state;
	one_step("agent up", true);
}

static void test_compacting(void **state)
{
	(void)state;
	one_step("compacting", false);
}

static void test_saved(void **state)
{
	(void)state;
	one_step("saved", true);
}

/* While QEMU boots, and without any step in between. */
static void test_qemu_runs(void **state)
{
	struct refresh refresh;
	int qemu;

	(void)state;
	clone_start();
	qemu = refresh_until_qemu(&refresh);
	read_build_vm();
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	pthread_join(refresh.thread, NULL);
	clone_ask();
	start_daemon();
	ctl("init", 0, "up to date");
	assert_ended(qemu);
	assert_consistent(1);
	clone_ask();
	clone_end();
}

/* The very first build: nothing of it stays, and there is a template in the end. */
static void test_first_build(void **state)
{
	static const char *const steps[] = {"booting", "agent up", "compacting"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		ctl("destroy", 0, "template: ");
		refresh_and_kill(steps[i]);
		start_daemon();
		ctl("init", 0, "generation 0");
		assert_consistent(0);
	}
	ctl("destroy", 0, "removed");
	stop_daemon(SIGTERM, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_booting),
		cmocka_unit_test(test_agent_up),
		cmocka_unit_test(test_compacting),
		cmocka_unit_test(test_saved),
		cmocka_unit_test(test_qemu_runs),
		cmocka_unit_test(test_first_build),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
