/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM's cgroup may use, and what became of it: see cgroup.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "vm/cgroup.h"

/* Both versions count a period of 100 ms; a quota has 1 ms at least. */
#define PERIOD_US    100000
#define QUOTA_MIN_US 1000

#define SHARES_MIN 2
#define SHARES_MAX 262144
#define WEIGHT_MAX 10000

static const struct {
	const char *v1, *v2, *controller;
	const char *none_v1, *none_v2;
} limits[CGROUP_LIMITS] = {
	[CGROUP_MEMORY] = {"memory.limit_in_bytes", "memory.max", "memory", "-1", "max"},
	[CGROUP_PIDS] = {"pids.max", "pids.max", "pids", "max", "max"},
	[CGROUP_CPU] = {"cpu.cfs_quota_us", "cpu.max", "cpu", "-1", "max"},
	[CGROUP_SHARES] = {"cpu.shares", "cpu.weight", "cpu", "1024", "100"},
};

/* The whole range of the one in the whole range of the other. */
static uint64_t weight_of_shares(uint64_t shares)
{
	shares = MAX(MIN(shares, SHARES_MAX), SHARES_MIN);
	return 1 + (shares - SHARES_MIN) * (WEIGHT_MAX - 1) / (SHARES_MAX - SHARES_MIN);
}

static uint64_t scale_limit(enum cgroup_limit limit, uint64_t value, bool unified)
{
	switch (limit) {
	case CGROUP_CPU:
		return MAX(value * (PERIOD_US / 1000), QUOTA_MIN_US);
	case CGROUP_SHARES:
		return unified ? weight_of_shares(value)
			       : MAX(MIN(value, SHARES_MAX), SHARES_MIN);
	case CGROUP_MEMORY:
	case CGROUP_PIDS:
	case CGROUP_LIMITS:
		break;
	}
	return value;
}

/* One hierarchy: -ENOENT if the controller isn't there for this group. */
static int limit_in(const char *group, bool unified, enum cgroup_limit limit,
	uint64_t value, struct err *err)
{
	_cleanup_free_ char *file =
		xasprintf("%s/%s", group, unified ? limits[limit].v2 : limits[limit].v1);
	char number[24];

	if (access(file, F_OK) < 0)
		return errno == ENOENT ? -ENOENT
				       : err_sys(err, errno, "cannot look at %s", file);
	snprintf(number, sizeof(number), "%" PRIu64, scale_limit(limit, value, unified));
	return file_write_text(AT_FDCWD, file,
		value     ? number
		: unified ? limits[limit].none_v2
			  : limits[limit].none_v1,
		err);
}

/* On v2 the file server goes with QEMU: the one is nothing without the other. */
static void end_together(const char *group)
{
	_cleanup_free_ char *file = xasprintf("%s/memory.oom.group", group);

	if (access(file, F_OK) == 0)
		file_write_text(AT_FDCWD, file, "1", NULL);
}

int cgroup_limit(
	const char *path, enum cgroup_limit limit, uint64_t value, struct err *err)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);

	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *group = xasprintf("%s/%s", roots[i], path);
		bool unified = cgroup_is_unified(roots[i]);
		int r = limit_in(group, unified, limit, value, err);

		if (r == -ENOENT)
			continue;
		if (r == 0 && limit == CGROUP_MEMORY && unified)
			end_together(group);
		return r;
	}
	return err_set(err, -EOPNOTSUPP, "the host has no %s controller for VMs",
		limits[limit].controller);
}

/* "oom_kill <n>" is a line of both versions' files. */
static uint64_t read_oom_kills(const char *group, const char *file)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", group, file);
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	size_t len;

	if (file_read(AT_FDCWD, path, 4096, &text, &len, NULL) < 0)
		return 0;
	rest = text;
	while ((line = strsep(&rest, "\n")))
		if (strncmp(line, "oom_kill ", 9) == 0)
			return strtoull(line + 9, NULL, 10);
	return 0;
}

uint64_t cgroup_oom_kills(const char *path)
{
	char roots[CGROUP_MAX][64];
	unsigned int n = cgroup_hierarchies(roots);
	uint64_t kills = 0;

	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *group = xasprintf("%s/%s", roots[i], path);

		kills += read_oom_kills(group, cgroup_is_unified(roots[i])
						       ? "memory.events"
						       : "memory.oom_control");
	}
	return kills;
}
