/* SPDX-License-Identifier: Apache-2.0 */
/* templated's cache with the real QEMU and guest: it is killed at each step of a
 * hand-over, and the sandbox is played by this process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/proc.h"
#include "base/util.h"
#include "templated/lease/client.h"
#include "tests/lib/patience.h"
#include "vm/handover.h"
#include "vm/sweep.h"

/* A tmpfs of this process' own mount namespace. */
#define DIR_ "/mnt"
#define CONF DIR_ "/stencil.conf"

static struct config config;
static pid_t daemon_pid;
static int log_fd = -1; /* of the daemon */

static char *path_in(const char *variable, const char *otherwise, const char *name)
{
	const char *folder = getenv(variable);

	return xasprintf("%s/%s", folder ? folder : otherwise, name);
}

static void configure(void)
{
	_cleanup_free_ char *kernel = path_in("STENCIL_GUEST", "build/guest", "vmlinuz");
	_cleanup_free_ char *initrd =
		path_in("STENCIL_GUEST", "build/guest", "initrd.img");
	_cleanup_free_ char *text = xasprintf(
		"[hypervisor]\nkernel = %s\ninitrd = %s\naccel = tcg\n"
		"[factory]\ntemplate_path = " DIR_ "/template\ntemplate_endpoint = " DIR_
		"/sock\nvm_cache_number = 1\n[runtime]\nstate_dir = " DIR_
		"/state\nboot_timeout_ms = %d\ncall_timeout_ms = %d\n",
		kernel, initrd, PATIENCE_MS, PATIENCE_MS);
	struct err err = ERR_INIT;

	config_init(&config);
	if (file_write_atomic(AT_FDCWD, CONF, text, strlen(text), 0600, &err) < 0 ||
		config_load(&config, CONF, &err) < 0)
		fail_msg("%s", err.text);
}

/* Reads the daemon's log up to a line with this text. */
static void wait_log(const char *text)
{
	int64_t deadline = soon();
	char line[2048], last[2048] = "";
	size_t len = 0;

	for (;;) {
		if (wait_fd(log_fd, POLLIN, deadline) < 0 ||
			read(log_fd, line + len, 1) != 1)
			fail_msg("no line with \"%s\"; the last: %s", text, last);
		if (line[len] != '\n') {
			len = MIN(len + 1, sizeof(line) - 1);
			continue;
		}
		line[len] = '\0';
		if (strstr(line, text))
			return;
		memcpy(last, line, len + 1);
		len = 0;
	}
}

static void start_daemon(void)
{
	_cleanup_free_ char *path = path_in("STENCIL_BUILD", "build", "templated");
	int fds[2];

	assert_int_equal(0, pipe2(fds, O_CLOEXEC));
	daemon_pid = fork();
	if (daemon_pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		execl(path, path, "--config", CONF, NULL);
		_exit(122);
	}
	close(fds[1]);
	close_fd(log_fd);
	log_fd = fds[0];
}

static void stop_daemon(int signal, int status)
{
	int got;

	assert_int_equal(0, kill(daemon_pid, signal));
	assert_int_equal(daemon_pid, waitpid(daemon_pid, &got, 0));
	assert_int_equal(
		status, WIFEXITED(got) ? WEXITSTATUS(got) : 1000 + WTERMSIG(got));
	daemon_pid = 0;
}

static void start_full(void)
{
	start_daemon();
	wait_log("1 of 1 are");
}

static void kill_and_restart(void)
{
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	start_full();
}

/* VMs of templated's own, and those that a sandbox has. */
struct count {
	int cached, taken;
};

static void count_vm(void *user, unsigned int number, const struct vm_record *record)
{
	struct count *count = user;

	(void)number;
	if (*record->namespace)
		count->taken++;
	else
		count->cached++;
}

static void assert_vms(int cached, int taken)
{
	struct count count = {0};

	vm_for_each(&config, count_vm, &count);
	assert_int_equal(cached, count.cached);
	assert_int_equal(taken, count.taken);
}

static void sweep(void)
{
	struct err err = ERR_INIT;

	if (vm_sweep(&config, "default", "pod-1", &err) < 0)
		fail_msg("%s", err.text);
}

static bool alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

static void acquire(struct lease *lease)
{
	struct err err = ERR_INIT;

	if (lease_acquire(&config, "pod-1", soon(), lease, &err) < 0)
		fail_msg("%s", err.text);
	if (lease->kind != LEASE_VM)
		fail_msg("no VM: %s", lease->reason);
}

static struct vm *new_vm(void)
{
	struct vm_options options = {
		.config = &config, .namespace = "default", .sandbox = "pod-1"};
	struct err err = ERR_INIT;
	struct vm *vm;

	if (vm_new(&options, &vm, &err) < 0)
		fail_msg("%s", err.text);
	return vm;
}

static struct vm *adopt(struct lease *lease)
{
	struct vm *vm = new_vm();
	struct err err = ERR_INIT;

	if (vm_adopt(vm, &lease->vm, &err) != 0)
		fail_msg("%s", err.text);
	return vm;
}

static void use(struct vm *vm)
{
	struct err err = ERR_INIT;

	if (vm_resume(vm, &err) < 0 || vm_make_unique(vm, "pod", &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_answers(struct vm *vm)
{
	struct err err = ERR_INIT;

	if (agent_check(vm_agent(vm), soon(), &err) < 0)
		fail_msg("%s", err.text);
}

/* The lease and the VM live on when templated is killed, and end with the sandbox. */
static void test_killed_after_taken(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;
	struct vm *vm;

	(void)state;
	start_full();
	acquire(&lease);
	vm = adopt(&lease);
	assert_int_equal(0, lease_taken(&lease, soon(), &err));
	use(vm);
	wait_log("is the sandbox pod-1's");
	wait_log("1 of 1 are");
	assert_vms(1, 1);
	kill_and_restart();
	assert_answers(vm);
	assert_vms(1, 1);
	vm_free(vm);
	lease_release(&lease);
	assert_vms(1, 0);
}

/* Killed when it has offered the VM: the sandbox takes it all the same. */
static void test_killed_after_offer(void **state)
{
	struct lease lease;
	struct vm *vm;

	(void)state;
	acquire(&lease);
	stop_daemon(SIGKILL, 1000 + SIGKILL);
	vm = adopt(&lease);
	/* Heard by nobody, but a child of templated on its way to QEMU may have held the
	 * socket still. */
	lease_taken(&lease, soon(), NULL);
	use(vm);
	start_full();
	assert_answers(vm);
	assert_vms(1, 1);
	vm_free(vm);
	lease_release(&lease);
	assert_vms(1, 0);
}

/* The next templated is faster than the sandbox: it ends the VM, the sandbox has none. */
static void test_restarted_after_offer(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;
	struct vm *vm = new_vm();

	(void)state;
	acquire(&lease);
	kill_and_restart();
	assert_false(alive(lease.vm.pid_fd));
	assert_int_equal(VM_WITHDRAWN, vm_adopt(vm, &lease.vm, &err));
	vm_free(vm);
	assert_vms(1, 0);
	lease_release(&lease);
}

/* A sandbox that was killed right behind its commit, and then templated, too. */
static void test_both_killed_at_commit(void **state)
{
	struct count count = {0};
	struct lease lease;
	pid_t pid;

	(void)state;
	acquire(&lease);
	pid = fork();
	if (pid == 0) {
		adopt(&lease);
		raise(SIGKILL);
	}
	assert_int_equal(pid, waitpid(pid, NULL, 0));
	vm_for_each(&config, count_vm, &count); /* and one that is made in its place */
	assert_int_equal(1, count.taken);
	assert_true(alive(lease.vm.pid_fd));
	/* The next templated's sweep is as good as `delete`, and before it. */
	kill_and_restart();
	assert_false(alive(lease.vm.pid_fd));
	assert_vms(1, 0);
	sweep();
	sweep();
	assert_vms(1, 0);
	lease_release(&lease);
}

/* A sandbox that was killed with the offer in hand: templated withdraws it. */
static void test_sandbox_killed_before_commit(void **state)
{
	_cleanup_close_ int pidfd = -1;
	struct lease lease;

	(void)state;
	acquire(&lease);
	pidfd = steal_fd(&lease.vm.pid_fd);
	lease_release(&lease);
	wait_log("did not take the cached VM");
	wait_log("1 of 1 are");
	assert_false(alive(pidfd));
	assert_vms(1, 0);
}

/* The end takes the cache along, and nothing else. */
static void test_end(void **state)
{
	struct lease lease;
	struct err err = ERR_INIT;
	struct vm *vm;

	(void)state;
	acquire(&lease);
	vm = adopt(&lease);
	assert_int_equal(0, lease_taken(&lease, soon(), &err));
	use(vm);
	stop_daemon(SIGTERM, 0);
	assert_vms(0, 1);
	assert_answers(vm);
	vm_free(vm);
	lease_release(&lease);
	assert_vms(0, 0);
}

static int enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", "/run", "tmpfs", 0, "mode=0755") < 0 ||
		mount("test", DIR_, "tmpfs", 0, "mode=0755") < 0)
		fail_msg("private mounts: %s (needs root)", strerror(errno));
	assert_int_equal(0, mkdir(DIR_ "/state", 0700));
	configure();
	return 0;
}

/* Whatever failed: nothing of it stays. */
static int leave(void **state)
{
	(void)state;
	if (daemon_pid > 0) {
		kill(daemon_pid, SIGTERM);
		waitpid(daemon_pid, NULL, 0);
	}
	config_done(&config);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_after_taken),
		cmocka_unit_test(test_killed_after_offer),
		cmocka_unit_test(test_restarted_after_offer),
		cmocka_unit_test(test_both_killed_at_commit),
		cmocka_unit_test(test_sandbox_killed_before_commit),
		cmocka_unit_test(test_end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, enter, leave);
}
