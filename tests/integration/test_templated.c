/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templated and templatectl as they are installed, with the real QEMU and the real guest:
 * leases, tampering, failures, kills.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/util.h"
#include "mm/tmpfs.h"
#include "templated/ctl.h"
#include "templated/lease.h"
#include "vm/record.h"
#include "vm/vm.h"

/* A tmpfs of this process' own mount namespace. */
#define DIR_     "/mnt"
#define CONF     DIR_ "/stencil.conf"
#define TEMPLATE DIR_ "/template"
#define NOTIFY   DIR_ "/notify"
#define VMS      DIR_ "/state/.templated"
/* A guest's boot in emulation on a loaded machine. */
#define BOOT_MS 120000

static struct config config;

/* ---- files and programs ---- */

static char *build_path(const char *name)
{
	const char *build = getenv("STENCIL_BUILD");

	return xasprintf("%s/%s", build ? build : "build", name);
}

static char *guest_path(const char *name)
{
	const char *guest = getenv("STENCIL_GUEST");
	_cleanup_free_ char *inside = xasprintf("guest/%s", name);
	char *path = guest ? xasprintf("%s/%s", guest, name) : build_path(inside);

	if (access(path, R_OK) < 0)
		fail_msg("%s is missing: run `make guest`", path);
	return path;
}

/* The configuration of both ends; `more` are lines behind it. */
static void configure(const char *more)
{
	_cleanup_free_ char *kernel = guest_path("vmlinuz"),
			    *initrd = guest_path("initrd.img");
	const char *qemu = getenv("STENCIL_QEMU");
	_cleanup_free_ char *text = xasprintf(
		"[hypervisor]\nkernel = %s\ninitrd = %s\naccel = tcg\n%s%s%s"
		"[factory]\ntemplate_path = " TEMPLATE "\ntemplate_endpoint = " DIR_
		"/sock\n"
		"[runtime]\nstate_dir = " DIR_ "/state\nboot_timeout_ms = %d\n%s",
		kernel, initrd, qemu ? "path = " : "", qemu ? qemu : "", qemu ? "\n" : "",
		BOOT_MS, more);
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, CONF, text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", err.text);
	config_done(&config);
	config_init(&config);
	if (config_load(&config, CONF, &err) < 0)
		fail_msg("%s", err.text);
}

/* Starts one of our programs with its output in `out` (appended). */
static pid_t start(const char *program, const char *verb, const char *out, uid_t uid)
{
	_cleanup_free_ char *path = build_path(program);
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

		if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
			_exit(120);
		if (uid && (setgid(uid) < 0 || setuid(uid) < 0))
			_exit(121);
		setenv("NOTIFY_SOCKET", NOTIFY, 1);
		execl(path, program, "--config", CONF, verb, NULL);
		_exit(122);
	}
	return pid;
}

/* Exit status, or 1000 + signal. */
static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static char *read_text(const char *path)
{
	struct err err = ERR_INIT;
	char *text;
	size_t len;

	if (file_read(AT_FDCWD, path, MiB, &text, &len, &err) < 0)
		fail_msg("%s", err.text);
	return text;
}

static void assert_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* Runs templatectl: its exit status, and what it said. */
static void ctl_as(uid_t uid, const char *verb, int status, const char *says)
{
	_cleanup_free_ char *text = NULL;
	int got;

	unlink(DIR_ "/out");
	got = end_of(start("templatectl", verb, DIR_ "/out", uid));
	text = read_text(DIR_ "/out");
	if (got != status)
		fail_msg("templatectl %s ended with %d and said: %s", verb, got, text);
	assert_in(text, says);
}

static void ctl(const char *verb, int status, const char *says)
{
	ctl_as(0, verb, status, says);
}

/* ---- the daemon ---- */

static pid_t daemon_pid;
static int notify_fd = -1;

static void start_daemon(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = NOTIFY};
	char message[256];
	ssize_t n;

	unlink(NOTIFY);
	close_fd(notify_fd);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(notify_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	daemon_pid = start("templated", NULL, DIR_ "/log", 0);
	n = sock_recv(notify_fd, message, sizeof(message) - 1, NULL, 0,
		deadline_after_ms(20000));
	if (n <= 0) {
		kill(daemon_pid, SIGKILL);
		end_of(daemon_pid);
		fail_msg("templated is not ready: %s", read_text(DIR_ "/log"));
	}
	message[n] = '\0';
	assert_in(message, "READY=1");
}

static void stop_daemon(int signal, int status)
{
	assert_int_equal(kill(daemon_pid, signal), 0);
	assert_int_equal(end_of(daemon_pid), status);
	daemon_pid = 0;
}

/* ---- leases ---- */

static void acquire(struct lease *lease)
{
	struct err err = ERR_INIT;

	if (lease_acquire(&config, "sandbox-1", deadline_after_ms(10000), lease, &err) <
		0)
		fail_msg("%s", err.text);
}

static void acquire_template(struct lease *lease)
{
	acquire(lease);
	if (lease->kind != LEASE_TEMPLATE)
		fail_msg("no template: %s", lease->reason);
}

static void acquire_nothing(const char *why)
{
	struct lease lease;

	acquire(&lease);
	assert_int_equal(lease.kind, LEASE_NONE);
	assert_in(lease.reason, why);
	lease_release(&lease);
}

static char *current_id(void)
{
	struct lease lease;
	char *id;

	acquire_template(&lease);
	id = xstrdup(lease.generation);
	lease_release(&lease);
	return id;
}

/* How long a request for the status takes. */
static uint64_t status_us(void)
{
	_cleanup_json_ struct json_object *reply = NULL;
	uint64_t began = now_us();
	struct err err = ERR_INIT;

	if (ctl_ask(&config, LEASE_VERB_STATUS, NULL, &reply, &err) < 0)
		fail_msg("%s", err.text);
	return now_us() - began;
}

/* ---- a build that runs ---- */

struct refresh {
	pthread_t thread;
	int result;
	struct err err;
};

static void *refresh_thread(void *arg)
{
	struct refresh *r = arg;
	_cleanup_json_ struct json_object *reply = NULL;

	r->result = ctl_ask(&config, LEASE_VERB_REFRESH, NULL, &reply, &r->err);
	return NULL;
}

/* The one VM that is written down below VMS, once there is one. */
static int find_qemu(struct proc_id *ret)
{
	_cleanup_closedir_ DIR *dir = opendir(VMS);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = xasprintf(VMS "/%s", entry->d_name);
		struct vm_record record;

		if (*entry->d_name == '.' || vm_record_read(path, &record, NULL) < 0 ||
			record.qemu.pid == 0)
			continue;
		*ret = record.qemu;
		return 0;
	}
	return -ENOENT;
}

/* Starts a refresh and waits until its QEMU runs; a pidfd of it. */
static int refresh_until_qemu(struct refresh *r)
{
	int watch = inotify_init1(IN_CLOEXEC), pidfd;
	struct proc_id qemu;
	char events[4096];

	/* Folders come and go below VMS: whatever happens in state/ or VMS/<id>/ is a
	 * reason to look again. */
	assert_true(inotify_add_watch(watch, DIR_ "/state", IN_CREATE) >= 0);
	*r = (struct refresh){0};
	assert_int_equal(thread_start(refresh_thread, r, 1 << 20, false, &r->thread), 0);
	while (find_qemu(&qemu) < 0) {
		_cleanup_closedir_ DIR *dir = opendir(VMS);
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			_cleanup_free_ char *path = xasprintf(VMS "/%s", entry->d_name);

			if (*entry->d_name != '.')
				inotify_add_watch(watch, path, IN_MOVED_TO);
		}
		inotify_add_watch(watch, VMS, IN_CREATE);
		if (find_qemu(&qemu) == 0)
			break;
		assert_int_equal(wait_fd(watch, POLLIN, deadline_after_ms(20000)), 0);
		assert_true(read(watch, events, sizeof(events)) > 0);
	}
	close(watch);
	assert_int_equal(proc_open(&qemu, &pidfd), 0);
	return pidfd;
}

static void assert_ended(int pidfd)
{
	assert_int_equal(pidfd_wait(pidfd, deadline_after_ms(10000)), 0);
	close(pidfd);
}

static void assert_nothing_half_done(void)
{
	_cleanup_closedir_ DIR *dir = opendir(TEMPLATE);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		assert_true(strncmp(entry->d_name, ".new-", 5) != 0 &&
			    strncmp(entry->d_name, ".old-", 5) != 0);
	assert_int_equal(access(VMS, F_OK), -1);
}

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
	ctl("init", 0, "generation 2");
	ctl("init", 0, "up to date");
	ctl("status", 0, "template   ready");
	for (int i = 0; i < 20; i++) {
		uint64_t began = now_us();

		acquire_template(&lease);
		best = MIN(best, now_us() - began);
		lease_release(&lease);
	}
	print_message("# a grant takes %llu us\n", (unsigned long long)best);
	/* Of two dozen the best is undisturbed by what else this machine does. */
	assert_true(best < 1000);
	acquire_template(&lease);
	assert_int_equal(fcntl(lease.memory_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	lease_release(&lease);
}

/* What was granted is a guest. */
static void test_clone(void **state)
{
	struct vm_options options = {
		.config = &config, .id = "clone", .dir = DIR_ "/clone"};
	struct err err = ERR_INIT;
	struct lease lease;
	struct vm *vm;

	(void)state;
	assert_int_equal(mkdir(DIR_ "/clone", 0700), 0);
	acquire_template(&lease);
	if (vm_clone(&options, lease.memory_fd, lease.state_fd, &lease.manifest, &vm,
		    &err) < 0)
		fail_msg("%s", err.text);
	vm_free(vm);
	lease_release(&lease);
	assert_int_equal(rmdir(DIR_ "/clone"), 0);
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
		{"[hypervisor]\nkernel = /bin/sh\n", "kernel_sha256: wanted "},
		{"[hypervisor]\nkernel = /nowhere\n", "/nowhere"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		configure(cases[i].lines);
		acquire_nothing(cases[i].why);
	}
	configure("");
	free(current_id());
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
	free(current_id());
}

/* ---- builds that fail ---- */

static void test_status_during_build(void **state)
{
	_cleanup_free_ char *id = current_id();
	struct refresh refresh;
	struct lease lease;
	uint64_t best = UINT64_MAX;
	int qemu;

	(void)state;
	qemu = refresh_until_qemu(&refresh);
	for (int i = 0; i < 5; i++)
		best = MIN(best, status_us());
	assert_true(best < 50000);
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
	acquire_template(&lease);
	assert_string_equal(lease.generation, id);
	lease_release(&lease);
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

/* SIGTERM in the middle of one: QEMU ends, the published template stays for the next
 * start. */
static void test_terminated_during_build(void **state)
{
	_cleanup_free_ char *id = current_id(), *again = NULL;
	struct refresh refresh;
	struct lease lease;
	int qemu;

	(void)state;
	acquire_template(&lease);
	qemu = refresh_until_qemu(&refresh);
	stop_daemon(SIGTERM, 0);
	assert_ended(qemu);
	pthread_join(refresh.thread, NULL);
	assert_true(refresh.result < 0);
	assert_in(refresh.err.text, "cancelled");
	assert_nothing_half_done();
	assert_int_equal(access(DIR_ "/sock", F_OK), -1);
	assert_int_equal(access(TEMPLATE ".lock", F_OK), -1);
	/* A lease's files outlive templated. */
	assert_int_equal(pread(lease.memory_fd, &(char){0}, 1, 0), 1);
	lease_release(&lease);
	start_daemon();
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
	free(current_id());
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
	ctl("init", 0, "generation 2");
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
	ctl("destroy", 0, "removed");
	assert_int_equal(tmpfs_look(TEMPLATE, &usage, &err), 0);
	assert_false(usage.mounted);
	stop_daemon(SIGINT, 0);
}

static int enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", DIR_, "tmpfs", 0, "mode=0755") < 0)
		fail_msg("private mounts: %s (needs root)", strerror(errno));
	assert_int_equal(mkdir(DIR_ "/state", 0700), 0);
	config_init(&config);
	configure("");
	return 0;
}

/* Whatever failed: nothing of it stays. */
static int leave(void **state)
{
	struct proc_id qemu;
	int pidfd;

	(void)state;
	if (daemon_pid > 0) {
		char *text = read_text(DIR_ "/log");

		fprintf(stderr, "%s\n", text);
		free(text);
		kill(daemon_pid, SIGKILL);
		end_of(daemon_pid);
	}
	if (find_qemu(&qemu) == 0 && proc_open(&qemu, &pidfd) == 0)
		pidfd_kill(pidfd, SIGKILL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_running),
		cmocka_unit_test(test_init_and_grant),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_second_daemon),
		cmocka_unit_test(test_other_configuration),
		cmocka_unit_test(test_tampered_manifest),
		cmocka_unit_test(test_status_during_build),
		cmocka_unit_test(test_killed_during_build),
		cmocka_unit_test(test_terminated_during_build),
		cmocka_unit_test(test_failing_builds),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_destroy),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
