/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration's file and drop-ins: see config.h.
 *
 * A reader of our own, of lines: Debian's libinih is built with a limit of 198 bytes a
 * line, cuts values at " ;", and takes an indented line for another value of the key
 * before it. What it does not know it accepts in silence; here it is an error with its
 * line.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/io.h"
#include "base/util.h"

#define SPACE " \t\r"
#define BOM   "\xef\xbb\xbf"

struct reader {
	struct config *c;
	const char *path;
	int line;
	bool lenient;
	char section[64];
};

static int refuse_line(const struct reader *r, int code, const char *why, struct err *err)
{
	return err_set(err, code, "%s:%d: %s", r->path, r->line, why);
}

/* Cuts white space off the end. */
static void strip_space(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && strchr(SPACE, text[len - 1]))
		len--;
	text[len] = '\0';
}

static int read_section(struct reader *r, char *line, struct err *err)
{
	size_t len = strlen(line);

	if (line[len - 1] != ']')
		return refuse_line(r, -EBADMSG, "a section's line ends with ]", err);
	line[len - 1] = '\0';
	if (len - 2 >= sizeof(r->section))
		return refuse_line(r, -EBADMSG, "no section has so long a name", err);
	memcpy(r->section, line + 1, len - 1);
	return 0;
}

static int read_key(struct reader *r, char *line, struct err *err)
{
	_cleanup_free_ char *where = xasprintf("%s:%d", r->path, r->line);
	char *equals = strchr(line, '='), *value;

	if (!equals || equals == line)
		return refuse_line(
			r, -EBADMSG, "neither a [section] nor key = value", err);
	*equals = '\0';
	value = equals + 1;
	strip_space(line);
	return config_set(
		r->c, r->section, line, value + strspn(value, SPACE), where, err);
}

/* line: without its newline, for this function to change. */
static int read_line(struct reader *r, char *line, struct err *err)
{
	size_t indent = strspn(line, SPACE);

	strip_space(line);
	if (!*line || strchr("#;", line[indent]))
		return 0;
	if (indent > 0)
		return refuse_line(r, -EBADMSG,
			"begins with white space, but no value goes on in another line",
			err);
	return *line == '[' ? read_section(r, line, err) : read_key(r, line, err);
}

static int read_text(struct reader *r, char *text, struct err *err)
{
	int result = 0;

	if (strncmp(text, BOM, strlen(BOM)) == 0)
		text += strlen(BOM);
	for (char *line; result == 0 && (line = strsep(&text, "\n"));) {
		r->line++;
		if (strlen(line) > CONFIG_LINE_MAX)
			result = err_set(err, -EFBIG, "%s:%d: longer than %d bytes",
				r->path, r->line, CONFIG_LINE_MAX);
		else
			result = read_line(r, line, err);
		if (r->lenient)
			result = 0;
	}
	return result;
}

/* How a file and its drop-ins are read. */
enum reading {
	READ_REQUIRED,
	READ_OPTIONAL, /* the file may be missing */
	READ_LENIENT,  /* and wrong lines are passed over */
};

/* *ret_found: whether the file is there. */
static int load_file(struct config *c, const char *path, enum reading how,
	bool *ret_found, struct err *err)
{
	struct reader reader = {.c = c, .path = path, .lenient = how == READ_LENIENT};
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, MiB, &text, &len, err);
	*ret_found = r != -ENOENT;
	if (r < 0)
		return err_wrap(err, "configuration");
	if (strlen(text) != len)
		return err_set(err, -EBADMSG, "%s: not a text file", path);
	return read_text(&reader, text, err);
}

static int is_drop_in(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && entry->d_name[0] != '.' &&
	       strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int load_drop_ins(
	struct config *c, const char *path, enum reading how, struct err *err)
{
	_cleanup_free_ char *folder = xasprintf("%s.d", path);
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_drop_in, alphasort), r = 0;
	bool found;

	if (n < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(err, errno,
					 "configuration: cannot read the folder %s",
					 folder);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file =
			xasprintf("%s/%s", folder, entries[i]->d_name);

		if (r == 0)
			r = load_file(c, file, how, &found, err);
		if (how == READ_LENIENT)
			r = 0;
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int load_with_dropins(
	struct config *c, const char *path, enum reading how, struct err *err)
{
	struct err why = ERR_INIT;
	bool found;
	int r = load_file(c, path, how, &found, &why);

	if (r == 0 || how == READ_LENIENT || (how == READ_OPTIONAL && !found))
		r = load_drop_ins(c, path, how, err);
	else
		err_copy(err, &why);
	if (r == 0 && found) {
		free(c->loaded_from);
		c->loaded_from = xstrdup(path);
	}
	return r;
}

/* What no single value shows. */
static int check_values(const struct config *c, const char *path, struct err *err)
{
	if (strcmp(c->metrics_endpoint, c->template_endpoint) == 0)
		return err_set(err, -EINVAL,
			"%s: metrics_endpoint and template_endpoint are both %s, two "
			"sockets are wanted",
			path, err_quote(c->metrics_endpoint, 128));
	return 0;
}

int config_load(struct config *c, const char *path, struct err *err)
{
	int r = load_with_dropins(c, path, READ_REQUIRED, err);

	return r < 0 ? r : check_values(c, path, err);
}

void config_load_leniently(struct config *c, const char *path)
{
	load_with_dropins(c, path, READ_LENIENT, NULL);
}

static const char default_path[] = CONFIG_PATH_DEFAULT;

const char *config_default_path(const char *path)
{
	if (!path)
		path = secure_getenv(CONFIG_PATH_ENV);
	return path && *path ? path : default_path;
}

int config_load_default(struct config *c, const char *path, struct err *err)
{
	const char *file = config_default_path(path);
	/* The default one by itself may be missing, one that was named may not. */
	int r = load_with_dropins(
		c, file, file == default_path ? READ_OPTIONAL : READ_REQUIRED, err);

	return r < 0 ? r : check_values(c, file, err);
}
