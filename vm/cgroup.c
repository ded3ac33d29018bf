/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's own cgroup: see cgroup.h. */
#include "vm/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/util.h"

#define CGROUP_ROOT   "/sys/fs/cgroup"
#define CGROUP_HYBRID CGROUP_ROOT "/unified" /* systemd's name for it */

/* How long a killed process may take to leave its group. */
#define CGROUP_KILL_MS 5000

static const char *const v1_controllers[] = {"memory", "cpu", "pids"};

void cgroup_path(const struct config *c, const char *name, char ret[CGROUP_PATH_BYTES])
{
	/* The parent has at most CONFIG_CGROUP_MAX bytes. */
	snprintf(ret, CGROUP_PATH_BYTES, "%s/%.120s", c->cgroup_parent, name);
}

bool cgroup_path_valid(const char *path)
{
	return strlen(path) < CGROUP_PATH_BYTES && config_cgroup_valid(path);
}

/* What can't be asked is looked at by what only the unified one has. */
bool cgroup_is_unified(const char *root)
{
	_cleanup_free_ char *file = NULL;
	struct statfs fs;

	if (statfs(root, &fs) == 0)
		return fs.f_type == CGROUP2_SUPER_MAGIC;
	file = xasprintf("%s/cgroup.controllers", root);
	return access(file, F_OK) == 0;
}

/* What can't be asked is taken to be there: a VM that can't join it is an error, one
 * that was left out would have no limits, and nobody would know. */
static bool is_v1(const char *root)
{
	struct statfs fs;

	return statfs(root, &fs) == 0 ? fs.f_type == CGROUP_SUPER_MAGIC : errno != ENOENT;
}

/* Of a hybrid host: what v1 has taken the unified hierarchy has not. */
static bool has_controllers(const char *root)
{
	_cleanup_free_ char *file = xasprintf("%s/cgroup.controllers", root);
	_cleanup_free_ char *text = NULL;
	char *rest, *word;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, file, 4096, &text, &len, NULL);
	if (r < 0)
		return r != -ENOENT;
	rest = text;
	while ((word = strsep(&rest, " \n")))
		for (size_t i = 0; i < ARRAY_SIZE(v1_controllers); i++)
			if (strcmp(word, v1_controllers[i]) == 0)
				return true;
	return false;
}

unsigned int cgroup_hierarchies(char paths[CGROUP_MAX][64])
{
	unsigned int n = 0;

	if (cgroup_is_unified(CGROUP_ROOT)) {
		snprintf(paths[0], 64, CGROUP_ROOT);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(v1_controllers); i++) {
		snprintf(paths[n], 64, CGROUP_ROOT "/%s", v1_controllers[i]);
		if (is_v1(paths[n]))
			n++;
	}
	if (cgroup_is_unified(CGROUP_HYBRID) && has_controllers(CGROUP_HYBRID))
		snprintf(paths[n++], 64, CGROUP_HYBRID);
	return n;
}

/* On v2 a controller counts for a group only when its parent hands it down. */
static void hand_down_controllers(const char *parent)
{
	static const char *const controllers[] = {"+memory", "+cpu", "+pids"};
	_cleanup_free_ char *file = xasprintf("%s/cgroup.subtree_control", parent);

	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
		struct err err = ERR_INIT;

		if (file_write_text(AT_FDCWD, file, controllers[i], &err) < 0)
			log_debug("a VM's use of %s is not accounted: %s",
				controllers[i] + 1, err.text);
	}
}

/* Makes what is missing of root/path. */
static int make_path(const char *root, char *full)
{
	bool unified = cgroup_is_unified(root);

	for (char *slash = full + strlen(root); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (slash > full + strlen(root) && mkdir(full, 0755) < 0 &&
			errno != EEXIST)
			return -errno;
		if (unified)
			hand_down_controllers(full);
		*slash = '/';
	}
	return mkdir(full, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* In a group that is there. */
static int make_in_pod(const char *root, char *full)
{
	char *slash = strrchr(full, '/');

	if (cgroup_is_unified(root)) {
		*slash = '\0';
		hand_down_controllers(full);
		*slash = '/';
	}
	return mkdir(full, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int create_in(const char *root, const char *path, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", root, path);
	_cleanup_free_ char *procs = xasprintf("%s/cgroup.procs", full);
	int fd, r;

	r = cgroup_is_in_pod(path) ? make_in_pod(root, full) : make_path(root, full);
	if (r < 0)
		return err_sys(err, r, "cannot make the cgroup %s", full);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", procs);
	*ret_fd = fd;
	return 0;
}

int cgroup_open(const char *path, int procs_fds[CGROUP_MAX], struct err *err)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);

	for (unsigned int i = 0; i < CGROUP_MAX; i++)
		procs_fds[i] = -1;
	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *procs =
			xasprintf("%s/%s/cgroup.procs", roots[i], path);
		int r;

		procs_fds[i] = open(procs, O_WRONLY | O_CLOEXEC);
		if (procs_fds[i] >= 0)
			continue;
		r = err_sys(err, errno, "cannot open %s", procs);
		for (unsigned int k = 0; k < i; k++)
			close_fd(steal_fd(&procs_fds[k]));
		return r;
	}
	return 0;
}

int cgroup_create(const char *path, int procs_fds[CGROUP_MAX], struct err *err)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);

	for (unsigned int i = 0; i < CGROUP_MAX; i++)
		procs_fds[i] = -1;
	for (unsigned int i = 0; i < n; i++) {
		int r = create_in(roots[i], path, &procs_fds[i], err);

		if (r < 0) {
			for (unsigned int k = 0; k < i; k++)
				close_fd(steal_fd(&procs_fds[k]));
			cgroup_remove(path, NULL);
			return r;
		}
	}
	return 0;
}

/* Kills every process that is in the group now and waits for each one's end; returns how
 * many. */
static unsigned int kill_members(const char *path, int64_t deadline)
{
	_cleanup_free_ char *procs = xasprintf("%s/cgroup.procs", path);
	_cleanup_fclose_ FILE *f = fopen(procs, "re");
	unsigned int n = 0;
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1) {
		_cleanup_close_ int pidfd = -1;

		if (pid > 0 && pidfd_of(pid, &pidfd) == 0 &&
			pidfd_kill(pidfd, SIGKILL) == 0) {
			pidfd_wait(pidfd, deadline);
			n++;
		}
	}
	return n;
}

static int remove_in(const char *root, const char *path, struct err *err)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", root, path);
	_cleanup_free_ char *parent = xstrndup(full, (size_t)(strrchr(full, '/') - full));

	if (rmdir(full) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove the cgroup %s", full);
	if (cgroup_is_in_pod(path))
		return 0;
	/* Other VMs may be in it. */
	if (rmdir(parent) < 0 && errno != EBUSY && errno != ENOTEMPTY && errno != ENOENT)
		log_debug("cannot remove the cgroup %s: %s", parent, strerror(errno));
	return 0;
}

void cgroup_kill(const char *path)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);

	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *full = xasprintf("%s/%s", roots[i], path);
		int64_t deadline = deadline_after_ms(CGROUP_KILL_MS);

		/* What they have forked meanwhile, too. */
		while (kill_members(full, deadline) && now_ms() < deadline)
			;
	}
}

int cgroup_remove(const char *path, struct err *err)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	int r = 0;

	for (unsigned int i = 0; i < n; i++) {
		int one = remove_in(roots[i], path, r < 0 ? NULL : err);

		if (r == 0)
			r = one;
	}
	return r;
}
