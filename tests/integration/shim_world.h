/* SPDX-License-Identifier: Apache-2.0 */
/* A world with a shim that a test drives itself, without a containerd: bundles, the
 * shim's start, calls, tasks. */
#pragma once

#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/ttrpc/ttrpc.h"
#include "base/util.h"
#include "shim/proto/containerd_task.pb-c.h"

#define DIR_       "/mnt"
#define CONF       DIR_ "/stencil.conf"
#define CONTAINERD DIR_ "/containerd"

static inline char *build_file(const char *name)
{
	const char *build = getenv("STENCIL_BUILD");

	return xasprintf("%s/%s", build ? build : "build", name);
}

static inline void write_text(const char *path, mode_t mode, const char *text)
{
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, path, text, strlen(text), mode, &err) < 0)
		fail_msg("%s", err.text);
}

static inline int world_enter(void **state)
{
	const char *guest = getenv("STENCIL_GUEST");
	const char *qemu = getenv("STENCIL_QEMU");
	_cleanup_free_ char *files = build_file("stencil-files");
	_cleanup_free_ char *text =
		xasprintf("[hypervisor]\nkernel = %s/vmlinuz\ninitrd = %s/initrd.img\n"
			  "%s%s\n"
			  "[factory]\nenable_template = false\n"
			  "[runtime]\nfile_server = %s\nstate_dir = " DIR_ "/state\n"
			  "cgroup_parent = stencil-test-%d\n"
			  "boot_timeout_ms = %d\ncall_timeout_ms = %d\n",
			guest ? guest : "build/guest", guest ? guest : "build/guest",
			qemu ? "path = " : "", qemu ? qemu : "", files, (int)getpid(),
			PATIENCE_MS, PATIENCE_MS);

	(void)state;
	/* Shims are this process's to wait for when who started them has ended. */
	if (unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("test", DIR_, "tmpfs", 0, "mode=0755") < 0 ||
		prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return -1;
	write_text(CONF, 0600, text);
	return setenv("STENCIL_CONFIG", CONF, 1);
}

/* A shim of a test that failed still serves. */
static inline void end_children(void)
{
	_cleanup_free_ char *text = NULL, *path = xasprintf("/proc/self/task/%d/children",
						  (int)getpid());
	char *rest;
	size_t len;
	long pid;

	if (file_read(AT_FDCWD, path, 4096, &text, &len, NULL) < 0)
		return;
	for (rest = text; (pid = strtol(rest, &rest, 10)) > 0;) {
		kill((pid_t)pid, SIGTERM);
		waitpid((pid_t)pid, NULL, 0);
	}
}

static inline int world_leave(void **state)
{
	(void)state;
	end_children();
	return umount2(DIR_, MNT_DETACH);
}

/* ---- bundles ---- */

/* A folder with a root file system, and a spec unless it is NULL. */
static inline void make_bundle(const char *name, const char *spec)
{
	_cleanup_free_ char *bundle = xasprintf(DIR_ "/%s", name),
			    *root = xasprintf("%s/rootfs", bundle),
			    *to = xasprintf("%s/sh", root),
			    *dev = xasprintf("%s/dev", root),
			    *proc = xasprintf("%s/proc", root),
			    *config = xasprintf("%s/config.json", bundle), *text = NULL;
	const char *busybox = getenv("STENCIL_BUSYBOX");
	struct err err = ERR_INIT;
	size_t len;

	assert_int_equal(mkdir(bundle, 0711), 0);
	assert_int_equal(mkdir(root, 0755), 0);
	assert_int_equal(mkdir(dev, 0755), 0);
	assert_int_equal(mkdir(proc, 0555), 0);
	assert_non_null(busybox);
	if (file_read(AT_FDCWD, busybox, 16u << 20, &text, &len, &err) < 0 ||
		file_write_atomic(AT_FDCWD, to, text, len, 0755, &err) < 0)
		fail_msg("%s", err.text);
	if (spec)
		write_text(config, 0600, spec);
}

/* more: members of "linux", each with a comma before it. */
static inline char *make_spec_with(
	const char *annotations, const char *script, const char *more)
{
	return xasprintf("{\"ociVersion\":\"1.2.0\",\"process\":{\"cwd\":\"/\",\"args\":"
			 "[\"/sh\",\"-c\",\"%s\"]},\"root\":{\"path\":\"rootfs\"},"
			 "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","
			 "\"source\":\"proc\"},{\"destination\":\"/dev\",\"type\":"
			 "\"tmpfs\",\"source\":\"tmpfs\"}],\"annotations\":{%s},"
			 "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},"
			 "{\"type\":\"network\"}]%s}}",
		script, annotations, more);
}

static inline char *make_spec(const char *annotations, const char *script)
{
	return make_spec_with(annotations, script, "");
}

/* ---- the shim ---- */

/* Its `start` in a bundle, called as containerd's libraries call it. */
static inline pid_t fork_start(
	const char *bundle, const char *address, const char *publisher, int out_fd)
{
	_cleanup_free_ char *program = build_file("containerd-shim-stencil-v2"),
			    *folder = xasprintf(DIR_ "/%s", bundle);
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (dup2(null, 0) < 0 || dup2(out_fd, 1) < 0 || chdir(folder) < 0)
			_exit(120);
		setenv("MAX_SHIM_VERSION", "2", 1);
		execl(program, program, "-namespace", "default", "-address", address,
			"-publish-binary", publisher, "-id", bundle, "start", NULL);
		_exit(121);
	}
	return pid;
}

/* What it prints. */
static inline char *start_shim_in(
	const char *bundle, const char *address, const char *publisher)
{
	char *answer = xzalloc(1024);
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork_start(bundle, address, publisher, fds[1]);
	close(fds[1]);
	n = read(fds[0], answer, 1023);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(n > 0);
	return answer;
}

static inline struct ttrpc_client *connect_to(const char *address)
{
	struct ttrpc_client *client;
	struct err err = ERR_INIT;
	int fd;

	assert_int_equal(strncmp(address, "unix://", 7), 0);
	if (unix_connect(address + 7, SOCK_STREAM, soon(), &fd, &err) < 0 ||
		ttrpc_client_new(fd, &client, &err) < 0)
		fail_msg("%s", err.text);
	return client;
}

static const char *service; /* of the calls that follow */

static inline int try_call(struct ttrpc_client *client, const char *method,
	const void *request, const ProtobufCMessageDescriptor *type, void *ret,
	struct err *err)
{
	struct ttrpc_call call = {.service = service,
		.method = method,
		.request = request,
		.type = type,
		.deadline = soon()};
	ProtobufCMessage *out = NULL;
	int r = ttrpc_client_call(client, &call, &out, err);

	if (r == 0 && ret)
		*(ProtobufCMessage **)ret = out;
	return r;
}

static inline void call(struct ttrpc_client *client, const char *method,
	const void *request, const ProtobufCMessageDescriptor *type, void *ret)
{
	struct err err = ERR_INIT;

	if (try_call(client, method, request, type, ret, &err) < 0)
		fail_msg("%s: %s", method, err.text);
}

/* Its process and those of its VM, which have become this one's children, end. */
static inline void shim_ends(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
	assert_int_equal(errno, ECHILD);
	assert_int_equal(access(DIR_ "/state/default:box", F_OK), -1);
}

/* ---- tasks ---- */

#define TASK(name)      Containerd__Task__V2__##name
#define TASK_TYPE(name) (&containerd__task__v2__##name##__descriptor)

/* Answers the pid of what stands for it on the host. */
static inline unsigned int create_only(struct ttrpc_client *client, const char *id)
{
	TASK(CreateTaskRequest) request = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	TASK(CreateTaskResponse) *out = NULL;
	_cleanup_free_ char *bundle = xasprintf(DIR_ "/%s", id);
	unsigned int pid;

	request.id = (char *)(uintptr_t)id;
	request.bundle = bundle;
	call(client, "Create", &request, TASK_TYPE(create_task_response), &out);
	pid = out->pid;
	containerd__task__v2__create_task_response__free_unpacked(out, NULL);
	return pid;
}

static inline void start_task(struct ttrpc_client *client, const char *id)
{
	TASK(StartRequest) start = CONTAINERD__TASK__V2__START_REQUEST__INIT;

	start.id = (char *)(uintptr_t)id;
	call(client, "Start", &start, NULL, NULL);
}

static inline void create_task(struct ttrpc_client *client, const char *id)
{
	create_only(client, id);
	start_task(client, id);
}

static inline unsigned int wait_task(struct ttrpc_client *client, const char *id)
{
	TASK(WaitRequest) request = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	TASK(WaitResponse) *out = NULL;
	unsigned int status;

	request.id = (char *)(uintptr_t)id;
	call(client, "Wait", &request, TASK_TYPE(wait_response), &out);
	status = out->exit_status;
	containerd__task__v2__wait_response__free_unpacked(out, NULL);
	return status;
}

static inline void delete_task_of(struct ttrpc_client *client, const char *id)
{
	TASK(DeleteRequest) request = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	call(client, "Delete", &request, NULL, NULL);
}

static inline void kill_task(struct ttrpc_client *client, const char *id)
{
	TASK(KillRequest) request = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	request.signal = 9;
	call(client, "Kill", &request, NULL, NULL);
}
