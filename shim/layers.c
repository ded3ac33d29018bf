/* SPDX-License-Identifier: Apache-2.0 */
/* A container's mounts as layers: see layers.h. */
#include "shim/layers.h"

#include <string.h>

#include "base/util.h"

/* The value of an option "key=value", or NULL. */
static const char *value_of(const char *option, const char *key)
{
	size_t len = strlen(key);

	return strncmp(option, key, len) == 0 ? option + len : NULL;
}

/* Without what overlay's options would escape, and what would lead elsewhere. */
static bool is_path(const char *path)
{
	return *path == '/' && !strpbrk(path, "\\,:") && !strstr(path, "/../");
}

static bool add_lowers(struct layers *l, const char *list)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *at = copy, *path;

	if (l->n_lowers)
		return false;
	while ((path = strsep(&at, ":"))) {
		/* Two colons: layers for data alone. */
		if (!is_path(path))
			return false;
		l->lowers = xreallocarray(l->lowers, l->n_lowers + 1, sizeof(*l->lowers));
		l->lowers[l->n_lowers++] = xstrdup(path);
	}
	return true;
}

/* Cuts a path in two; the name is what may stand in an option. */
static bool split_path(const char *path, char **ret_folder, char **ret_name)
{
	const char *slash = strrchr(path, '/');

	if (*ret_name || !is_path(path) || slash == path || !slash[1] ||
		strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0)
		return false;
	*ret_folder = xstrndup(path, (size_t)(slash - path));
	*ret_name = xstrdup(slash + 1);
	return true;
}

struct seen {
	char *upper_folder, *work_folder;
	bool readonly;
};

static bool take_option(struct layers *l, struct seen *seen, const char *option)
{
	const char *value;

	if ((value = value_of(option, "lowerdir=")))
		return add_lowers(l, value);
	if ((value = value_of(option, "upperdir=")))
		return split_path(value, &seen->upper_folder, &l->upper);
	if ((value = value_of(option, "workdir=")))
		return split_path(value, &seen->work_folder, &l->work);
	if (strcmp(option, "ro") == 0)
		return seen->readonly = true;
	/* What the guest's overlay has as well, and notes between containerd's parts. */
	return strcmp(option, "rw") == 0 || strcmp(option, "index=off") == 0 ||
	       value_of(option, "X-containerd.");
}

static bool is_whole(struct layers *l, const struct seen *seen)
{
	if (l->n_lowers == 0)
		return false;
	if (!l->upper && !l->work)
		return true;
	if (!l->upper || !l->work || seen->readonly || strcmp(l->upper, l->work) == 0 ||
		strcmp(seen->upper_folder, seen->work_folder) != 0)
		return false;
	l->parent = xstrdup(seen->upper_folder);
	return true;
}

bool layers_parse(Containerd__Types__Mount *const *mounts, size_t n, struct layers *ret)
{
	const Containerd__Types__Mount *m = n == 1 ? mounts[0] : NULL;
	struct seen seen = {0};
	bool good = m && strcmp(m->type, "overlay") == 0 && !*m->target;

	*ret = (struct layers){0};
	for (size_t i = 0; good && i < m->n_options; i++)
		good = take_option(ret, &seen, m->options[i]);
	good = good && is_whole(ret, &seen);
	free(seen.upper_folder);
	free(seen.work_folder);
	return good;
}

void layers_done(struct layers *l)
{
	for (size_t i = 0; i < l->n_lowers; i++)
		free(l->lowers[i]);
	free(l->lowers);
	free(l->parent);
	free(l->upper);
	free(l->work);
	*l = (struct layers){0};
}
