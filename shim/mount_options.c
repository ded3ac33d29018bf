/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a mount, taken apart: see mount_options.h. */
#include "shim/mount_options.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "base/mount_word.h"
#include "base/util.h"

/* Long lists of layers, before they are shortened. */
#define DATA_PARSED_MAX (64u << 10)

static const struct {
	const char *name;
	unsigned long value;
} propagations[] = {
	{"private", MS_PRIVATE},
	{"rprivate", MS_PRIVATE | MS_REC},
	{"rshared", MS_SHARED | MS_REC},
	{"rslave", MS_SLAVE | MS_REC},
	{"runbindable", MS_UNBINDABLE | MS_REC},
	{"shared", MS_SHARED},
	{"slave", MS_SLAVE},
	{"unbindable", MS_UNBINDABLE},
};

static bool parse_flag(struct mount_options *o, const char *option)
{
	if (mount_word(option, &o->flags))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++) {
		if (strcmp(option, propagations[i].name) == 0) {
			o->propagation = propagations[i].value;
			return true;
		}
	}
	if (strcmp(option, "loop") == 0)
		return o->loop = true;
	/* Notes between containerd's own parts. */
	return strncmp(option, "X-containerd.", 13) == 0;
}

int mount_options_parse(
	char *const *options, size_t n, struct mount_options *ret, struct err *err)
{
	struct mount_options o = {0};
	size_t len = 0;

	o.data = xmalloc(DATA_PARSED_MAX);
	o.data[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		size_t add = strlen(options[i]);

		if (parse_flag(&o, options[i]))
			continue;
		if (len + add + 2 > DATA_PARSED_MAX) {
			mount_options_done(&o);
			return err_set(err, -E2BIG,
				"mount options have more than %u bytes", DATA_PARSED_MAX);
		}
		len += (size_t)snprintf(o.data + len, DATA_PARSED_MAX - len, "%s%s",
			len ? "," : "", options[i]);
	}
	o.data = xreallocarray(o.data, len + 1, 1);
	*ret = o;
	return 0;
}

void mount_options_done(struct mount_options *o)
{
	free(o->data);
	*o = (struct mount_options){0};
}

static const char *const path_keys[] = {"lowerdir=", "upperdir=", "workdir="};

/* The list of paths of an option that has one, or NULL. */
static const char *option_paths(const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(path_keys); i++)
		if (strncmp(option, path_keys[i], strlen(path_keys[i])) == 0)
			return option + strlen(path_keys[i]);
	return NULL;
}

/* Length of the part, up to and with a slash, that path has in common with
 * prefix[0..len]. */
static size_t common_folder(const char *prefix, size_t len, const char *path)
{
	size_t folder = 0;

	for (size_t i = 0; i < len && path[i] == prefix[i]; i++)
		if (path[i] == '/')
			folder = i + 1;
	return folder;
}

/* Where in data the next path begins, at or after p; NULL: there is none. */
static const char *next_path(const char *p, bool in_paths)
{
	for (; *p; p++) {
		if (*p == ',' || (in_paths && *p == ':')) {
			const char *paths = *p == ',' ? option_paths(p + 1) : p + 1;

			if (paths)
				return paths;
			in_paths = false;
		}
	}
	return NULL;
}

static const char *first_path(const char *data)
{
	const char *paths = option_paths(data);

	return paths ? paths : next_path(data, false);
}

void mount_options_shorten(struct mount_options *o, char **ret_dir)
{
	const char *first = first_path(o->data), *copied = o->data;
	size_t cut = first ? strlen(first) : 0, len = 0;
	char *out;

	/* "::" of data-only layers would cut an empty path: such lists stay as they
	 * are. */
	if (strstr(o->data, "::"))
		cut = 0;
	for (const char *p = first; p && cut; p = next_path(p, true))
		cut = common_folder(first, cut, p);
	if (cut <= 1) {
		*ret_dir = xstrdup("");
		return;
	}
	*ret_dir = xstrndup(first, cut - 1);
	out = xmalloc(strlen(o->data) + 1);
	for (const char *p = first; p; p = next_path(p, true)) {
		memcpy(out + len, copied, (size_t)(p - copied));
		len += (size_t)(p - copied);
		copied = p + cut;
	}
	memcpy(out + len, copied, strlen(copied) + 1);
	free(o->data);
	o->data = out;
}
