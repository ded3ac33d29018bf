/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules: see modules.h. */
#include "guest/modules.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"
#include "guest/modpack.h"

/* The kernel's, on 64 bits: MODULE_NAME_LEN and its NUL. */
#define MODULE_NAME_MAX 55

static enum module_when take_marker(char **line)
{
	static const struct {
		const char *word;
		enum module_when when;
	} markers[] = {
		{"boot", MODULE_BOOT},
		{"later", MODULE_LATER},
		{"ask", MODULE_ASK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(markers); i++) {
		size_t len = strlen(markers[i].word);

		if (strncmp(*line, markers[i].word, len) == 0 &&
			((*line)[len] == ' ' || (*line)[len] == '\t')) {
			*line += len + strspn(*line + len, " \t");
			return markers[i].when;
		}
	}
	return MODULE_BOOT;
}

int module_line_next(char **text, struct module_line *ret, struct err *err)
{
	char *line;

	while ((line = strsep(text, "\n"))) {
		enum module_when when;
		char *params;

		line += strspn(line, " \t");
		if (*line == '\0' || *line == '#')
			continue;
		when = take_marker(&line);
		if (*line != '/')
			return err_set(err, -EINVAL,
				MODULE_LIST ": not a module's path: %s",
				err_quote(line, 128));
		params = line + strcspn(line, " \t");
		if (*params)
			*params++ = '\0';
		*ret = (struct module_line){.when = when, .path = line};
		ret->params = params + strspn(params, " \t");
		return 1;
	}
	return 0;
}

bool module_path_has_name(const char *path, const char *name)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	for (; *name; name++, base++) {
		char a = *base == '-' ? '_' : *base, b = *name == '-' ? '_' : *name;

		if (a != b)
			return false;
	}
	return strncmp(base, ".ko", 3) == 0;
}

static int load_file(const char *path, const char *params, struct err *err)
{
	size_t len = strlen(path);
	bool packed = len > 3 && strcmp(path + len - 3, ".ko") != 0;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "open module %s", err_quote(path, 256));
	if (syscall(SYS_finit_module, fd, params,
		    packed ? MODULE_INIT_COMPRESSED_FILE : 0) < 0 &&
		errno != EEXIST)
		return err_sys(err, errno, "load module %s", err_quote(path, 256));
	return 0;
}

static int load_marked(const char *list, enum module_when when, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(list);
	struct module_line line;
	char *at = copy;
	int r;

	while ((r = module_line_next(&at, &line, err)) > 0) {
		if (line.when != when)
			continue;
		r = load_file(line.path, line.params, err);
		if (r < 0)
			return r;
		/* The file is memory of the guest, too: 3.2 MB for all of them. */
		unlink(line.path);
	}
	return r;
}

int modules_load_listed(struct err *err)
{
	_cleanup_free_ char *list = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, MODULE_LIST, MODULE_LIST_MAX, &list, &len, NULL);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(err, r, "read " MODULE_LIST);
	r = load_marked(list, MODULE_BOOT, err);
	return r < 0 ? r : load_marked(list, MODULE_LATER, err);
}

static bool is_loaded(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	for (char *c = path; *c; c++)
		if (*c == '-')
			*c = '_';
	return access(path, F_OK) == 0;
}

/* What a module may be called, and no path. */
static bool is_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > MODULE_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

int module_load(const char *name, const char *params, struct err *err)
{
	_cleanup_free_ char *list = NULL;
	struct module_line line;
	char *at;
	size_t len;
	int r;

	if (!is_name(name))
		return err_set(err, -EINVAL, "%s is not a kernel module's name",
			err_quote(name, 64));
	if (is_loaded(name))
		return 0;
	r = file_read(AT_FDCWD, MODULE_LIST, MODULE_LIST_MAX, &list, &len, err);
	if (r < 0)
		return r;
	at = list;
	while ((r = module_line_next(&at, &line, err)) > 0)
		if (module_path_has_name(line.path, name))
			return load_file(line.path, *params ? params : line.params, err);
	if (r == 0 && access(MODPACK_INDEX, F_OK) == 0) {
		r = modpack_load(name, params, err);
		if (r != -ENOENT)
			return r;
		r = 0;
	}
	if (r == 0)
		r = err_set(err, -ENOENT, "the guest has no kernel module %s",
			err_quote(name, 64));
	return r;
}
