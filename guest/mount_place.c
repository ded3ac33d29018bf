/* SPDX-License-Identifier: Apache-2.0 */
/* Where a mount lands: see mount_place.h. */
#include "guest/mount_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

/* The kernel's MAXSYMLINKS. */
#define LINKS_MAX 40

struct walk {
	int rootfd;
	/* "" is the root. No part of it is a link, but some may be missing. */
	char done[PATH_MAX];
	char rest[PATH_MAX]; /* what is still to be walked */
	unsigned int links;
};

/* Takes the first name off the rest; false at its end. */
static bool take_name(struct walk *w, char name[static NAME_MAX + 1])
{
	char *at = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(at, "/");

	if (len == 0 || len > NAME_MAX)
		return false;
	memcpy(name, at, len);
	name[len] = '\0';
	memmove(w->rest, at + len, strlen(at + len) + 1);
	return true;
}

/* Below the root there is nothing: ".." of it is itself. */
static void leave_folder(struct walk *w)
{
	char *slash = strrchr(w->done, '/');

	if (slash)
		*slash = '\0';
}

/* The link's text; its length, 0 if it is no link or not there. */
static size_t read_link(
	const struct walk *w, const char *path, char text[static PATH_MAX])
{
	_cleanup_close_ int fd =
		open_in_root(w->rootfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", text, PATH_MAX - 1);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (size_t)n;
}

static int follow_link(struct walk *w, const char *text)
{
	char rest[PATH_MAX];

	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", text, w->rest) >= sizeof(rest))
		return -ENAMETOOLONG;
	if (*text == '/')
		w->done[0] = '\0';
	str_copy(w->rest, rest);
	return 0;
}

static int walk_name(struct walk *w, const char *name)
{
	char path[PATH_MAX], text[PATH_MAX];

	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		leave_folder(w);
		return 0;
	}
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", w->done, name) >= sizeof(path))
		return -ENAMETOOLONG;
	if (read_link(w, path, text) > 0)
		return follow_link(w, text);
	str_copy(w->done, path);
	return 0;
}

static bool is_there(int rootfd, const char *path)
{
	_cleanup_close_ int fd = open_in_root(rootfd, path, O_PATH | O_CLOEXEC);

	return fd >= 0 || fd != -ENOENT;
}

int mount_place_find(
	const char *root, const char *destination, char **ret, struct err *err)
{
	_cleanup_close_ int rootfd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct walk w = {.rootfd = rootfd};
	char name[NAME_MAX + 1];
	int r = 0;

	*ret = NULL;
	if (rootfd < 0)
		return err_sys(err, errno, "open the root %s", err_quote(root, 256));
	if (strlen(destination) >= sizeof(w.rest) || is_there(rootfd, destination))
		return 0;
	str_copy(w.rest, destination);
	while (r == 0 && take_name(&w, name))
		r = walk_name(&w, name);
	if (r < 0)
		return err_sys(err, r, "find where the mount on %s lands",
			err_quote(destination, 256));
	if (w.links > 0)
		*ret = xstrdup(*w.done ? w.done : "/");
	return 0;
}
