/* SPDX-License-Identifier: Apache-2.0 */
/* guest/cgroup on the kernel's cgroup2: freezing, signals, removing. */
#include "tests/unit/guest_reaper.h"

#include <sys/stat.h>

#include "guest/cgroup.h"

#define CGROUPS "/sys/fs/cgroup"
#define GROUP   CGROUPS "/stencil/c1"
#define OUTSIDE "/run/cgroup"

/* ---- a hierarchy of the test's own ---- */

static char own_group[64];

static void mount_cgroups(const char *path)
{
	if (mount("cgroup2", path, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		world_skip("no cgroup2 can be mounted");
}

/* The group of this program, which all that it makes is below. */
static void enter_group(void)
{
	_cleanup_free_ char *procs = NULL;

	world_tmpfs("/run");
	if (mkdir(OUTSIDE, 0700) < 0)
		world_skip(OUTSIDE);
	mount_cgroups(OUTSIDE);
	procs = xasprintf("%s/cgroup.procs", own_group);
	if ((mkdir(own_group, 0755) < 0 && errno != EEXIST) ||
		file_write_text(AT_FDCWD, procs, "0", NULL) < 0)
		world_skip("no cgroup can be made");
}

/* In a process that lives in that group: it is then the root of what is mounted. */
static void enter_cgroup_namespace(void)
{
	if (unshare(CLONE_NEWCGROUP | CLONE_NEWNS) < 0)
		world_skip("no cgroup namespace can be made");
	world_tmpfs("/sys");
	if (mkdir_parents(CGROUPS, 0755, NULL) < 0)
		world_skip(CGROUPS);
	mount_cgroups(CGROUPS);
}

/* The outer half leaves the group and removes it when the inner one has ended. */
static void world_fork_in_group(void)
{
	pid_t pid;
	int status;

	enter_group();
	pid = fork();
	if (pid < 0)
		world_skip("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		enter_cgroup_namespace();
		return;
	}
	if (file_write_text(AT_FDCWD, OUTSIDE "/cgroup.procs", "0", NULL) < 0 ||
		waitpid(pid, &status, 0) != pid)
		_exit(1);
	if (rmdir(own_group) < 0)
		perror(own_group);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* ---- a container's processes ---- */

static int begin(void **state)
{
	(void)state;
	return mkdir_parents(GROUP, 0755, NULL);
}

static int end(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	if (cgroup_destroy("c1", soon(), &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(access(GROUP, F_OK), -1);
	assert_int_equal(rmdir(CGROUPS "/stencil"), 0);
	return 0;
}

/* One in this group, which runs the rest of the script and says so. */
static void spawn_in(struct child *c, const char *group, const char *script)
{
	_cleanup_free_ char *whole =
		xasprintf("echo 0 >%s/cgroup.procs && echo in && %s", group, script);
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int out[2];
	char text[4] = "";

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	spawn_shell(c, whole, (int[]){null_fd, out[1], 2});
	close(out[1]);
	assert_int_equal(read(out[0], text, 3), 3);
	assert_string_equal(text, "in\n");
	close(out[0]);
}

/* Reads from a fifo that nobody writes to. */
#define FOR_EVER "read line <>/run/fifo"

static void test_freeze(void **state)
{
	struct err err = ERR_INIT;
	static struct child c;

	(void)state;
	spawn_in(&c, GROUP, FOR_EVER);
	assert_int_equal(cgroup_freeze("c1", true, soon(), &err), 0);
	assert_file(GROUP "/cgroup.events", "populated 1\nfrozen 1\n");
	assert_int_equal(cgroup_freeze("c1", true, soon(), &err), 0);
	/* One that ends it may be acted on at once or when it is thawed. */
	assert_int_equal(cgroup_signal("c1", SIGTERM, &err), 0);
	assert_int_equal(cgroup_freeze("c1", false, soon(), &err), 0);
	assert_int_equal(end_of(&c), 128 + SIGTERM);
	assert_file(GROUP "/cgroup.events", "populated 0\nfrozen 0\n");
	assert_error(cgroup_freeze("c2", true, soon(), &err), -ENOENT,
		"open cgroup " CGROUPS "/stencil/c2: No such file or directory");
}

static int add_pid(void *user, pid_t pid)
{
	*(pid_t *)user += pid;
	return 0;
}

static int refuse_pid(void *user, pid_t pid)
{
	(void)pid;
	++*(int *)user;
	return -EXFULL;
}

/* Of the group and those that the container made below it. */
static void test_visit(void **state)
{
	struct err err = ERR_INIT;
	static struct child a, b;
	pid_t sum = 0;
	int n = 0;

	(void)state;
	assert_int_equal(mkdir_parents(GROUP "/x/y", 0755, NULL), 0);
	spawn_in(&a, GROUP, FOR_EVER);
	spawn_in(&b, GROUP "/x/y", FOR_EVER);
	assert_int_equal(cgroup_visit("c1", add_pid, &sum, &err), 0);
	assert_int_equal(sum, a.pid + b.pid);
	assert_error(cgroup_visit("c1", refuse_pid, &n, &err), -EXFULL,
		"read the processes of container c1: Exchange full");
	assert_int_equal(n, 1);
	assert_int_equal(cgroup_signal("c1", SIGKILL, &err), 0);
	assert_int_equal(end_of(&a), 128 + SIGKILL);
	assert_int_equal(end_of(&b), 128 + SIGKILL);
}

/* Of the group and those that the container made below it. */
static void test_signal(void **state)
{
	static struct child a, b, other;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(mkdir_parents(GROUP "/x/y", 0755, NULL), 0);
	assert_int_equal(mkdir_parents(CGROUPS "/stencil/c2", 0755, NULL), 0);
	spawn_in(&a, GROUP, FOR_EVER);
	spawn_in(&b, GROUP "/x/y", FOR_EVER);
	spawn_in(&other, CGROUPS "/stencil/c2", FOR_EVER);
	assert_int_equal(cgroup_signal("c1", SIGUSR1, &err), 0);
	assert_int_equal(end_of(&a), 128 + SIGUSR1);
	assert_int_equal(end_of(&b), 128 + SIGUSR1);
	assert_false(child_has_ended(&other));
	/* There is nobody left, which is fine. */
	assert_int_equal(cgroup_signal("c1", SIGUSR1, &err), 0);
	assert_int_equal(cgroup_signal("c2", SIGKILL, &err), 0);
	assert_int_equal(end_of(&other), 128 + SIGKILL);
	assert_int_equal(cgroup_destroy("c2", soon(), &err), 0);
}

/* Frozen, nested, and with a process that does nothing but fork. */
static void test_destroy(void **state)
{
	static struct child a, b, forks;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(mkdir_parents(GROUP "/a/b/c", 0755, NULL), 0);
	assert_int_equal(mkdir_parents(GROUP "/d", 0755, NULL), 0);
	spawn_in(&a, GROUP "/a/b/c", FOR_EVER);
	spawn_in(&b, GROUP, FOR_EVER);
	spawn_in(&forks, GROUP "/d", "while :; do (:); done");
	assert_int_equal(cgroup_freeze("c1", true, soon(), &err), 0);
	assert_int_equal(cgroup_destroy("c1", soon(), &err), 0);
	assert_int_equal(access(GROUP, F_OK), -1);
	assert_int_equal(end_of(&a), 128 + SIGKILL);
	assert_int_equal(end_of(&b), 128 + SIGKILL);
	assert_int_equal(end_of(&forks), 128 + SIGKILL);
	assert_int_equal(cgroup_destroy("c1", soon(), &err), 0);
}

static void test_destroy_deep(void **state)
{
	_cleanup_free_ char *path = xstrdup(GROUP);
	struct err err = ERR_INIT;
	unsigned int fds;

	(void)state;
	for (int i = 0; i < 100; i++) {
		char *deeper = xasprintf("%s/%d", path, i);

		free(path);
		path = deeper;
	}
	assert_int_equal(mkdir_parents(path, 0755, NULL), 0);
	fds = count_fds();
	assert_int_equal(cgroup_destroy("c1", soon(), &err), 0);
	assert_int_equal(count_fds(), fds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_freeze),
		TEST(test_visit),
		TEST(test_signal),
		TEST(test_destroy),
		TEST(test_destroy_deep),
	};

	/* Outside, where the number is nobody else's. */
	snprintf(own_group, sizeof(own_group), OUTSIDE "/stencil-test-%d", getpid());
	world_enter(0);
	world_fork_in_group();
	if (mkfifo("/run/fifo", 0600) < 0)
		world_skip("/run/fifo");
	reaper_start();
	return cmocka_run_group_tests_name("guest/cgroup_kernel", tests, NULL, NULL);
}
