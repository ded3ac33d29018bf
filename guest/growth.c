/* SPDX-License-Identifier: Apache-2.0 */
/* Memory on demand: see growth.h. */
#include "guest/growth.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/io.h"
#include "base/log.h"
#include "base/meminfo.h"
#include "base/util.h"
#include "guest/cgroup.h"
#include "guest/init.h"

#define GROUP GUEST_CGROUP_DIR CGROUP_PARENT

/* Of all memory, so much lies behind the mark: what is used while more comes. */
#define MARGIN_PART 8
/* The mark is never lower, and nobody so slow. */
#define MARK_MIN (16 * MiB)

/* What the containers have that the kernel can't take back, in bytes. */
static int read_kept(int dirfd, uint64_t *ret)
{
	_cleanup_free_ char *stat = NULL;
	uint64_t all = 0, active = 0, inactive = 0;
	size_t len;
	int r = cgroup_read_number(dirfd, "memory.current", NULL, &all);

	if (r == 0)
		r = file_read(dirfd, "memory.stat", 65536, &stat, &len, NULL);
	if (r == 0)
		r = cgroup_parse_number(stat, "active_file", &active);
	if (r == 0)
		r = cgroup_parse_number(stat, "inactive_file", &inactive);
	*ret = all - MIN(active + inactive, all);
	return r;
}

/* What the limits of those containers come to that have one. */
static uint64_t sum_limits(int dirfd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	uint64_t sum = 0, limit;
	struct dirent *e;

	if (dir_open(dirfd, ".", &dir) < 0)
		return 0;
	while ((e = readdir(dir))) {
		_cleanup_free_ char *file = xasprintf("%s/memory.max", e->d_name);

		if (*e->d_name != '.' &&
			cgroup_read_number(dirfd, file, NULL, &limit) == 0 &&
			limit != UINT64_MAX && __builtin_add_overflow(sum, limit, &sum))
			return UINT64_MAX;
	}
	return sum;
}

/* What the containers could keep, less the margin: but the host has seen to it that there
 * is what their limits allow. */
static int find_mark(int dirfd, uint64_t kept, uint64_t *ret)
{
	_cleanup_free_ char *meminfo = NULL;
	uint64_t total, available, most;
	int r = meminfo_read(&meminfo);

	if (r == 0)
		r = meminfo_parse(meminfo, "MemTotal", &total);
	if (r == 0)
		r = meminfo_parse(meminfo, "MemAvailable", &available);
	if (r < 0)
		return r;
	most = available + kept;
	*ret = MAX(most - MIN(most, total / MARGIN_PART), MARK_MIN);
	*ret = MAX(*ret, sum_limits(dirfd));
	return 0;
}

/* One that no number of the kernel's is large enough for is none: "max". */
static int write_mark(int dirfd, uint64_t mark)
{
	return cgroup_write_number(dirfd, "memory.high", (int64_t)mark, NULL);
}

static int set_mark(struct growth *g, int dirfd, int inotify_fd)
{
	uint64_t kept;
	/* A mapping may be larger than the memory that there is yet. */
	int r = file_write_text(AT_FDCWD, "/proc/sys/vm/overcommit_memory", "1", NULL);

	if (r < 0)
		return r;
	if (inotify_add_watch(inotify_fd, GROUP "/memory.events", IN_MODIFY) < 0)
		return -errno;
	r = cgroup_read_number(dirfd, "memory.events", "high", &g->hits);
	if (r == 0)
		r = read_kept(dirfd, &kept);
	if (r == 0)
		r = find_mark(dirfd, kept, &g->mark);
	return r < 0 ? r : write_mark(dirfd, g->mark);
}

void growth_set_mark(struct growth *g, int inotify_fd, bool may_grow)
{
	_cleanup_close_ int dirfd = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	*g = (struct growth){0};
	if (dirfd < 0)
		return;
	r = may_grow ? set_mark(g, dirfd, inotify_fd) : write_mark(dirfd, UINT64_MAX);
	if (r == 0)
		return;
	g->mark = 0;
	if (r != -ENOENT)
		log_warn("the containers' memory won't grow: %s", strerror(-r));
}

enum growth_need growth_look(struct growth *g)
{
	_cleanup_close_ int dirfd = -1;
	uint64_t hits, mark, kept;

	if (g->mark == 0)
		return GROWTH_NO_HIT;
	dirfd = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup_read_number(dirfd, "memory.events", "high", &hits) < 0 ||
		hits == g->hits || read_kept(dirfd, &kept) < 0)
		return GROWTH_NO_HIT;
	g->hits = hits;
	if (kept < g->mark / MARGIN_PART * (MARGIN_PART - 1))
		return GROWTH_CACHE;
	if (find_mark(dirfd, kept, &mark) < 0)
		return GROWTH_NO_HIT;
	if (mark <= g->mark || mark - g->mark < g->mark / MARGIN_PART)
		return GROWTH_MEMORY;
	g->mark = mark; /* there is more than when it was set */
	return write_mark(dirfd, mark) < 0 ? GROWTH_NO_HIT : GROWTH_MOVED;
}
