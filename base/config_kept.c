/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration in force: see config_kept.h. */
#include "base/config_kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

/* The first line: a comment to whoever reads it as a configuration. */
#define ORIGIN "# in force, of "

static char *kept_path(const struct config *c)
{
	return xasprintf("%s.conf", c->template_endpoint);
}

int config_keep(const struct config *c, struct err *err)
{
	_cleanup_free_ char *path = kept_path(c), *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return err_sys(err, errno, "cannot keep the configuration");
	fprintf(out, ORIGIN "%s\n", c->loaded_from);
	config_dump(c, out);
	if (fclose(out) != 0)
		return err_sys(err, errno, "cannot keep the configuration");
	return file_write_atomic(AT_FDCWD, path, text, len, 0600, err);
}

void config_forget(const struct config *c)
{
	_cleanup_free_ char *path = kept_path(c);

	unlink(path);
}

/* Only what root has written, and of that file. */
static bool is_of(const char *path, const char *file)
{
	_cleanup_free_ char *text = NULL;
	size_t len, origin = strlen(ORIGIN);
	struct stat st;

	if (stat(path, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022) != 0 ||
		file_read(AT_FDCWD, path, MiB, &text, &len, NULL) < 0 ||
		strncmp(text, ORIGIN, origin) != 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text + origin, file) == 0;
}

static void start_again(struct config *c)
{
	config_done(c);
	config_init(c);
}

int config_load_or_kept(
	struct config *c, const char *path, struct err *refused, struct err *err)
{
	const char *file = config_default_path(path);
	_cleanup_free_ char *kept = NULL;
	int r;

	*refused = (struct err)ERR_INIT;
	r = config_load_default(c, path, refused);
	if (r == 0)
		return 0;
	start_again(c);
	config_load_leniently(c, file);
	kept = kept_path(c);
	start_again(c);
	if (!is_of(kept, file) || config_load(c, kept, NULL) < 0) {
		start_again(c);
		r = err_copy(err, refused);
		*refused = (struct err)ERR_INIT;
		return r;
	}
	free(c->loaded_from);
	c->loaded_from = xstrdup(file);
	return 0;
}
