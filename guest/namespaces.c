/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of other containers: see namespaces.h. */
#include "guest/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent-client/agent.h"
#include "base/json.h"
#include "base/util.h"

static bool is_file(const char *name)
{
	static const char *const files[] = {
		"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (strcmp(files[i], name) == 0)
			return true;
	return false;
}

/* *ret_container is the caller's. */
static int parse_path(
	const char *path, char **ret_container, const char **ret_file, struct err *err)
{
	size_t len = strlen(AGENT_NAMESPACES_DIR "/");
	const char *slash = strrchr(path, '/');

	if (strncmp(path, AGENT_NAMESPACES_DIR "/", len) != 0 || slash < path + len ||
		!is_file(slash + 1))
		return err_set(err, -EINVAL,
			"%s: " AGENT_NAMESPACES_DIR
			"/<container>/<file> is what is wanted",
			err_quote(path, 256));
	*ret_container = xstrndup(path + len, (size_t)(slash - path) - len);
	*ret_file = slash + 1;
	return 0;
}

static int open_of_process(
	const struct process *p, const char *file, int *ret_fd, struct err *err)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)p->child.pid, file);
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	/* As long as there is a process to signal nobody else has its pid. */
	if (*ret_fd < 0 || child_kill(&p->child, 0) < 0)
		return err_set(err, -ESRCH, "its first process has ended");
	return 0;
}

static int open_one(struct sandbox *s, const char *path, int *ret_fd, struct err *err)
{
	_cleanup_(process) struct process *p = NULL;
	_cleanup_free_ char *container = NULL;
	const char *file = "";
	int r = parse_path(path, &container, &file, err);

	if (r == 0)
		r = sandbox_find_process(s, container, "", &p, err);
	if (r < 0)
		return r;
	r = open_of_process(p, file, ret_fd, err);
	return r < 0 ? err_wrap(err, "the %s namespace of container %s", file, container)
		     : 0;
}

/* crun opens it by our table of descriptors, so that nothing needs a name meanwhile. */
static int replace_one(struct sandbox *s, struct json_object *entry,
	struct namespaces *all, struct err *err)
{
	char path[48];
	const char *asked;
	int *fd = &all->fds[all->n];
	int r = json_get_string_opt(entry, "path", "", &asked, err);

	if (r < 0 || !*asked)
		return r;
	if (all->n == NAMESPACES_MAX)
		return err_set(err, -E2BIG, "more than %d namespaces have a path",
			NAMESPACES_MAX);
	*fd = -1;
	all->n++;
	r = open_one(s, asked, fd, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), *fd);
	json_set_string(entry, "path", path);
	return 0;
}

int namespaces_open(struct sandbox *s, struct json_object *spec, struct namespaces *ret,
	struct err *err)
{
	struct json_object *linux_, *list = NULL;
	int r = json_get_object_opt(spec, "linux", &linux_, err);

	*ret = (struct namespaces){0};
	if (r == 0 && linux_)
		r = json_get_array_opt(linux_, "namespaces", &list, err);
	for (size_t i = 0; r == 0 && list && i < json_object_array_length(list); i++)
		r = replace_one(s, json_object_array_get_idx(list, i), ret, err);
	return r < 0 ? err_wrap(err, "linux.namespaces") : 0;
}

void namespaces_close(struct namespaces *all)
{
	for (unsigned int i = 0; i < all->n; i++)
		close_fd(all->fds[i]);
	all->n = 0;
}
