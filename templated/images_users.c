/* SPDX-License-Identifier: Apache-2.0 */
/* Who has which image: see images.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/io.h"
#include "base/util.h"
#include "templated/images_internal.h"

/* The file's name in /proc/locks, "major:minor:inode", from a lock of our own: on btrfs
 * and overlays it is not what stat(2) says. "" where the kernel does not tell. */
static void look_up_lock_name(struct images *s, struct image_entry *e)
{
	_cleanup_close_ int fd = images_open_file(s, e->key);
	_cleanup_free_ char *path = xasprintf("/proc/self/fdinfo/%d", fd);
	_cleanup_free_ char *text = NULL;
	const char *line;
	size_t len;

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0 ||
		file_read(AT_FDCWD, path, 64u << 10, &text, &len, NULL) < 0)
		return;
	line = strstr(text, "lock:");
	if (!line || sscanf(line, "lock: %*s %*s %*s %*s %*s %47s", e->lock_name) != 1)
		e->lock_name[0] = '\0';
}

/* How many lines of /proc/locks are shared locks of that file. */
static uint64_t count_locks(const char *locks, const char *name)
{
	uint64_t n = 0;

	for (const char *line = locks; line && *line;) {
		const char *end = strchrnul(line, '\n');
		const char *found =
			memmem(line, (size_t)(end - line), name, strlen(name));

		if (found && found[-1] == ' ' && found[strlen(name)] == ' ' &&
			memmem(line, (size_t)(end - line), " FLOCK ", 7))
			n++;
		line = *end ? end + 1 : NULL;
	}
	return n;
}

/* In a PID namespace /proc/locks leaves out those whose taker,
 * a former templated, is gone. */
static bool is_in_use(struct images *s, const struct image_entry *e)
{
	_cleanup_close_ int fd = images_open_file(s, e->key);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

uint64_t *images_count_users(struct images *s)
{
	_cleanup_free_ char *locks = NULL;
	size_t n = 0, i = 0, len;
	uint64_t *counts;

	for (struct image_entry *e = s->all; e; e = e->next, n++)
		if (!*e->lock_name)
			look_up_lock_name(s, e);
	counts = xzalloc((n + 1) * sizeof(*counts));
	if (n > 0)
		file_read(AT_FDCWD, "/proc/locks", 16 * MiB, &locks, &len, NULL);
	for (struct image_entry *e = s->all; e; e = e->next, i++) {
		if (locks && *e->lock_name)
			counts[i] = count_locks(locks, e->lock_name);
		if (counts[i] == 0)
			counts[i] = is_in_use(s, e);
	}
	return counts;
}
