/* SPDX-License-Identifier: Apache-2.0 */
/* A container's cgroup: see cgroup.h. */
#include "guest/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "guest/init.h"
#include "guest/wait.h"

/* Levels of groups below a container's own that signals other than SIGKILL reach. */
#define DEPTH_MAX 16
#define PROCS_MAX (1u << 20)

int cgroup_open(const char *container_id, int *ret_dirfd, struct err *err)
{
	_cleanup_free_ char *path =
		xasprintf(GUEST_CGROUP_DIR CGROUP_PARENT "/%s", container_id);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_sys(err, errno, "open cgroup %s", path);
	*ret_dirfd = fd;
	return 0;
}

int cgroup_create(const char *container_id, int *ret_dirfd, struct err *err)
{
	_cleanup_free_ char *path =
		xasprintf(GUEST_CGROUP_DIR CGROUP_PARENT "/%s", container_id);

	if (mkdir(path, 0755) < 0)
		return err_sys(err, errno, "make cgroup %s", path);
	return cgroup_open(container_id, ret_dirfd, err);
}

/* The number at text, which ends with its word; strtoull(3) alone takes signs, and what
 * only begins with digits. */
static int parse_word(const char *text, uint64_t *ret)
{
	size_t len = strcspn(text, " \n");
	unsigned long long value;
	char *end;

	if (len == 3 && memcmp(text, "max", 3) == 0) {
		*ret = UINT64_MAX;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EBADMSG;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end != text + len)
		return -EBADMSG;
	*ret = value;
	return 0;
}

int cgroup_parse_number(const char *text, const char *key, uint64_t *ret)
{
	size_t len = key ? strlen(key) : 0;

	if (!key)
		return parse_word(text, ret);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return parse_word(line + len + 1, ret);
	}
	return -ENOENT;
}

int cgroup_read_number(int dirfd, const char *file, const char *key, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(dirfd, file, 65536, &text, &len, NULL);

	return r < 0 ? r : cgroup_parse_number(text, key, ret);
}

/* ---- limits ---- */

uint64_t cgroup_weight_of_shares(uint64_t shares)
{
	shares = MIN(MAX(shares, (uint64_t)2), (uint64_t)262144);
	return 1 + (shares - 2) * 9999 / 262142;
}

int cgroup_write_number(int dirfd, const char *file, int64_t value, struct err *err)
{
	char text[32];

	if (value < 0)
		snprintf(text, sizeof(text), "max");
	else
		snprintf(text, sizeof(text), "%" PRId64, value);
	return file_write_text(dirfd, file, text, err);
}

static int update_cpu(int dirfd, const Grpc__LinuxCPU *cpu, struct err *err)
{
	char text[64];
	int r = 0;

	if (cpu->shares)
		r = cgroup_write_number(dirfd, "cpu.weight",
			(int64_t)cgroup_weight_of_shares(cpu->shares), err);
	if (r < 0 || (!cpu->quota && !cpu->period))
		return r;
	if (cpu->quota > 0)
		snprintf(text, sizeof(text), "%" PRId64 " %" PRIu64, cpu->quota,
			cpu->period ? cpu->period : 100000);
	else
		snprintf(text, sizeof(text), "max %" PRIu64,
			cpu->period ? cpu->period : 100000);
	return file_write_text(dirfd, "cpu.max", text, err);
}

int cgroup_update(
	const char *container_id, const Grpc__LinuxResources *resources, struct err *err)
{
	_cleanup_close_ int dirfd = -1;
	int r = cgroup_open(container_id, &dirfd, err);

	if (r == 0 && resources->memory && resources->memory->limit)
		r = cgroup_write_number(
			dirfd, "memory.max", resources->memory->limit, err);
	if (r == 0 && resources->memory && resources->memory->reservation)
		r = cgroup_write_number(
			dirfd, "memory.low", resources->memory->reservation, err);
	if (r == 0 && resources->cpu)
		r = update_cpu(dirfd, resources->cpu, err);
	if (r == 0 && resources->pids && resources->pids->limit)
		r = cgroup_write_number(dirfd, "pids.max", resources->pids->limit, err);
	return r;
}

/* ---- events ---- */

/* cgroup.events is pollable: POLLPRI when it has changed since it was last read. */
static int wait_event(int dirfd, const char *key, uint64_t want, int64_t deadline)
{
	_cleanup_close_ int fd = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	uint64_t value;
	char text[256];

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		int r;

		if (n < 0)
			return -errno;
		text[n] = '\0';
		r = cgroup_parse_number(text, key, &value);
		if (r < 0 || value == want)
			return r;
		r = wait_either(fd, POLLPRI, -1, deadline);
		if (r < 0)
			return r;
	}
}

int cgroup_freeze(
	const char *container_id, bool frozen, int64_t deadline, struct err *err)
{
	_cleanup_close_ int dirfd = -1;
	int r = cgroup_open(container_id, &dirfd, err);

	if (r == 0)
		r = file_write_text(dirfd, "cgroup.freeze", frozen ? "1" : "0", err);
	if (r < 0)
		return r;
	r = wait_event(dirfd, "frozen", frozen, deadline);
	if (r < 0)
		return err_sys(err, r, "wait for container %s to be %s", container_id,
			frozen ? "frozen" : "thawed");
	return 0;
}

/* ---- its processes ---- */

static int visit_listed(int dirfd, cgroup_visitor visit, void *user)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	size_t len;
	int r = file_read(dirfd, "cgroup.procs", PROCS_MAX, &text, &len, NULL);

	if (r < 0)
		return r;
	for (char *w = strtok_r(text, "\n", &save); w && r == 0;
		w = strtok_r(NULL, "\n", &save)) {
		pid_t pid = (pid_t)strtol(w, NULL, 10);

		/* 0: a process of a pid namespace that is not below ours. */
		if (pid > 1)
			r = visit(user, pid);
	}
	return r;
}

/* The processes of dirfd's group and of those below it. */
static int visit_tree(int dirfd, unsigned int depth, cgroup_visitor visit, void *user)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = dir_open(dirfd, ".", &dir);

	if (r < 0)
		return r;
	r = visit_listed(dirfd, visit, user);
	while (r == 0 && (entry = readdir(dir))) {
		_cleanup_close_ int below = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		if (depth == 0)
			return -ELOOP;
		below = openat(dirfd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below >= 0)
			r = visit_tree(below, depth - 1, visit, user);
		else if (errno != ENOENT)
			r = -errno;
	}
	return r;
}

int cgroup_visit(
	const char *container_id, cgroup_visitor visit, void *user, struct err *err)
{
	_cleanup_close_ int dirfd = -1;
	int r = cgroup_open(container_id, &dirfd, err);

	if (r < 0)
		return r;
	r = visit_tree(dirfd, DEPTH_MAX, visit, user);
	return r < 0 ? err_sys(err, r, "read the processes of container %s", container_id)
		     : 0;
}

static int signal_one(void *user, pid_t pid)
{
	return kill(pid, *(const int *)user) < 0 && errno != ESRCH ? -errno : 0;
}

/* 1 and the name of a group below dirfd; 0 if there is none. */
static int find_group(int dirfd, char ret_name[NAME_MAX + 1])
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = dir_open(dirfd, ".", &dir);

	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			str_copy_to(ret_name, NAME_MAX + 1, entry->d_name);
			return 1;
		}
	}
	return 0;
}

static int remove_group(int parent, const char *name)
{
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/*
 * Removes every group below dirfd. A container may have nested them as deep as it likes,
 * so this holds one of them at a time: down into one that can't be removed yet, up by
 * ".." from one that has none. -EBUSY if a process is in one.
 */
static int remove_below(int dirfd)
{
	_cleanup_close_ int at = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_MAX + 1];
	unsigned int depth = 0;
	bool entered = false; /* and nothing was removed there */

	for (;;) {
		int next, r = at < 0 ? -errno : find_group(at, name);

		if (r < 0 || (r == 0 && depth == 0))
			return r;
		if (r == 0 && entered)
			return -EBUSY;
		if (r > 0) {
			r = remove_group(at, name);
			entered = r == -EBUSY;
			if (r == 0)
				continue;
			if (!entered)
				return r;
		}
		depth = entered ? depth + 1 : depth - 1;
		next = openat(at, entered ? name : "..",
			O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		close_fd(at);
		at = next;
	}
}

static int signal_all(int dirfd, int signal)
{
	/* Linux 5.14 and later: all at once, forks included. */
	if (signal == SIGKILL && file_write_text(dirfd, "cgroup.kill", "1", NULL) == 0)
		return 0;
	return visit_tree(dirfd, DEPTH_MAX, signal_one, &signal);
}

int cgroup_signal(const char *container_id, int signal, struct err *err)
{
	_cleanup_close_ int dirfd = -1;
	int r = cgroup_open(container_id, &dirfd, err);

	if (r < 0)
		return r;
	r = signal_all(dirfd, signal);
	return r < 0 ? err_sys(err, r, "signal the processes of container %s",
			       container_id)
		     : 0;
}

/* One round: 0, or -EBUSY if a process came in between. */
static int destroy_group(int parent, const char *name, int dirfd, int64_t deadline)
{
	int r = signal_all(dirfd, SIGKILL);

	/* Frozen processes die of SIGKILL in version 2. */
	if (r == 0)
		r = wait_event(dirfd, "populated", 0, deadline);
	if (r == 0)
		r = remove_below(dirfd);
	return r < 0 ? r : remove_group(parent, name);
}

int cgroup_destroy(const char *container_id, int64_t deadline, struct err *err)
{
	_cleanup_close_ int parent = -1, dirfd = -1;
	int r;

	parent = open(GUEST_CGROUP_DIR CGROUP_PARENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(err, errno, "open " GUEST_CGROUP_DIR CGROUP_PARENT);
	dirfd = openat(
		parent, container_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dirfd < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(err, errno, "open cgroup %s", container_id);
	do
		r = destroy_group(parent, container_id, dirfd, deadline);
	while (r == -EBUSY && now_ms() < deadline);
	return r < 0 ? err_sys(err, r, "end the processes of container %s", container_id)
		     : 0;
}
