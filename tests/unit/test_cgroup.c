/* SPDX-License-Identifier: Apache-2.0 */
/* vm/cgroup: groups made, limited, used up and removed, in each kind of hierarchy. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "tests/lib/test.h"
#include "vm/cgroup.h"

static char path[CGROUP_PATH_BYTES];

static void make_group(int fds[CGROUP_MAX])
{
	struct err err = ERR_INIT;

	if (cgroup_create(path, fds, &err) < 0)
		fail_msg("%s", err.text);
}

static void close_all(int fds[CGROUP_MAX])
{
	for (int i = 0; i < CGROUP_MAX; i++)
		close_fd(fds[i]);
}

static void remove_group(void)
{
	struct err err = ERR_INIT;

	if (cgroup_remove(path, &err) < 0)
		fail_msg("%s", err.text);
}

/* Of whichever hierarchy has it. */
static char *value_of(const char *v1, const char *v2)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	char *text = NULL;
	size_t len;

	for (unsigned int i = 0; i < n && !text; i++) {
		_cleanup_free_ char *file = xasprintf("%s/%s/%s", roots[i], path,
			cgroup_is_unified(roots[i]) ? v2 : v1);

		if (file_read(AT_FDCWD, file, 256, &text, &len, NULL) == 0)
			text[strcspn(text, "\n")] = '\0';
		else
			text = NULL;
	}
	return text;
}

static bool has_controller(enum cgroup_limit limit)
{
	struct err err = ERR_INIT;

	return cgroup_limit(path, limit, 0, &err) == 0;
}

static void check_limit(
	enum cgroup_limit limit, uint64_t value, const char *v1, const char *v2)
{
	static const char *const files[CGROUP_LIMITS][2] = {
		[CGROUP_MEMORY] = {"memory.limit_in_bytes", "memory.max"},
		[CGROUP_PIDS] = {"pids.max", "pids.max"},
		[CGROUP_CPU] = {"cpu.cfs_quota_us", "cpu.max"},
		[CGROUP_SHARES] = {"cpu.shares", "cpu.weight"},
	};
	_cleanup_free_ char *found = NULL;
	struct err err = ERR_INIT;

	if (cgroup_limit(path, limit, value, &err) < 0)
		fail_msg("%s", err.text);
	found = value_of(files[limit][0], files[limit][1]);
	assert_non_null(found);
	if (strcmp(found, v1) != 0 && strcmp(found, v2) != 0)
		fail_msg("%s: %s", files[limit][0], found);
}

/* A wall's proof: docs/security.md. */
static void test_limits(void **state)
{
	int fds[CGROUP_MAX];

	(void)state;
	make_group(fds);
	close_all(fds);
	if (has_controller(CGROUP_MEMORY)) {
		check_limit(CGROUP_MEMORY, 64 << 20, "67108864", "67108864");
		check_limit(CGROUP_MEMORY, 0, "9223372036854771712", "max");
	}
	if (has_controller(CGROUP_PIDS)) {
		check_limit(CGROUP_PIDS, 7, "7", "7");
		check_limit(CGROUP_PIDS, 0, "max", "max");
	}
	if (has_controller(CGROUP_CPU)) {
		check_limit(CGROUP_CPU, 1500, "150000", "150000 100000");
		/* The least that the kernel takes. */
		check_limit(CGROUP_CPU, 1, "1000", "1000 100000");
		check_limit(CGROUP_CPU, 0, "-1", "max 100000");
		check_limit(CGROUP_SHARES, 1, "2", "1");
		check_limit(CGROUP_SHARES, 1u << 30, "262144", "10000");
		check_limit(CGROUP_SHARES, 0, "1024", "100");
	}
	remove_group();
}

/* Its exit status, as of waitpid(2). */
static int use_memory(int fds[CGROUP_MAX], size_t bytes)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int i = 0; i < CGROUP_MAX; i++)
			if (fds[i] >= 0 && write(fds[i], "0", 1) < 0)
				_exit(2);
		if (memory == MAP_FAILED)
			_exit(3);
		memset(memory, 1, bytes);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* A wall's proof: docs/security.md. */
static void test_used_up(void **state)
{
	struct err err = ERR_INIT;
	int fds[CGROUP_MAX];

	(void)state;
	make_group(fds);
	if (has_controller(CGROUP_MEMORY)) {
		assert_int_equal(cgroup_limit(path, CGROUP_MEMORY, 32 << 20, &err), 0);
		assert_int_equal(use_memory(fds, 8 << 20), 0);
		assert_int_equal(cgroup_oom_kills(path), 0);
		assert_int_equal(use_memory(fds, 256 << 20), SIGKILL);
		assert_int_equal(cgroup_oom_kills(path), 1);
	}
	close_all(fds);
	remove_group();
	assert_int_equal(cgroup_oom_kills(path), 0);
}

/* In somebody else's, which is neither made nor removed with it. */
static void test_guest(void **state)
{
	char roots[CGROUP_MAX][64], parent[CGROUP_PATH_BYTES];
	unsigned int n = cgroup_hierarchies(roots);
	struct err err = ERR_INIT;
	int fds[CGROUP_MAX];

	(void)state;
	snprintf(parent, sizeof(parent), "stencil-unit-%d-pod", (int)getpid());
	assert_int_equal(cgroup_path_in_pod(parent, "17", path, &err), 0);
	assert_string_equal(path + strlen(parent), "/stencil-17");
	assert_int_equal(cgroup_create(path, fds, &err), n ? -ENOENT : 0);
	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *folder = xasprintf("%s/%s", roots[i], parent);

		assert_int_equal(mkdir(folder, 0755), 0);
	}
	make_group(fds);
	close_all(fds);
	remove_group();
	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *folder = xasprintf("%s/%s", roots[i], parent);

		assert_int_equal(rmdir(folder), 0);
	}
}

/* Both forms of linux.cgroupsPath, and what is none. */
static void test_pod_paths(void **state)
{
	static const struct {
		const char *given, *pod; /* NULL: it names no pod's */
	} rows[] = {
		{"/kubepods/burstable/podab-cd/0123", "kubepods/burstable/podab-cd"},
		{"kubepods/podx/0123", "kubepods/podx"},
		{"//kubepods//podx//0123", "kubepods/podx"},
		{"kubepods-besteffort-podab_cd.slice:cri-containerd:0123",
			"kubepods.slice/kubepods-besteffort.slice/"
			"kubepods-besteffort-podab_cd.slice"},
		{"system.slice:crio:0123", "system.slice"},
		{"-.slice:crio:0123", NULL},
		{":crio:0123", NULL},
		{"a--b.slice:crio:0123", NULL},
		{"a-.slice:crio:0123", NULL},
		{"../x.slice:crio:0123", NULL},
		{"a.slice:crio", NULL},
		{"a.slice:crio:0123:x", NULL},
		{"a.scope:crio:0123", NULL},
		{"/k8s/../../x/0123", NULL},
		{"/./x/0123", NULL},
		{"0123", NULL},
		{"/0123", NULL},
		{"/", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char pod[CGROUP_PATH_BYTES];
		bool is = cgroup_pod_of(rows[i].given, pod);

		if (is != (rows[i].pod != NULL) || (is && strcmp(pod, rows[i].pod) != 0))
			fail_msg("%s is %s", rows[i].given, is ? pod : "no pod's");
	}
}

static void test_hierarchies(void **state)
{
	char roots[CGROUP_MAX][64];
	struct err err = ERR_INIT;
	int fds[CGROUP_MAX];

	(void)state;
	assert_int_equal(mount("test", "/sys/fs/cgroup", "tmpfs", 0, NULL), 0);
	assert_int_equal(cgroup_hierarchies(roots), 0);
	make_group(fds); /* of a host without any */
	assert_int_equal(cgroup_limit(path, CGROUP_MEMORY, 1 << 20, &err), -EOPNOTSUPP);
	assert_string_equal("the host has no memory controller for VMs", err.text);
	remove_group();
	/* One that can't be asked is not one that isn't there. */
	assert_int_equal(symlink("memory", "/sys/fs/cgroup/memory"), 0);
	assert_int_equal(cgroup_hierarchies(roots), 1);
	assert_error_names(cgroup_create(path, fds, &err), -ELOOP,
		"cannot make the cgroup /sys/fs/cgroup/memory/");
	close_all(fds);
	assert_int_equal(unlink("/sys/fs/cgroup/memory"), 0);
	/* The unified one has a controller or has not, as the host's v1 leaves it. */
	assert_int_equal(mkdir("/sys/fs/cgroup/unified", 0755), 0);
	assert_int_equal(mount("test", "/sys/fs/cgroup/unified", "cgroup2", 0, NULL), 0);
	assert_true(cgroup_is_unified("/sys/fs/cgroup/unified"));
	assert_in_range(cgroup_hierarchies(roots), 0, 1);
	assert_int_equal(umount("/sys/fs/cgroup/unified"), 0);
	assert_int_equal(umount("/sys/fs/cgroup"), 0);
	assert_int_equal(mount("test", "/sys/fs/cgroup", "cgroup2", 0, NULL), 0);
	assert_int_equal(cgroup_hierarchies(roots), 1);
	assert_string_equal(roots[0], "/sys/fs/cgroup");
	make_group(fds);
	assert_true(fds[0] >= 0);
	close_all(fds);
	remove_group();
	assert_int_equal(umount("/sys/fs/cgroup"), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "stencil-unit-%d/vm", (int)getpid());
	return 0;
}

static int setup_all(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNS) < 0 ||
			       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0
		       ? -1
		       : 0;
}

#define WITH_PATH(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PATH(test_limits),
		WITH_PATH(test_used_up),
		WITH_PATH(test_guest),
		WITH_PATH(test_pod_paths),
		WITH_PATH(test_hierarchies),
	};

	return cmocka_run_group_tests_name("vm/cgroup", tests, setup_all, NULL);
}
