/* SPDX-License-Identifier: Apache-2.0 */
/* Joining a pod by its network namespace: see join.h. */
#include "shim/join.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "shim/namespaces.h"

#define ROOT_OF_TASK "/rootfs"

/* The folder that a stand-in has for its root, without ROOT_OF_TASK; NULL: it is none. */
static char *folder_of_task(pid_t pid)
{
	char link[40], root[PATH_MAX];
	ssize_t len, end;

	snprintf(link, sizeof(link), "/proc/%d/root", (int)pid);
	len = readlink(link, root, sizeof(root));
	end = len - (ssize_t)strlen(ROOT_OF_TASK);
	if (len == (ssize_t)sizeof(root) || end < 0 ||
		memcmp(root + end, ROOT_OF_TASK, strlen(ROOT_OF_TASK)) != 0)
		return NULL;
	return xstrndup(root, (size_t)end);
}

char *join_find_sandbox(const char *netns, const char *state_dir, const char *namespace)
{
	_cleanup_free_ char *real = realpath(state_dir, NULL);
	_cleanup_free_ char *folders = NULL, *folder = NULL;
	pid_t pid = namespace_pid_of_path(netns);

	/* The first shim of this host makes the folder. */
	if (!real || pid <= 0)
		return NULL;
	folder = folder_of_task(pid);
	folders = xasprintf("%s/%s:", real, namespace);
	if (!folder || strncmp(folder, folders, strlen(folders)) != 0 ||
		strchr(folder + strlen(folders), '/'))
		return NULL;
	return xstrdup(folder + strlen(folders));
}
