/* SPDX-License-Identifier: Apache-2.0 */
/* shim/namespaces: whose namespaces a spec names, and what of them the guest sees. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/json.h"
#include "shim/namespaces.h"
#include "tests/unit/test_shim.h"

static struct scratch scratch;
/* A stand-in's, in namespaces of the pod's. */
static pid_t standin;

static pid_t start_standin(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWIPC | CLONE_NEWUTS) < 0 &&
			unshare(CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
			_exit(1);
		(void)!write(ready[1], "", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		print_message("no namespaces can be made here\n");
		exit(77);
	}
	close(ready[0]);
	return pid;
}

static int open_ns(const char *file)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/%s", (int)standin, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* What stays of a list of namespaces ("PID" stands for the stand-in's), with the rest of
 * `linux`; the caller's. NULL: *err says why. */
static struct json_object *fit(const struct namespace_pod *pod, const char *members,
	struct namespace_fit *ret, struct err *err)
{
	_cleanup_free_ char *text = xasprintf("{%s}", members);
	struct json_object *spec = NULL;
	char *at;

	while ((at = strstr(text, "PID"))) {
		char *more = xasprintf(
			"%.*s%d%s", (int)(at - text), text, (int)standin, at + 3);

		free(text);
		text = more;
	}
	assert_int_equal(json_parse("spec", text, strlen(text), 16, &spec, NULL), 0);
	if (namespaces_fit(spec, pod, ret, err) == 0)
		return spec;
	json_object_put(spec);
	return NULL;
}

static void assert_fits(const struct namespace_pod *pod, const char *members,
	const char *wanted, struct namespace_fit *ret)
{
	struct err err = ERR_INIT;
	_cleanup_json_ struct json_object *spec = fit(pod, members, ret, &err);

	if (!spec)
		fail_msg("%s", err.text);
	assert_string_equal(
		json_object_to_json_string_ext(spec, JSON_C_TO_STRING_NOSLASHESCAPE),
		wanted);
}

static const struct namespace_pod new_pod = {.is_new = true, .ipc_fd = -1, .uts_fd = -1};

/* What the first container would have made for all is the guest's. */
static void test_first(void **state)
{
	struct namespace_fit f;

	(void)state;
	assert_fits(&new_pod,
		"\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},"
		"{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
		"{\"type\":\"network\",\"path\":\"/run/netns/x\"}]}",
		"{\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"}]}}",
		&f);
	assert_int_equal(f.ipc_fd, -1);
	assert_false(f.sandbox_pidns);
	/* Users of its own can't own what is the guest's. */
	assert_fits(&new_pod,
		"\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"uts\"},"
		"{\"type\":\"user\"}]}",
		"{\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"uts\"},"
		"{\"type\":\"user\"}]}}",
		&f);
}

/* A further one keeps what it makes for itself. */
static void test_own(void **state)
{
	const struct namespace_pod pod = {.ipc_fd = -1, .uts_fd = -1};
	struct namespace_fit f;

	(void)state;
	assert_fits(&pod,
		"\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"ipc\"},"
		"{\"type\":\"uts\"},{\"type\":\"network\"}]}",
		"{\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"ipc\"},"
		"{\"type\":\"uts\"}]}}",
		&f);
}

static void test_domainname(void **state)
{
	const struct namespace_pod pod = {.ipc_fd = -1, .uts_fd = -1};
	struct namespace_fit f;

	(void)state;
	assert_fits(&new_pod,
		"\"domainname\":\"d\",\"linux\":{\"namespaces\":[{\"type\":\"uts\"}]}",
		"{\"linux\":{\"namespaces\":[],\"sysctl\":{\"kernel.domainname\":\"d\"}}}",
		&f);
	assert_fits(&pod, "\"domainname\":\"d\",\"hostname\":\"h\",\"linux\":{}",
		"{\"linux\":{\"namespaces\":[]}}", &f);
}

#define NS(type, path) "{\"type\":\"" type "\",\"path\":\"" path "\"}"
#define LIST(entries)  "\"linux\":{\"namespaces\":[" entries "]}"

/* By a task's pid, and what that container shares or has apart. */
static void test_task(void **state)
{
	struct namespace_fit first, f;
	struct namespace_task task = {.container = "c1"};
	struct namespace_pod pod = {
		.tasks = &task, .n_tasks = 1, .ipc_fd = -1, .uts_fd = -1};
	static const char all[] = LIST(NS("pid", "/proc/PID/ns/pid") "," NS("ipc",
		"/proc/PID/task/PID/ns/../ns/ipc") "," NS("uts", "/proc/PID/ns/uts"));
	struct err err = ERR_INIT;

	(void)state;
	task.pid = standin;
	json_object_put(fit(&new_pod,
		LIST("{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"}"), &first,
		&err));
	task.apart = first.apart;
	assert_fits(
		&pod, all, "{" LIST(NS("pid", AGENT_NAMESPACES_DIR "/c1/pid")) "}", &f);
	/* The next one that names this container's means the same. */
	assert_int_equal(f.apart, first.apart);
	json_object_put(
		fit(&pod, LIST("{\"type\":\"ipc\"},{\"type\":\"uts\"}"), &first, &err));
	task.apart = first.apart;
	assert_fits(&pod, all,
		"{" LIST(NS("ipc", AGENT_NAMESPACES_DIR "/c1/ipc") "," NS(
			"uts", AGENT_NAMESPACES_DIR "/c1/uts")) "}",
		&f);
	/* The process of a pod that has no first container. */
	task.container = NULL;
	assert_fits(&pod, all, "{" LIST() "}", &f);
	assert_true(f.sandbox_pidns);
}

/* Known by what it is, not by its path. */
static void test_identity(void **state)
{
	_cleanup_free_ char *link = xasprintf("%s/ns", scratch.path);
	_cleanup_free_ char *target = xasprintf("/proc/%d/ns/ipc", (int)standin);
	_cleanup_free_ char *list = xasprintf(LIST(NS("ipc", "%s")), link);
	_cleanup_close_ int ipc_fd = open_ns("ipc"), uts_fd = open_ns("uts");
	struct namespace_pod pod = {.ipc_fd = ipc_fd, .uts_fd = uts_fd};
	struct namespace_fit f;
	struct err err = ERR_INIT;
	struct stat a, b;

	(void)state;
	assert_int_equal(symlink(target, link), 0);
	assert_fits(&pod, list, "{" LIST() "}", &f);
	/* As uts namespace it is nobody's. */
	pod.ipc_fd = -1;
	assert_null(fit(&pod, list, &f, &err));
	assert_int_equal(err.code, -EPERM);
	assert_non_null(strstr(err.text,
		"is the ipc namespace of none of the pod's containers, and a VM can't use "
		"that; leave the path out"));
	/* A new pod takes what is kept by a file, and not what a process has. */
	assert_fits(&new_pod, list, "{" LIST() "}", &f);
	assert_int_equal(fstat(f.ipc_fd, &a), 0);
	assert_int_equal(fstat(ipc_fd, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(f.ipc_fd);
	assert_null(fit(&new_pod, LIST(NS("ipc", "/proc/PID/ns/ipc")), &f, &err));
	assert_int_equal(err.code, -EPERM);
}

static void test_refused(void **state)
{
	static const struct {
		const char *members, *text;
		int code;
	} rows[] = {
		{LIST(NS("ipc", "/proc/self/ns/ipc")),
			"linux.namespaces: /proc/self/ns/ipc is the host's ipc namespace, and "
			"a VM can't use that; leave the path out",
			-EPERM},
		{LIST(NS("network", "/proc/thread-self/ns/net")),
			"linux.namespaces: /proc/thread-self/ns/net is the host's network "
			"namespace, and a VM can't use that; give the container a namespace "
			"of its own (without a path it gets lo only)",
			-EPERM},
		{LIST(NS("uts", "/nowhere")),
			"linux.namespaces: uts namespace /nowhere: No such file or directory",
			-ENOENT},
		{LIST("{\"type\":\"soul\"}"),
			"linux.namespaces: soul is no type of namespaces", -EINVAL},
		{LIST("{\"path\":\"/x\"}"), "linux.namespaces: \"type\" is missing",
			-ENOENT},
		{"\"linux\":{\"namespaces\":7}",
			"linux.namespaces: \"namespaces\" is int where array is wanted",
			-EINVAL},
	};
	struct namespace_fit f;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		err = (struct err)ERR_INIT;
		if (fit(&new_pod, rows[i].members, &f, &err))
			fail_msg("%s is fine", rows[i].members);
		assert_string_equal(err.text, rows[i].text);
		assert_int_equal(err.code, rows[i].code);
	}
}

static int setup(void **state)
{
	scratch_make(&scratch);
	standin = start_standin();
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	kill(standin, SIGKILL);
	waitpid(standin, NULL, 0);
	scratch_remove(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_domainname),
		cmocka_unit_test(test_task),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
