/* SPDX-License-Identifier: Apache-2.0 */
/* The shim as others than containerd 1.6 drive it: the Sandbox API, CRI-O's
 * and Docker's ways. */
#include "tests/integration/shim_world.h"

#include "shim/proto/containerd_sandbox.pb-c.h"

static void shut_down(struct ttrpc_client *client, const char *id)
{
	TASK(ShutdownRequest) request = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	call(client, "Shutdown", &request, NULL, NULL);
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
	BOX(SandboxStatusResponse) *out = NULL;

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
	BOX(PlatformResponse) *out = NULL;

	call(client, "Platform", &by_id, BOX_TYPE(platform_response), &out);
	assert_string_equal(out->platform->os, "linux");
	assert_string_equal(out->platform->architecture, "amd64");
	containerd__runtime__sandbox__v1__platform_response__free_unpacked(out, NULL);
}

static void assert_metrics(struct ttrpc_client *client)
{
	BOX(SandboxMetricsResponse) *out = NULL;

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
	BOX(WaitSandboxResponse) *out = NULL;

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
			  "\"{\\\"memory_limit_in_bytes\\\":268435456}\"",
			"read x");
	_cleanup_free_ char *spec = make_spec(
		"\"io.kubernetes.cri-o.ContainerType\":\"container\","
		"\"io.kubernetes.cri-o.SandboxID\":\"box\"",
		/* Twice the 256 MiB that a guest has by itself, less what its kernel
		 * takes. (A CPU more is not to be had from each guest's kernel under
		 * emulation.) */
		"read name kib unit </proc/meminfo; exit $((kib / 230000))");
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
	shut_down(client, "box");
	ttrpc_client_free(client);
	shim_ends();
}

/* ---- containerd 2 ---- */

static void end_task(struct ttrpc_client *client, const char *id)
{
	kill_task(client, id);
	assert_int_equal(wait_task(client, id), 137);
	delete_task_of(client, id);
}

/* It shuts the pod down when the pause container is deleted, whatever else there is. Of
 * that it asks for Delete alone, and leaves; it has a connection for each container. */
static void test_pause_first(void **state)
{
	_cleanup_free_ char *box = make_spec("\"io.kubernetes.cri.container-type\":"
					     "\"sandbox\"",
		"read x");
	_cleanup_free_ char *spec = make_spec("\"io.kubernetes.cri.container-type\":"
					      "\"container\",\"io.kubernetes.cri."
					      "sandbox-id\":\"box\"",
		"read x");
	_cleanup_free_ char *address = NULL;
	struct ttrpc_client *of_box, *of_other;

	(void)state;
	assert_int_equal(rename(DIR_ "/box", DIR_ "/first-box"), 0);
	make_bundle("box", box);
	make_bundle("other", spec);
	address = start_shim_in("box", "", CONTAINERD);
	of_box = connect_to(address);
	service = "containerd.task.v2.Task";
	create_task(of_box, "box");
	of_other = connect_to(address);
	create_task(of_other, "other");
	end_task(of_box, "box");
	shut_down(of_box, "box");
	ttrpc_client_free(of_box);
	end_task(of_other, "other");
	assert_int_equal(access(DIR_ "/state/default:box", F_OK), 0);
	ttrpc_client_free(of_other);
	shim_ends();
}

/* ---- a containerd that is killed ---- */

static void ask_for_pid(struct ttrpc_client *client)
{
	TASK(ConnectRequest) request = CONTAINERD__TASK__V2__CONNECT_REQUEST__INIT;

	request.id = (char *)"lost";
	call(client, "Connect", &request, NULL, NULL);
}

/* The next one may find no task, and so ask for nothing: it leaves with a container, and
 * the shim goes on; it leaves without one. */
static void test_left(void **state)
{
	_cleanup_free_ char *spec = make_spec("", "read x");
	_cleanup_free_ char *address = NULL;
	struct ttrpc_client *client;

	(void)state;
	make_bundle("lost", spec);
	address = start_shim_in("lost", "", CONTAINERD);
	/* Not yet: who is only seen to be there is no reason. */
	ttrpc_client_free(connect_to(address));
	client = connect_to(address);
	service = "containerd.task.v2.Task";
	create_task(client, "lost");
	ttrpc_client_free(client);
	client = connect_to(address);
	ask_for_pid(client);
	end_task(client, "lost");
	ttrpc_client_free(client);
	shim_ends();
	assert_int_equal(access(DIR_ "/state/default:lost", F_OK), -1);
}

/* … or before there is one. */
static void test_left_early(void **state)
{
	_cleanup_free_ char *address = NULL;
	struct ttrpc_client *client;

	(void)state;
	make_bundle("early", NULL);
	address = start_shim_in("early", "", CONTAINERD);
	client = connect_to(address);
	service = "containerd.task.v2.Task";
	ask_for_pid(client);
	ttrpc_client_free(client);
	shim_ends();
	assert_int_equal(access(DIR_ "/state/default:early", F_OK), -1);
}

/* ---- Docker ---- */

static void run_shell(const char *command)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Its spec has a network namespace without a path. It gives the container an interface
 * when that has been created, by the pid, and the first thing that runs finds it. */
static void test_docker(void **state)
{
	_cleanup_free_ char *spec =
		make_spec("", "while read a b; do case $a in eth0:) n=1;; esac; done "
			      "</proc/net/dev; "
			      "while read a b; do case $b in 10.7.0.2) m=10;; esac; done "
			      "</proc/net/fib_trie; exit $((n + m))");
	_cleanup_free_ char *address = NULL, *give = NULL;
	struct ttrpc_client *client;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	make_bundle("docked", spec);
	address = start_shim_in("docked", "", CONTAINERD);
	client = connect_to(address);
	service = "containerd.task.v2.Task";
	give = xasprintf(
		"P=%u; ip link add v0 type veth peer name v1 && ip link set v1 netns $P && "
		"nsenter --net=/proc/$P/ns/net sh -c 'ip link set v1 name eth0; "
		"ip address add 10.7.0.2/16 dev eth0; ip link set eth0 up'",
		create_only(client, "docked"));
	run_shell(give);
	start_task(client, "docked");
	assert_int_equal(wait_task(client, "docked"), 11);
	delete_task_of(client, "docked");
	shut_down(client, "docked");
	ttrpc_client_free(client);
	shim_ends();
}

/* ---- a shim that nobody has heard of ---- */

/* A pipe that nobody can write to. */
static void fill_pipe(int ret_fds[2])
{
	static const char zeros[4096];

	assert_int_equal(pipe2(ret_fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(ret_fds[1], zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(fcntl(ret_fds[1], F_SETFL, 0), 0);
}

static void wait_child(pid_t parent)
{
	_cleanup_free_ char *path =
		xasprintf("/proc/%d/task/%d/children", (int)parent, (int)parent);
	int64_t deadline = soon();
	size_t len = 0;

	while (len == 0) {
		_cleanup_free_ char *text = NULL;
		struct err err = ERR_INIT;

		assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &len, &err), 0);
		assert_true(now_ms() < deadline);
	}
}

/* `start` is killed before it has said where it is: the shim ends by itself. */
static void test_unheard(void **state)
{
	int fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(rename(DIR_ "/box", DIR_ "/oldest-box"), 0);
	make_bundle("box", NULL);
	fill_pipe(fds);
	pid = fork_start("box", "", CONTAINERD, fds[1]);
	wait_child(pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	close(fds[0]);
	close(fds[1]);
	shim_ends();
}

/* `start` can't say where it is, and undoes what it has made. */
static void test_untold(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), status;
	pid_t pid;

	(void)state;
	assert_int_equal(rename(DIR_ "/box", DIR_ "/older-box"), 0);
	make_bundle("box", NULL);
	pid = fork_start("box", "", CONTAINERD, full);
	close(full);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	shim_ends();
	assert_int_equal(access(DIR_ "/state/default:box", F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sandbox),
		cmocka_unit_test(test_crio),
		cmocka_unit_test(test_unheard),
		cmocka_unit_test(test_untold),
		cmocka_unit_test(test_docker),
		cmocka_unit_test(test_pause_first),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_left_early),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root: VMs and mounts\n");
		return 0;
	}
	return cmocka_run_group_tests_name(
		"integration/shim", tests, world_enter, world_leave);
}
