/* SPDX-License-Identifier: Apache-2.0 */
/* guest/container, guest/exec and guest/crun: a container's life, and what is left of one
 * that could not be made. */
#include "tests/unit/guest_agent.h"
#include "tests/unit/guest_crun.h"
#include "tests/unit/guest_reaper.h"

#include "agent-client/agent.h"
#include "guest/init.h"
#include "guest/namespaces.h"

#define ROOT GUEST_SHARED_ROOT "/shared/c1/rootfs"

static struct guest guest;
static unsigned int fds_before;

static int begin(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	guest_start(&guest);
	guest.sandbox.running = true;
	assert_int_equal(agent_check(guest.agent, soon(), &err), 0);
	fds_before = count_fds();
	return 0;
}

static void assert_no_file(const char *path)
{
	if (access(path, F_OK) == 0)
		fail_msg("%s is there", path);
}

/* No container, process, file or descriptor of one. */
static int end(void **state)
{
	(void)state;
	assert_null(guest.sandbox.containers);
	assert_int_equal(guest.sandbox.n_containers, 0);
	assert_no_file(BUNDLE_DIR "/c1");
	assert_no_file(CRUN_ROOT "/c1");
	assert_int_equal(count_fds(), fds_before);
	assert_int_equal(kill(-1, 0), -1);
	guest_stop(&guest);
	return 0;
}

/* ---- asking ---- */

static int create_until(const char *what, const char *arg, bool terminal,
	int64_t deadline, struct err *err)
{
	Grpc__CreateContainerRequest req = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	char *args[] = {(char *)what, (char *)arg};
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__Linux linux_part = GRPC__LINUX__INIT;
	Grpc__Root root = GRPC__ROOT__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;

	process.args = args;
	process.n_args = 2;
	process.terminal = terminal;
	root.path = ROOT;
	spec.process = &process;
	spec.root = &root;
	spec.linux = &linux_part;
	req.container_id = "c1";
	req.oci = &spec;
	return agent_create_container(guest.agent, &req, deadline, err);
}

static void create_ok(const char *what, const char *arg, bool terminal)
{
	struct err err = ERR_INIT;

	if (create_until(what, arg, terminal, soon(), &err) < 0)
		fail_msg("%s", err.text);
}

static int start(struct err *err)
{
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;

	req.container_id = "c1";
	return agent_start_container(guest.agent, &req, soon(), err);
}

static int remove_it(struct err *err)
{
	Grpc__RemoveContainerRequest req = GRPC__REMOVE_CONTAINER_REQUEST__INIT;

	req.container_id = "c1";
	return agent_remove_container(guest.agent, &req, soon(), err);
}

static int exec_process(
	const char *id, const char *what, const char *arg, struct err *err)
{
	Grpc__ExecProcessRequest req = GRPC__EXEC_PROCESS_REQUEST__INIT;
	char *args[] = {(char *)what, (char *)arg};
	Grpc__Process process = GRPC__PROCESS__INIT;

	process.args = args;
	process.n_args = 2;
	req.container_id = "c1";
	req.exec_id = (char *)id;
	req.process = what ? &process : NULL;
	return agent_exec_process(guest.agent, &req, soon(), err);
}

static int status_of(const char *id)
{
	Grpc__WaitProcessRequest req = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *out = NULL;
	struct err err = ERR_INIT;
	int status;

	req.container_id = "c1";
	req.exec_id = (char *)id;
	if (agent_wait_process(guest.agent, &req, &out, soon(), &err) < 0)
		fail_msg("%s", err.text);
	status = out->status;
	grpc__wait_process_response__free_unpacked(out, NULL);
	return status;
}

static void write_stdin(const char *id, const char *text)
{
	Grpc__WriteStreamRequest req = GRPC__WRITE_STREAM_REQUEST__INIT;
	Grpc__WriteStreamResponse *out = NULL;
	struct err err = ERR_INIT;

	req.container_id = "c1";
	req.exec_id = (char *)id;
	req.data = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
	if (agent_write_input(guest.agent, &req, &out, NULL, &err) < 0)
		fail_msg("%s", err.text);
	grpc__write_stream_response__free_unpacked(out, NULL);
}

static void close_stdin(const char *id)
{
	Grpc__CloseStdinRequest req = GRPC__CLOSE_STDIN_REQUEST__INIT;
	struct err err = ERR_INIT;

	req.container_id = "c1";
	req.exec_id = (char *)id;
	assert_int_equal(agent_close_stdin(guest.agent, &req, soon(), &err), 0);
}

static void assert_stdout(const char *id, const char *text)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__ReadStreamResponse *out = NULL;
	struct err err = ERR_INIT;

	req.container_id = "c1";
	req.exec_id = (char *)id;
	req.len = 100;
	if (agent_read_output(guest.agent, false, &req, &out, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(out->data.len, strlen(text));
	assert_memory_equal(out->data.data, text, out->data.len);
	grpc__read_stream_response__free_unpacked(out, NULL);
}

/* Waits for the end of the stream. */
static void assert_no_more(const char *id)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__ReadStreamResponse *out = NULL;
	struct err err = ERR_INIT;

	req.container_id = "c1";
	req.exec_id = (char *)id;
	req.len = 100;
	assert_error(agent_read_output(guest.agent, false, &req, &out, NULL, &err),
		-EINVAL, "ReadStdout: eof");
}

/* ---- life ---- */

/* What the agent wrote for crun. */
static void assert_config(const char *text)
{
	_cleanup_json_ struct json_object *found = NULL, *want = NULL;
	_cleanup_free_ char *config = NULL;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, BUNDLE_DIR "/c1/config.json", 65536, &config,
				 &len, NULL),
		0);
	assert_int_equal(json_parse("config", config, len, 32, &found, NULL), 0);
	assert_int_equal(json_parse("text", text, strlen(text), 32, &want, NULL), 0);
	if (!json_object_equal(found, want))
		fail_msg("%s\ninstead of %s", config, text);
}

static void test_life(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	create_ok("exit", "7", false);
	assert_config(
		"{\"process\":{\"user\":{\"uid\":0,\"gid\":0},"
		"\"args\":[\"exit\",\"7\"]},"
		"\"root\":{\"path\":\"" ROOT "\"},"
		"\"linux\":{\"cgroupsPath\":\"/stencil/c1\","
		"\"namespaces\":[{\"type\":\"cgroup\"}]},\"ociVersion\":\"1.0.2\"}");
	/* Its name is taken, and it runs nothing yet. */
	assert_error(create_until("exit", "0", false, soon(), &err), -EEXIST,
		"CreateContainer: container c1 exists");
	assert_error(exec_process("e", "exit", "0", &err), -EBUSY,
		"ExecProcess: container c1 is created and not started and can't be "
		"given another process");
	assert_int_equal(start(&err), 0);
	assert_error(start(&err), -EBUSY,
		"StartContainer: container c1 is started and can't be started");
	assert_int_equal(status_of("c1"), 7);
	assert_int_equal(remove_it(&err), 0);
	assert_int_equal(remove_it(&err), 0);
	assert_error(start(&err), -ENOENT, "StartContainer: there is no container c1");
}

static void test_exec(void **state)
{
	_cleanup_free_ char *config = NULL;
	struct err err = ERR_INIT;
	size_t len;

	(void)state;
	create_ok("cat", "", false);
	assert_int_equal(start(&err), 0);
	assert_int_equal(file_read(AT_FDCWD, BUNDLE_DIR "/c1/config.json", 65536, &config,
				 &len, &err),
		0);
	/* Its files are not the container's, whatever it is called. */
	assert_int_equal(exec_process("config", "cat", "", &err), 0);
	assert_file(BUNDLE_DIR "/c1/config.json", config);
	assert_no_file(BUNDLE_DIR "/c1/config.process");
	assert_no_file(BUNDLE_DIR "/c1/config.pid");
	assert_error(exec_process("config", "cat", "", &err), -EEXIST,
		"ExecProcess: exec config in container c1: process config of container "
		"c1 exists");
	assert_error(exec_process("c1", "cat", "", &err), -EEXIST,
		"ExecProcess: exec c1 in container c1: process c1 of container c1 "
		"exists");
	assert_error(exec_process("e", NULL, NULL, &err), -EINVAL,
		"ExecProcess: an exec needs a process");
	assert_error_names(exec_process("../e", "cat", "", &err), -EINVAL, "exec id");
	write_stdin("config", "of the exec");
	write_stdin("", "of the container");
	assert_stdout("config", "of the exec");
	assert_stdout("c1", "of the container");
	close_stdin("config");
	assert_int_equal(status_of("config"), 0);
	close_stdin("c1");
	assert_int_equal(status_of("c1"), 0);
	assert_int_equal(remove_it(&err), 0);
}

static void test_terminal(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	create_ok("cat", "", true);
	assert_int_equal(start(&err), 0);
	write_stdin("c1", "typed");
	assert_stdout("c1", "typed");
	assert_int_equal(child_kill(&guest.sandbox.containers->init->child, SIGTERM), 0);
	assert_int_equal(status_of("c1"), 128 + SIGTERM);
	assert_no_more("c1");
	assert_int_equal(remove_it(&err), 0);
}

/* ---- namespaces of another container ---- */

/* The caller's. */
static struct json_object *spec_with_ipc(const char *path)
{
	_cleanup_free_ char *text = xasprintf(
		"{\"linux\":{\"namespaces\":[{\"type\":\"ipc\",\"path\":\"%s\"},"
		"{\"type\":\"uts\"}]}}",
		path);
	struct json_object *spec = NULL;

	assert_int_equal(json_parse("spec", text, strlen(text), 8, &spec, NULL), 0);
	return spec;
}

static void assert_same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	assert_int_equal(stat(a, &sa), 0);
	assert_int_equal(stat(b, &sb), 0);
	assert_int_equal(sa.st_dev, sb.st_dev);
	assert_int_equal(sa.st_ino, sb.st_ino);
}

static void refuse_namespace(const char *path, int code, const char *text)
{
	_cleanup_json_ struct json_object *spec = spec_with_ipc(path);
	struct err err = ERR_INIT;
	struct namespaces all;

	assert_error(namespaces_open(&guest.sandbox, spec, &all, &err), code, text);
	namespaces_close(&all);
}

#define WANTED ": " AGENT_NAMESPACES_DIR "/<container>/<file> is what is wanted"

static void test_namespaces(void **state)
{
	_cleanup_json_ struct json_object *spec =
		spec_with_ipc(AGENT_NAMESPACES_DIR "/c1/ipc");
	_cleanup_free_ char *of_init = NULL;
	struct err err = ERR_INIT;
	struct namespaces all;
	const char *path;

	(void)state;
	create_ok("cat", "", false);
	assert_int_equal(start(&err), 0);
	of_init = xasprintf(
		"/proc/%d/ns/ipc", (int)guest.sandbox.containers->init->child.pid);
	assert_int_equal(namespaces_open(&guest.sandbox, spec, &all, &err), 0);
	assert_int_equal(all.n, 1);
	assert_int_equal(json_get_string(json_object_array_get_idx(
						 json_at(spec, "linux.namespaces"), 0),
				 "path", &path, &err),
		0);
	assert_same_file(path, of_init);
	namespaces_close(&all);
	refuse_namespace(
		"/proc/1/ns/ipc", -EINVAL, "linux.namespaces: /proc/1/ns/ipc" WANTED);
	refuse_namespace(AGENT_NAMESPACES_DIR "/ipc", -EINVAL,
		"linux.namespaces: " AGENT_NAMESPACES_DIR "/ipc" WANTED);
	refuse_namespace(AGENT_NAMESPACES_DIR "/c1/../ipc", -ENOENT,
		"linux.namespaces: there is no container c1/..");
	refuse_namespace(AGENT_NAMESPACES_DIR "/c1/maps", -EINVAL,
		"linux.namespaces: " AGENT_NAMESPACES_DIR "/c1/maps" WANTED);
	close_stdin("c1");
	assert_int_equal(status_of("c1"), 0);
	refuse_namespace(AGENT_NAMESPACES_DIR "/c1/ipc", -ESRCH,
		"linux.namespaces: the ipc namespace of container c1: its first process has "
		"ended");
	assert_int_equal(remove_it(&err), 0);
}

/* ---- failing ---- */

/* crun's word is told; the process that it had started is gone. */
static void test_create_fails(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_error(create_until("fail", "no such file", false, soon(), &err), -EIO,
		"CreateContainer: create container c1: crun: no such file");
	/* errno as docker looks for it, to end with 127 or 126. */
	assert_error(create_until("fail", "sh: No such file or directory", false, soon(),
			     &err),
		-EIO,
		"CreateContainer: create container c1: crun: sh: no such file or "
		"directory");
	assert_error(
		create_until("fail",
			"`/x` exists but it is not executable: Operation not permitted",
			false, soon(), &err),
		-EIO,
		"CreateContainer: create container c1: crun: `/x` exists but it is not "
		"executable: permission denied");
	assert_error(create_until("fail", "no tty", true, soon(), &err), -EIO,
		"CreateContainer: create container c1: crun: no tty");
	assert_error(create_until("none", "", false, now_ms(), &err), -ETIMEDOUT,
		"CreateContainer: the deadline has passed");
}

static void test_exec_fails(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	create_ok("exit", "0", false);
	assert_int_equal(start(&err), 0);
	assert_error(exec_process("e", "fail", "not found", &err), -EIO,
		"ExecProcess: exec e in container c1: crun: not found");
	/* The name is free again. */
	assert_int_equal(exec_process("e", "exit", "3", &err), 0);
	assert_int_equal(status_of("e"), 3);
	assert_int_equal(status_of("c1"), 0);
	assert_int_equal(remove_it(&err), 0);
}

/* A crun that does not end is killed at the request's deadline, and the container undone:
 * end() sees that once the agent is through with it. */
static void test_create_hangs(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_error_names(create_until("hang", "", false, deadline_after_ms(50), &err),
		-ETIMEDOUT, "CreateContainer: ");
	guest_stop(&guest);
	guest_start(&guest);
	assert_int_equal(agent_check(guest.agent, soon(), &err), 0);
}

static void test_requests_refused(void **state)
{
	Grpc__CreateContainerRequest req = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	Grpc__SharedMount shared = GRPC__SHARED_MOUNT__INIT, *shareds[] = {&shared};
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__Linux linux_part = GRPC__LINUX__INIT;
	Grpc__Root root = GRPC__ROOT__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	struct err err = ERR_INIT;

	(void)state;
	req.container_id = "c1";
	for (int i = 0; i < 4; i++) {
		assert_error(agent_create_container(guest.agent, &req, soon(), &err),
			-EINVAL,
			"CreateContainer: an OCI spec with process, root and linux is "
			"needed");
		req.oci = &spec;
		spec.process = i > 0 ? &process : NULL;
		spec.root = i > 1 ? &root : NULL;
	}
	spec.linux = &linux_part;
	assert_error(agent_create_container(guest.agent, &req, soon(), &err), -EINVAL,
		"CreateContainer: create container c1: the root  is not below " GUEST_SHARED_ROOT);
	req.shared_mounts = shareds;
	req.n_shared_mounts = 1;
	assert_error(agent_create_container(guest.agent, &req, soon(), &err), -EOPNOTSUPP,
		"CreateContainer: shared mounts are not known");
	req.n_shared_mounts = 0;
	req.container_id = "../c1";
	assert_error_names(agent_create_container(guest.agent, &req, soon(), &err),
		-EINVAL, "container id");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_exec),
		TEST(test_terminal),
		TEST(test_namespaces),
		TEST(test_create_fails),
		TEST(test_exec_fails),
		TEST(test_create_hangs),
		TEST(test_requests_refused),
	};

	if (argc > 1 && strcmp(argv[1], "--root") == 0)
		_exit(crun_main(argv));
	world_enter(0);
	world_tmpfs("/run");
	world_tmpfs("/sys");
	if (mkdir_parents("/sys/fs/cgroup/stencil", 0755, NULL) < 0 ||
		mkdir_parents(GUEST_RUN_DIR, 0700, NULL) < 0)
		world_skip("no folders");
	crun_install();
	reaper_start();
	return cmocka_run_group_tests_name("guest/container", tests, NULL, NULL);
}
