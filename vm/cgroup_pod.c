/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's cgroup, by the name that a CRI has for it: see cgroup.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "vm/cgroup.h"

#define SLICE ".slice"

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len > n && strcmp(text + len - n, end) == 0;
}

/* Appends one component. */
static bool add_component(char ret[CGROUP_PATH_BYTES], const char *name, size_t len)
{
	size_t at = strlen(ret);

	return (size_t)snprintf(ret + at, CGROUP_PATH_BYTES - at, "%s%.*s", at ? "/" : "",
		       (int)len, name) < CGROUP_PATH_BYTES - at;
}

/* systemd.slice(5): "a-b.slice" lies in "a.slice". */
static bool expand_slice(const char *slice, char ret[CGROUP_PATH_BYTES])
{
	size_t stem = strlen(slice) - strlen(SLICE);
	char one[CGROUP_PATH_BYTES];

	if (stem >= sizeof(one) - sizeof(SLICE) || *slice == '-' || strchr(slice, '/'))
		return false;
	for (size_t i = 1; i <= stem; i++) {
		if (i < stem && slice[i] != '-')
			continue;
		if (slice[i - 1] == '-')
			return false;
		snprintf(one, sizeof(one), "%.*s" SLICE, (int)i, slice);
		if (!add_component(ret, one, strlen(one)))
			return false;
	}
	return true;
}

/* "<slice>:<prefix>:<name>" */
static bool pod_of_slice(const char *given, char ret[CGROUP_PATH_BYTES])
{
	_cleanup_free_ char *copy = xstrdup(given);
	char *rest = copy, *slice = strsep(&rest, ":"), *prefix = strsep(&rest, ":");

	if (!prefix || !rest || !*rest || strchr(rest, ':'))
		return false;
	return ends_with(slice, SLICE) && expand_slice(slice, ret);
}

/* All but the last component of a path. */
static bool pod_of_path(const char *given, char ret[CGROUP_PATH_BYTES])
{
	const char *at = given + strspn(given, "/");

	for (;;) {
		size_t len = strcspn(at, "/");
		const char *next = at + len + strspn(at + len, "/");

		if (!*next)
			break;
		if (!add_component(ret, at, len))
			return false;
		at = next;
	}
	return *ret;
}

bool cgroup_pod_of(const char *given, char ret[CGROUP_PATH_BYTES])
{
	*ret = '\0';
	if (strchr(given, ':') ? !pod_of_slice(given, ret) : !pod_of_path(given, ret))
		return false;
	return cgroup_path_valid(ret);
}

int cgroup_path_in_pod(
	const char *pod, const char *name, char ret[CGROUP_PATH_BYTES], struct err *err)
{
	int len = snprintf(
		ret, CGROUP_PATH_BYTES, "%s/" CGROUP_IN_POD_PREFIX "%s", pod, name);

	return len < CGROUP_PATH_BYTES
		       ? 0
		       : err_set(err, -ENAMETOOLONG, "the pod's cgroup has a long name");
}

bool cgroup_is_in_pod(const char *path)
{
	const char *name = strrchr(path, '/');

	return name &&
	       strncmp(name + 1, CGROUP_IN_POD_PREFIX, strlen(CGROUP_IN_POD_PREFIX)) == 0;
}
