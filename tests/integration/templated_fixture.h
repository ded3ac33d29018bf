/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templated and templatectl as they are installed, in a process's own mounts, with the
 * real QEMU and the real guest. For one file of a program: it defines functions.
 */
#pragma once

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
#include "templated/lease/client.h"
#include "tests/lib/patience.h"
#include "vm/number.h"
#include "vm/sweep.h"
#include "vm/vm.h"

/* A tmpfs of this process' own mount namespace. */
#define DIR_     "/mnt"
#define CONF     DIR_ "/stencil.conf"
#define TEMPLATE DIR_ "/template"
#define NOTIFY   DIR_ "/notify"
#define VMS      DIR_ "/state/" VM_FOLDERS

static struct config config;

/* ---- files and programs ---- */

static inline char *build_path(const char *name)
{
	const char *build = getenv("STENCIL_BUILD");

	return xasprintf("%s/%s", build ? build : "build", name);
}

static inline char *guest_path(const char *name)
{
	const char *guest = getenv("STENCIL_GUEST");
	_cleanup_free_ char *inside = xasprintf("guest/%s", name);
	char *path = guest ? xasprintf("%s/%s", guest, name) : build_path(inside);

	if (access(path, R_OK) < 0)
		fail_msg("%s is missing: run `make guest`", path);
	return path;
}

/* The configuration of both ends; `more` are lines behind it. */
static inline void configure(const char *more)
{
	_cleanup_free_ char *kernel = guest_path("vmlinuz"),
			    *initrd = guest_path("initrd.img");
	const char *qemu = getenv("STENCIL_QEMU");
	_cleanup_free_ char *text =
		xasprintf("[hypervisor]\nkernel = %s\ninitrd = %s\naccel = tcg\n%s%s%s"
			  "[factory]\ntemplate_path = " TEMPLATE
			  "\ntemplate_endpoint = " DIR_ "/sock\n"
			  "[images]\npath = " DIR_ "/images\n"
			  "[runtime]\nstate_dir = " DIR_
			  "/state\nboot_timeout_ms = %d\ncall_timeout_ms = %d\n%s",
			kernel, initrd, qemu ? "path = " : "", qemu ? qemu : "",
			qemu ? "\n" : "", PATIENCE_MS, PATIENCE_MS, more);
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, CONF, text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", err.text);
	config_done(&config);
	config_init(&config);
	if (config_load(&config, CONF, &err) < 0)
		fail_msg("%s", err.text);
}

/* Starts one of our programs with its output in `out` (appended). */
static inline pid_t start(
	const char *program, const char *verb, const char *out, uid_t uid)
{
	_cleanup_free_ char *path = build_path(program);
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		/* The user may not come to the program by its path,
		 * as to one in /root. */
		int program_fd = open(path, O_PATH | O_CLOEXEC);

		if (program_fd < 0 || fd < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
			dup2(fd, STDERR_FILENO) < 0)
			_exit(120);
		if (uid && (setgid(uid) < 0 || setuid(uid) < 0))
			_exit(121);
		setenv("NOTIFY_SOCKET", NOTIFY, 1);
		fexecve(program_fd,
			(char *[]){(char *)(uintptr_t)program, "--config", CONF,
				(char *)(uintptr_t)verb, NULL},
			environ);
		_exit(122);
	}
	return pid;
}

/* Exit status, or 1000 + signal. */
static inline int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline char *read_text(const char *path)
{
	struct err err = ERR_INIT;
	char *text;
	size_t len;

	if (file_read(AT_FDCWD, path, MiB, &text, &len, &err) < 0)
		fail_msg("%s", err.text);
	return text;
}

static inline void assert_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* Runs templatectl: its exit status, and what it said. */
static inline void ctl_as(uid_t uid, const char *verb, int status, const char *says)
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

static inline void ctl(const char *verb, int status, const char *says)
{
	ctl_as(0, verb, status, says);
}

/* ---- the daemon ---- */

static pid_t daemon_pid;
static int notify_fd = -1;

static inline void start_daemon(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = NOTIFY};
	char message[256];
	ssize_t n;

	unlink(NOTIFY);
	close_fd(notify_fd);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(notify_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	daemon_pid = start("templated", NULL, DIR_ "/log", 0);
	n = sock_recv(notify_fd, message, sizeof(message) - 1, NULL, 0, soon());
	if (n <= 0) {
		kill(daemon_pid, SIGKILL);
		end_of(daemon_pid);
		fail_msg("templated is not ready: %s", read_text(DIR_ "/log"));
	}
	message[n] = '\0';
	assert_in(message, "READY=1");
}

static inline void stop_daemon(int signal, int status)
{
	assert_int_equal(kill(daemon_pid, signal), 0);
	assert_int_equal(end_of(daemon_pid), status);
	daemon_pid = 0;
}

/* ---- leases ---- */

static inline void acquire(struct lease *lease)
{
	struct err err = ERR_INIT;

	if (lease_acquire(&config, "sandbox-1", soon(), lease, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void acquire_template(struct lease *lease)
{
	acquire(lease);
	if (lease->kind != LEASE_TEMPLATE)
		fail_msg("no template: %s", lease->reason);
}

static inline void acquire_nothing(const char *why)
{
	struct lease lease;

	acquire(&lease);
	assert_int_equal(lease.kind, LEASE_NONE);
	assert_in(lease.reason, why);
	lease_release(&lease);
}

/* A generation's object in the status, by its state; the reply is the caller's. */
static inline struct json_object *find_generation(
	const char *state, struct json_object **ret_reply)
{
	struct json_object *status, *template, *list;
	struct err err = ERR_INIT;
	const char *found;

	if (ctl_ask(&config, LEASE_VERB_STATUS, NULL, ret_reply, &err) < 0 ||
		json_get_object(*ret_reply, "status", &status, &err) < 0 ||
		json_get_object(status, "template", &template, &err) < 0 ||
		json_get_array(template, "generations", &list, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *g = json_object_array_get_idx(list, i);

		if (json_get_string(g, "state", &found, &err) == 0 &&
			strcmp(found, state) == 0)
			return g;
	}
	return NULL;
}

/* How many leases a generation in this state has, -1 if there is none. */
static inline int leases_of(const char *state)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *g = find_generation(state, &reply);
	uint64_t n = 0;

	return g && json_get_u64(g, "leases", &n, NULL) == 0 ? (int)n : -1;
}

/* Without a lease: the next templated would find one of a living process. */
static inline char *current_id(void)
{
	_cleanup_json_ struct json_object *reply = NULL;
	struct json_object *g = find_generation("current", &reply);
	const char *id;

	if (!g || json_get_string(g, "id", &id, NULL) < 0)
		fail_msg("there is no current generation");
	return xstrdup(id);
}

/* There is a template to be had; and templated has heard that we gave it back. */
static inline void grant(void)
{
	struct lease lease;

	acquire_template(&lease);
	lease_release(&lease);
	while (leases_of("current") > 0)
		;
}

/* As a shim makes it. */
static inline struct vm *clone_of(const struct lease *lease)
{
	struct vm_options options = {
		.config = &config, .namespace = "default", .sandbox = "clone"};
	struct vm_template template = {.memory_fd = lease->memory_fd,
		.state_fd = lease->state_fd,
		.manifest = &lease->manifest,
		.generation = lease->generation};
	struct err err = ERR_INIT;
	struct vm *vm;

	if (vm_new(&options, &vm, &err) < 0 || vm_clone(vm, &template, &err) < 0)
		fail_msg("%s", err.text);
	return vm;
}

/* A sandbox: a process that holds a lease until sandbox_end(). */
static inline pid_t sandbox_start(void)
{
	int ready[2];
	char ok = 0;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct err err = ERR_INIT;
		struct lease lease;

		if (lease_acquire(&config, "sandbox-2", soon(), &lease, &err) < 0 ||
			lease.kind != LEASE_TEMPLATE || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &ok, 1), 1);
	close(ready[0]);
	return pid;
}

static inline void sandbox_end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(end_of(pid), 1000 + SIGKILL);
}

/* How long a request for the status takes. */
static inline uint64_t status_us(void)
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

static inline void *refresh_thread(void *arg)
{
	struct refresh *r = arg;
	_cleanup_json_ struct json_object *reply = NULL;

	r->result = ctl_ask(&config, LEASE_VERB_REFRESH, NULL, &reply, &r->err);
	return NULL;
}

/* Of the VM that templated makes for itself. */
static inline void note_own(
	void *user, unsigned int number, const struct vm_record *record)
{
	(void)number;
	if (!*record->namespace)
		*(struct vm_record *)user = *record;
}

static inline int find_qemu(struct proc_id *ret)
{
	struct vm_record record = {0};

	vm_for_each(&config, note_own, &record);
	if (record.qemu.pid == 0)
		return -ENOENT;
	*ret = record.qemu;
	return 0;
}

/* How many VMs there are. */
static inline void count_vm(
	void *user, unsigned int number, const struct vm_record *record)
{
	(void)number;
	(void)record;
	++*(int *)user;
}

static inline int count_vms(void)
{
	int n = 0;

	vm_for_each(&config, count_vm, &n);
	return n;
}

/* Starts a refresh and waits until its QEMU runs; a pidfd of it. */
static inline int refresh_until_qemu(struct refresh *r)
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
		assert_int_equal(wait_fd(watch, POLLIN, soon()), 0);
		assert_true(read(watch, events, sizeof(events)) > 0);
	}
	close(watch);
	assert_int_equal(proc_open(&qemu, &pidfd), 0);
	return pidfd;
}

static inline void assert_ended(int pidfd)
{
	assert_int_equal(pidfd_wait(pidfd, soon()), 0);
	close(pidfd);
}

static inline void assert_nothing_half_done(void)
{
	_cleanup_closedir_ DIR *dir = opendir(TEMPLATE);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		assert_true(strncmp(entry->d_name, ".new-", 5) != 0 &&
			    strncmp(entry->d_name, ".old-", 5) != 0);
	assert_int_equal(find_qemu(&(struct proc_id){0}), -ENOENT);
}

static inline int enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", "/run", "tmpfs", 0, "mode=0755") < 0 ||
		mount("test", DIR_, "tmpfs", 0, "mode=0755") < 0)
		fail_msg("private mounts: %s (needs root)", strerror(errno));
	assert_int_equal(mkdir(DIR_ "/state", 0700), 0);
	config_init(&config);
	configure("");
	return 0;
}

/* Whatever failed: nothing of it stays. */
static inline int leave(void **state)
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
