/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches what: see watchers.h. */
#include "guest/watchers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

/* A process may have this much to say of one inotify: 100,000 watches and more. */
#define FDINFO_MAX   (16u << 20)
#define HANDLE_BYTES (WATCHERS_HANDLE_WORDS * sizeof(uint32_t))

/* Bytes in the order of the memory, as x86 has a number. */
static bool parse_word(const char *hex, uint32_t *ret)
{
	unsigned int b[4];

	if (sscanf(hex, "%2x%2x%2x%2x", &b[0], &b[1], &b[2], &b[3]) != 4)
		return false;
	*ret = b[0] | b[1] << 8 | b[2] << 16 | b[3] << 24;
	return true;
}

bool watchers_parse_line(const char *line, dev_t *ret_dev, struct watcher *ret)
{
	unsigned int dev, mask, bytes, type;
	uint32_t high, low;
	char hex[HANDLE_BYTES * 2 + 1];

	if (sscanf(line,
		    "inotify wd:%*x ino:%*x sdev:%x mask:%x ignored_mask:%*x "
		    "fhandle-bytes:%x fhandle-type:%x f_handle:%24[0-9a-f]",
		    &dev, &mask, &bytes, &type, hex) != 5)
		return false;
	if (type != WATCHERS_HANDLE_TYPE || bytes != HANDLE_BYTES ||
		strlen(hex) != HANDLE_BYTES * 2)
		return false;
	if (!parse_word(hex, &high) || !parse_word(hex + 8, &low))
		return false;
	/* The kernel's own numbers: 12 bits and 20. */
	*ret_dev = makedev(dev >> 20, dev & 0xfffff);
	*ret = (struct watcher){.node = (uint64_t)high << 32 | low, .mask = mask};
	return true;
}

static void add_line(struct watchers *ws, const char *line, dev_t dev)
{
	struct watcher w;
	dev_t of;

	if (!watchers_parse_line(line, &of, &w) || of != dev)
		return;
	if (ws->n == WATCHERS_MAX) {
		ws->all = true;
		return;
	}
	/* Twice as much each time that it is a power of two. */
	if ((ws->n & (ws->n - 1)) == 0)
		ws->item = xreallocarray(
			ws->item, ws->n ? ws->n * 2 : 1, sizeof(ws->item[0]));
	ws->item[ws->n++] = w;
}

/* The process, or the descriptor, may be gone meanwhile: then it watches nothing. What
 * else can't be read may be any watch. */
static void note_unread(struct watchers *ws, int error)
{
	ws->all |= error != -ENOENT && error != -ESRCH;
}

static void read_inotify(
	int process_fd, const char *number, dev_t dev, struct watchers *ws)
{
	_cleanup_free_ char *text = NULL;
	char path[32], *lines, *line;
	size_t len;
	int r;

	snprintf(path, sizeof(path), "fdinfo/%.16s", number);
	r = file_read(process_fd, path, FDINFO_MAX, &text, &len, NULL);
	if (r < 0) {
		note_unread(ws, r);
		return;
	}
	lines = text;
	while ((line = strsep(&lines, "\n")))
		add_line(ws, line, dev);
}

static void read_process(int proc_fd, const char *pid, dev_t dev, struct watchers *ws)
{
	static const char inotify[] = "anon_inode:inotify";
	_cleanup_close_ int fd = openat(proc_fd, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = fd < 0 ? -errno : dir_open(fd, "fd", &dir);

	if (r < 0) {
		note_unread(ws, r);
		return;
	}
	while ((entry = readdir(dir))) {
		char to[sizeof(inotify)];
		ssize_t n;

		if (entry->d_name[0] == '.')
			continue;
		n = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to));
		if (n < 0)
			note_unread(ws, -errno);
		else if (n == sizeof(inotify) - 1 && memcmp(to, inotify, (size_t)n) == 0)
			read_inotify(fd, entry->d_name, dev, ws);
	}
}

static int compare_nodes(const void *a, const void *b)
{
	const struct watcher *x = a, *y = b;

	return (x->node > y->node) - (x->node < y->node);
}

static void merge_nodes(struct watchers *ws)
{
	size_t n = 0;

	if (ws->n == 0)
		return;
	qsort(ws->item, ws->n, sizeof(ws->item[0]), compare_nodes);
	for (size_t i = 1; i < ws->n; i++) {
		if (ws->item[i].node == ws->item[n].node)
			ws->item[n].mask |= ws->item[i].mask;
		else
			ws->item[++n] = ws->item[i];
	}
	ws->n = n + 1;
}

int watchers_read(int proc_fd, dev_t dev, struct watchers *ret, struct err *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r;

	*ret = (struct watchers){0};
	r = dir_open(proc_fd, ".", &dir);
	if (r < 0)
		return err_sys(err, r, "cannot list processes");
	while ((entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			read_process(proc_fd, entry->d_name, dev, ret);
	merge_nodes(ret);
	return 0;
}

void watchers_done(struct watchers *ws)
{
	free(ws->item);
	*ws = (struct watchers){0};
}

bool watchers_none(const struct watchers *ws)
{
	return ws->n == 0 && !ws->all;
}

uint32_t watchers_mask(const struct watchers *ws, uint64_t node)
{
	struct watcher key = {.node = node}, *found = NULL;

	if (node == 0)
		return 0;
	if (ws->all)
		return ~0u;
	if (ws->n > 0)
		found = bsearch(&key, ws->item, ws->n, sizeof(key), compare_nodes);
	return found ? found->mask : 0;
}
