/* SPDX-License-Identifier: Apache-2.0 */
/* shim/join: the pod that a container joins by its network namespace. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/join.h"
#include "tests/unit/test_shim.h"

static struct scratch scratch;

/* A process with this folder of the scratch folder for its root; 0: none can be made
 * here. */
static pid_t start_task(const char *folder)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", scratch.path, folder);
	char byte;
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (chroot(path) < 0)
			_exit(1);
		(void)!write(ready[1], "", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_true(pid > 0);
	if (read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = 0;
	}
	close(ready[0]);
	return pid;
}

static void end_task(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void assert_joins(const char *netns, const char *wanted)
{
	_cleanup_free_ char *id = join_find_sandbox(netns, scratch.path, "moby");

	if (wanted)
		assert_string_equal(id, wanted);
	else
		assert_null(id);
}

static void assert_namespace_joins(pid_t pid, const char *file, const char *wanted)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/%s", (int)pid, file);

	assert_joins(path, wanted);
}

static void make_folders(void)
{
	static const char *const names[] = {
		"moby:pod", "moby:pod/rootfs", "other:pod", "other:pod/rootfs", "rootfs"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", scratch.path, names[i]);

		assert_int_equal(mkdir(path, 0700), 0);
	}
}

static void test_stand_in(void **state)
{
	pid_t pid = start_task("moby:pod/rootfs");

	(void)state;
	if (pid == 0)
		skip();
	assert_namespace_joins(pid, "net", "pod");
	assert_namespace_joins(pid, "../ns/net", "pod");
	end_task(pid);
	assert_namespace_joins(pid, "net", NULL);
}

/* Of another containerd's namespace, of no sandbox' folder, of the host. */
static void test_others(void **state)
{
	static const char *const roots[] = {"other:pod/rootfs", "rootfs", "moby:pod"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		pid_t pid = start_task(roots[i]);

		if (pid == 0)
			skip();
		assert_namespace_joins(pid, "net", NULL);
		end_task(pid);
	}
	assert_namespace_joins(getpid(), "net", NULL);
}

static void test_no_task(void **state)
{
	(void)state;
	assert_joins("", NULL);
	assert_joins("/run/netns/absent", NULL);
	assert_joins("/proc/self/ns/net", NULL);
	assert_null(join_find_sandbox("/proc/1/ns/net", "/absent", "moby"));
}

static int setup(void **state)
{
	scratch_make(&scratch);
	make_folders();
	return quiet_log(state);
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stand_in),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_no_task),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
