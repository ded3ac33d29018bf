/* SPDX-License-Identifier: Apache-2.0 */
/* The shim as others than containerd 1.6 drive it: the Sandbox API, and CRI-O's way. */
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
#include "shim/proto/containerd_sandbox.pb-c.h"
#include "shim/proto/containerd_task.pb-c.h"

#define DIR_       "/mnt"
#define CONF       DIR_ "/stencil.conf"
#define CONTAINERD DIR_ "/containerd"

static char *build_file(const char *name)
{
	const char *build = getenv("STENCIL_BUILD");

	return xasprintf("%s/%s", build ? build : "build", name);
}

static void write_text(const char *path, mode_t mode, const char *text)
{
	struct err err = ERR_INIT;

	if (file_write_atomic(AT_FDCWD, path, text, strlen(text), mode, &err) < 0)
		fail_msg("%s", err.text);
}

static int world_enter(void **state)
{
	const char *guest = getenv("STENCIL_GUEST");
	_cleanup_free_ char *files = build_file("stencil-files");
	_cleanup_free_ char *text =
		xasprintf("[hypervisor]\nkernel = %s/vmlinuz\ninitrd = %s/initrd.img\n"
			  "[factory]\nenable_template = false\n"
			  "[runtime]\nfile_server = %s\nstate_dir = " DIR_ "/state\n"
			  "cgroup_parent = stencil-test-%d\n"
			  "boot_timeout_ms = %d\ncall_timeout_ms = %d\n",
			guest ? guest : "build/guest", guest ? guest : "build/guest",
			files, (int)getpid(), PATIENCE_MS, PATIENCE_MS);

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
static void end_children(void)
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

static int world_leave(void **state)
{
	(void)state;
	end_children();
	return umount2(DIR_, MNT_DETACH);
}

/* ---- bundles ---- */

/* A folder with a root file system, and a spec unless it is NULL. */
static void make_bundle(const char *name, const char *spec)
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

static char *make_spec(const char *annotations, const char *script)
{
	return xasprintf("{\"ociVersion\":\"1.2.0\",\"process\":{\"cwd\":\"/\",\"args\":"
			 "[\"/sh\",\"-c\",\"%s\"]},\"root\":{\"path\":\"rootfs\"},"
			 "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","
			 "\"source\":\"proc\"}],\"annotations\":{%s},"
			 "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},"
			 "{\"type\":\"network\"}]}}",
		script, annotations);
}

/* ---- the shim ---- */

/* What its `start` prints in a bundle, called as containerd's libraries call it. */
static char *start_shim_in(const char *bundle, const char *address, const char *publisher)
{
	_cleanup_free_ char *program = build_file("containerd-shim-stencil-v2"),
			    *folder = xasprintf(DIR_ "/%s", bundle);
	char *answer = xzalloc(1024);
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (dup2(null, 0) < 0 || dup2(fds[1], 1) < 0 || chdir(folder) < 0)
			_exit(120);
		setenv("MAX_SHIM_VERSION", "2", 1);
		execl(program, program, "-namespace", "default", "-address", address,
			"-publish-binary", publisher, "-id", bundle, "start", NULL);
		_exit(121);
	}
	close(fds[1]);
	n = read(fds[0], answer, 1023);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(n > 0);
	return answer;
}

static struct ttrpc_client *connect_to(const char *address)
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

static const char *service;

static int try_call(struct ttrpc_client *client, const char *method, const void *request,
	const ProtobufCMessageDescriptor *type, void *ret, struct err *err)
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

static void call(struct ttrpc_client *client, const char *method, const void *request,
	const ProtobufCMessageDescriptor *type, void *ret)
{
	struct err err = ERR_INIT;

	if (try_call(client, method, request, type, ret, &err) < 0)
		fail_msg("%s: %s", method, err.text);
}

/* Its process and those of its VM, which have become this one's children, end. */
static void shim_ends(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
	assert_int_equal(errno, ECHILD);
	assert_int_equal(access(DIR_ "/state/default:box", F_OK), -1);
}

/* ---- tasks ---- */

#define TASK(name)      Containerd__Task__V2__##name
#define TASK_TYPE(name) (&containerd__task__v2__##name##__descriptor)

static void create_task(struct ttrpc_client *client, const char *id)
{
	TASK(CreateTaskRequest) request = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	TASK(StartRequest) start = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	_cleanup_free_ char *bundle = xasprintf(DIR_ "/%s", id);

	request.id = start.id = (char *)(uintptr_t)id;
	request.bundle = bundle;
	call(client, "Create", &request, NULL, NULL);
	call(client, "Start", &start, NULL, NULL);
}

static unsigned int wait_task(struct ttrpc_client *client, const char *id)
{
	TASK(WaitRequest) request = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	TASK(WaitResponse) * out;
	unsigned int status;

	request.id = (char *)(uintptr_t)id;
	call(client, "Wait", &request, TASK_TYPE(wait_response), &out);
	status = out->exit_status;
	containerd__task__v2__wait_response__free_unpacked(out, NULL);
	return status;
}

static void delete_task_of(struct ttrpc_client *client, const char *id)
{
	TASK(DeleteRequest) request = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	call(client, "Delete", &request, NULL, NULL);
}

static void kill_task(struct ttrpc_client *client, const char *id)
{
	TASK(KillRequest) request = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	request.signal = 9;
	call(client, "Kill", &request, NULL, NULL);
}

/* ---- the Sandbox API ---- */

#define BOX(name)      Containerd__Runtime__Sandbox__V1__##name
#define BOX_TYPE(name) (&containerd__runtime__sandbox__v1__##name##__descriptor)

/* A request of each method with the sandbox's id and nothing else has the shape of
 * Ping's. */
static BOX(PingRequest) by_id = {
	PROTOBUF_C_MESSAGE_INIT(BOX_TYPE(ping_request)), (char *)"box"};

static void assert_box(struct ttrpc_client *client, const char *state, bool has_pid)
{
	BOX(SandboxStatusResponse) * out;

	service = "containerd.runtime.sandbox.v1.Sandbox";
	call(client, "SandboxStatus", &by_id, BOX_TYPE(sandbox_status_response), &out);
	assert_string_equal(out->sandbox_id, "box");
	assert_string_equal(out->state, state);
	assert_int_equal(out->pid > 0, has_pid);
	containerd__runtime__sandbox__v1__sandbox_status_response__free_unpacked(
		out, NULL);
}

static void assert_platform(struct ttrpc_client *client)
{
	BOX(PlatformResponse) * out;

	call(client, "Platform", &by_id, BOX_TYPE(platform_response), &out);
	assert_string_equal(out->platform->os, "linux");
	assert_string_equal(out->platform->architecture, "amd64");
	containerd__runtime__sandbox__v1__platform_response__free_unpacked(out, NULL);
}

static void assert_metrics(struct ttrpc_client *client)
{
	BOX(SandboxMetricsResponse) * out;

	call(client, "SandboxMetrics", &by_id, BOX_TYPE(sandbox_metrics_response), &out);
	assert_string_equal(out->metrics->id, "box");
	assert_string_equal(
		out->metrics->data->type_url, "io.containerd.cgroups.v1.Metrics");
	assert_true(out->metrics->data->value.len > 8);
	containerd__runtime__sandbox__v1__sandbox_metrics_response__free_unpacked(
		out, NULL);
}

static void assert_ended(struct ttrpc_client *client)
{
	BOX(WaitSandboxResponse) * out;

	call(client, "WaitSandbox", &by_id, BOX_TYPE(wait_sandbox_response), &out);
	assert_int_equal(out->exit_status, 137);
	assert_true(out->exited_at->seconds > 0);
	containerd__runtime__sandbox__v1__wait_sandbox_response__free_unpacked(out, NULL);
}

static void create_box(struct ttrpc_client *client)
{
	BOX(CreateSandboxRequest)
	request = CONTAINERD__RUNTIME__SANDBOX__V1__CREATE_SANDBOX_REQUEST__INIT;
	struct err err = ERR_INIT;

	service = "containerd.runtime.sandbox.v1.Sandbox";
	assert_error(try_call(client, "StartSandbox", &by_id, NULL, NULL, &err), -ENOENT,
		"StartSandbox: sandbox box was not created");
	request.sandbox_id = (char *)"box";
	request.bundle_path = (char *)DIR_ "/box";
	call(client, "CreateSandbox", &request, NULL, NULL);
	assert_error(try_call(client, "CreateSandbox", &request, NULL, NULL, &err),
		-EEXIST, "CreateSandbox: sandbox box exists already");
	request.sandbox_id = (char *)"other";
	assert_error(try_call(client, "CreateSandbox", &request, NULL, NULL, &err),
		-ENOENT, "CreateSandbox: this shim's sandbox is box, not other");
	assert_box(client, "SANDBOX_NOTREADY", false);
}

static void test_sandbox(void **state)
{
	_cleanup_free_ char *spec = make_spec("\"io.kubernetes.cri.container-type\":"
					      "\"container\",\"io.kubernetes.cri."
					      "sandbox-id\":\"box\"",
		"exit 7");
	_cleanup_free_ char *answer = NULL;
	struct ttrpc_client *client;
	char address[256];

	(void)state;
	write_text(
		CONTAINERD, 0700, "#!/bin/sh\necho containerd example.org/v2 v2.1.0\n");
	make_bundle("box", NULL);
	make_bundle("c1", spec);
	answer = start_shim_in("box", "/run/none.sock", CONTAINERD);
	assert_int_equal(sscanf(answer,
				 "{\"version\":3,\"address\":\"%200[^\"]\","
				 "\"protocol\":\"ttrpc\"}",
				 address),
		1);
	client = connect_to(address);
	create_box(client);
	call(client, "StartSandbox", &by_id, NULL, NULL);
	assert_box(client, "SANDBOX_READY", true);
	call(client, "PingSandbox", &by_id, NULL, NULL);
	assert_platform(client);
	assert_metrics(client);

	/* The pod is there before its first container and after its last one. */
	service = "containerd.task.v3.Task";
	create_task(client, "c1");
	assert_int_equal(wait_task(client, "c1"), 7);
	delete_task_of(client, "c1");
	assert_box(client, "SANDBOX_READY", true);

	call(client, "StopSandbox", &by_id, NULL, NULL);
	assert_ended(client);
	assert_box(client, "SANDBOX_NOTREADY", false);
	call(client, "StopSandbox", &by_id, NULL, NULL);
	call(client, "ShutdownSandbox", &by_id, NULL, NULL);
	ttrpc_client_free(client);
	shim_ends();
}

/* ---- CRI-O ---- */

/* It has no socket for events, and -publish-binary is itself. */
static void test_crio(void **state)
{
	_cleanup_free_ char *box =
		make_spec("\"io.kubernetes.cri-o.ContainerType\":\"sandbox\","
			  "\"io.kubernetes.cri-o.PodLinuxResources\":"
			  "\"{\\\"cpu_period\\\":100000,\\\"cpu_quota\\\":150000}\"",
			"read x");
	_cleanup_free_ char *spec = make_spec(
		"\"io.kubernetes.cri-o.ContainerType\":\"container\","
		"\"io.kubernetes.cri-o.SandboxID\":\"box\"",
		"while read a b; do case $a in processor) n=$((n + 1));; esac; done "
		"</proc/cpuinfo; exit $n");
	TASK(ShutdownRequest) shutdown = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	_cleanup_free_ char *address = NULL, *joined = NULL;
	struct ttrpc_client *client;

	(void)state;
	assert_int_equal(rename(DIR_ "/box", DIR_ "/old-box"), 0);
	make_bundle("box", box);
	make_bundle("c2", spec);
	write_text(CONTAINERD, 0700, "#!/bin/sh\necho crio version 1.30.0\n");
	address = start_shim_in("box", "", CONTAINERD);
	client = connect_to(address);
	service = "containerd.task.v2.Task";
	create_task(client, "box");
	joined = start_shim_in("c2", "", CONTAINERD);
	assert_string_equal(joined, address);
	create_task(client, "c2");
	assert_int_equal(wait_task(client, "c2"), 2);
	delete_task_of(client, "c2");
	kill_task(client, "box");
	assert_int_equal(wait_task(client, "box"), 137);
	delete_task_of(client, "box");
	shutdown.id = (char *)"box";
	call(client, "Shutdown", &shutdown, NULL, NULL);
	ttrpc_client_free(client);
	shim_ends();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sandbox),
		cmocka_unit_test(test_crio),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root: VMs and mounts\n");
		return 0;
	}
	return cmocka_run_group_tests_name(
		"integration/shim", tests, world_enter, world_leave);
}
