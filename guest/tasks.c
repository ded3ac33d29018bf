/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's numbers of tasks: see tasks.h. */
#include "guest/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/io.h"
#include "base/util.h"
#include "guest/cgroup.h"
#include "guest/init.h"

/* Tasks that no container gets, the agent's, crun's and the kernel's own: so many, or the
 * part of all for which the memory may not suffice: one takes some 100 KB. */
#define TASKS_RESERVED ((uint64_t)512)
#define TASKS_PART     3
/* Of memory for each thread, as set_max_threads() of kernel/fork.c: its stack is an
 * eighth. */
#define BYTES_FOR_ONE ((uint64_t)8 * 16384)

#define THREADS_MAX "/proc/sys/kernel/threads-max"

static int read_sysctl(const char *path, uint64_t *ret, struct err *err)
{
	int r = cgroup_read_number(AT_FDCWD, path, NULL, ret);

	return r < 0 ? err_sys(err, r, "read %s", path) : 0;
}

static int raise_threads(uint64_t *ret, struct err *err)
{
	struct sysinfo info;
	uint64_t wanted;
	int r;

	if (sysinfo(&info) < 0)
		return err_sys(err, errno, "ask for the memory");
	wanted = info.totalram * info.mem_unit / BYTES_FOR_ONE;
	r = read_sysctl(THREADS_MAX, ret, err);
	if (r < 0 || *ret >= wanted)
		return r;
	*ret = wanted;
	return cgroup_write_number(AT_FDCWD, THREADS_MAX, (int64_t)wanted, err);
}

int tasks_follow_memory(struct err *err)
{
	uint64_t threads = 0, pids = 0, all;
	int r;

	r = mkdir_parents(GUEST_CGROUP_DIR CGROUP_PARENT, 0755, err);
	if (r == 0)
		r = raise_threads(&threads, err);
	if (r == 0)
		r = read_sysctl("/proc/sys/kernel/pid_max", &pids, err);
	if (r < 0)
		return r;
	all = MIN(threads, pids);
	return cgroup_write_number(AT_FDCWD, GUEST_CGROUP_DIR CGROUP_PARENT "/pids.max",
		(int64_t)(all - MAX(MIN(TASKS_RESERVED, all / 2), all / TASKS_PART)),
		err);
}

int tasks_unlimit_users(struct err *err)
{
	const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_NPROC, &none) < 0 || setrlimit(RLIMIT_SIGPENDING, &none) < 0)
		return err_sys(err, errno, "lift the limits of processes and signals");
	return 0;
}
